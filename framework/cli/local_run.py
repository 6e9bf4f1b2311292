"""Command `run`: messages, progress, results and exit code of a local run."""

from __future__ import annotations

import logging
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from framework.cli.plan import notices_of
from framework.cli.progress import failures, progress_display
from framework.errors import FrameworkError
from framework.files import LocalFiles, ProjectFiles
from framework.journal.ranking import BEST_SHOWN, ranking
from framework.journal.results_csv import write_results
from framework.journal.store import Journal
from framework.journal.trials import most_combinations
from framework.local.run import RunOutcome, run_project
from framework.messages.requests import Which
from framework.project.project import Project

CLEAR_LINE = "\r\x1b[K"  # of a terminal
WARNINGS_SHOWN = 10  # of each kind


def run_and_tell(project: Project, files: LocalFiles, slots: int | None, which: Which | None) -> int:
    """Run a project on this machine alone and say how that goes; returns the exit code.

    `slots` and `which` as in run_project; raises FrameworkError also if the set has not ended well.
    """
    columns = shutil.get_terminal_size().columns - 1 if sys.stderr.isatty() else 0
    log_beside_progress(columns)
    for notice in notices_of(project):
        print(notice, file=sys.stderr)
    combinations = most_combinations(project)
    print(f"{project.name}: {combinations} combinations of {', '.join(project.space.names)}", file=sys.stderr)
    return tell_outcome(project, run_project(project, files, slots, which, progress_display(columns)), files)


def log_beside_progress(columns: int) -> None:
    """Log bare warnings to stderr, where a progress bar may stand in the line."""
    handler = logging.StreamHandler()
    handler.addFilter(few_of_a_kind(WARNINGS_SHOWN))
    line = f"{CLEAR_LINE if columns else ''}%(message)s"
    logging.basicConfig(level=logging.WARNING, format=line, handlers=[handler], force=True)


def tell_outcome(project: Project, outcome: RunOutcome, files: LocalFiles) -> int:
    """Write and show the results of a local run; returns its exit code, or raises what is to be said."""
    status = outcome.status
    with Journal(files.master.journal, read_only=True) as journal:
        if not status.finished:  # else the master has written them
            write_results(project, journal, files.master.results)
        if project.metric is not None and status.done:
            print(ranking(project, journal, BEST_SHOWN), flush=True)
        misses_modules = status.failed > 0 and any(
            "ModuleNotFoundError" in record.reason for record in journal.ended_members()
        )
    print(f"results: {shown_path(files.master.results)}", file=sys.stderr)
    if outcome.interrupted:
        print(f"stopped after {status.ended} of {status.total} tasks; run it again to go on", file=sys.stderr)
        return 130
    requirements = ProjectFiles(project.path).requirements
    if misses_modules and requirements.exists():
        install = shlex.join(["python", "-m", "pip", "install", "-r", str(shown_path(requirements))])
        print(f"modules were missing, which are not installed by 'run': {install}", file=sys.stderr)
    if status.paused:
        raise FrameworkError(status.paused)
    if status.succeeded < status.total:
        print(f"logs of a failed task: {shown_path(files.worker.tasks)}/TASK/ATTEMPT/stderr", file=sys.stderr)
        raise FrameworkError(failures(status))
    return 0


def few_of_a_kind(most: int) -> Callable[[logging.LogRecord], bool]:
    """A filter of log records: of a thousand tasks that fail alike, the first few will do."""
    seen: Counter[str] = Counter()

    def let_pass(record: logging.LogRecord) -> bool:
        kind = str(record.msg)
        seen[kind] += 1
        if seen[kind] > most:
            record.msg, record.args = "and more of these: see results.csv", ()
        return seen[kind] <= most + 1

    return let_pass


def shown_path(path: Path) -> Path:
    """As short as it can be said here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
