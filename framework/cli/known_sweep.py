"""The sweep that a command is about: that of the master here, or of local runs."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from framework.cli import locations
from framework.configuration.load import load_code, load_project
from framework.errors import FrameworkError, UsageError
from framework.files import LOCAL_RUNS, Code, LocalFiles, MasterFiles
from framework.journal.provenance import Provenance, program_version
from framework.journal.store import Journal
from framework.journal.tally import tally_sweep
from framework.journal.trials import so_far
from framework.local.data_directory import default_directory
from framework.master.advice import ON_HOSTS, Advice, advice_of
from framework.messages.status import outdated_results
from framework.project.project import Project


@dataclass(frozen=True)
class KnownSweep:
    """A project as it is now, and what its master has written."""

    project: Project
    files: MasterFiles
    code: Path
    advice: Advice

    @classmethod
    def of_master(cls) -> KnownSweep:
        """That of the master in this container. Raises FrameworkError if there is none."""
        files = MasterFiles(locations.DATA)
        if not files.path.is_dir():
            raise FrameworkError(
                f"{files.path}: no such directory, only the master's container has it; on hosts, "
                "./check_celery_status.sh asks there; of local runs: --project DIRECTORY"
            )
        return cls(current_project(), files, locations.CODE, ON_HOSTS)

    @classmethod
    def of_local_runs(cls, path: Path) -> KnownSweep:
        """That of a project, or of a W&B sweep file. Raises UsageError if it was never run here."""
        project = load_project(path, is_run_here=False)
        files = LocalFiles(default_directory(LOCAL_RUNS, project))
        command = shlex.join(["python", "-m", "framework", "run", str(path)])
        if not files.master.journal.exists():
            raise UsageError(f"{path}: no local run of it in {files.path}; first: {command}")
        return cls(project, files.master, files.code, advice_of(command, files))

    def warn_of_results(self, journal: Journal) -> int:
        """Say it if results may be missing in what is shown, or are outdated; return how many are that."""
        project = self.project
        program = program_version(project.path, project.sweep_file, project.ignore, project.workdir)
        provenance = Provenance(journal, program, Code.current(self.code).image, self.code)
        tally = tally_sweep(so_far(project, journal), journal, provenance)
        if tally.outdated:
            said = outdated_results(tally.outdated, tally.done, self.advice.renew)
            print(said, file=sys.stderr, flush=True)
        if not journal.is_sweep_complete():
            print(
                "the master still counts the results of the changed sweep: some may be missing",
                file=sys.stderr,
            )
        return tally.outdated


def find_sweep(project: Path | None) -> KnownSweep:
    """The sweep of the local runs of `project`; without one, that of the master here."""
    return KnownSweep.of_master() if project is None else KnownSweep.of_local_runs(project)


def current_project() -> Project:
    """The project that the master here runs. Raises FrameworkError if there is none."""
    return load_code(Code.current(locations.CODE), os.environ.get("PROJECT"))
