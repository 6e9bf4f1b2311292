"""Data directory of local runs: each project has its own, whatever its name

A directory records the path of its project, relative to itself, so that both can be moved together. A sweep
file is a project of its own, unless it is the one that stands in place of a project.yml.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from framework.errors import FrameworkError
from framework.files import LocalFiles, ProjectFiles, write_atomically
from framework.journal.store import Journal
from framework.project.project import Project

HOST = "local"  # the name of this machine in the journal
_DIGITS = 6


def default_directory(runs: Path, project: Project) -> Path:
    """Return the directory below `runs` that holds the local runs of a project.

    It has the project's name; if that directory is another project's, digits that follow from the project's
    path come behind the name.
    """
    plain = runs / project.name
    path = os.path.relpath(_place(project), runs.resolve())
    own = runs / f"{project.name}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:_DIGITS]}"
    return plain if not own.exists() and _is_of(project, LocalFiles(plain)) else own


def owner(files: LocalFiles) -> Path | None:
    """Return the project that the directory records; None for one of an earlier version, or a new one."""
    try:
        recorded = os.fsdecode(files.project.read_bytes()).removesuffix("\n")
    except OSError:
        return None
    return Path(os.path.normpath(files.path.resolve() / recorded))


def other_owner(files: LocalFiles, project: Project) -> Path | None:
    """Return the project that the directory belongs to, if it is there and is another one than `project`."""
    recorded = owner(files)
    # Earlier versions recorded the directory of the project for a sweep file, too.
    own = (_place(project), project.path.resolve()) if project.sweep_file else (_place(project),)
    return recorded if recorded and recorded.exists() and recorded not in own else None


def record_owner(files: LocalFiles, project: Project) -> None:
    """Record that the directory holds the runs of `project`. Raises OSError."""
    path = os.path.relpath(_place(project), files.path.resolve())
    write_atomically(files.project, os.fsencode(f"{path}\n"))


def _place(project: Project) -> Path:
    """The path that a project is known by: that of its directory, or of its sweep file."""
    directory, sweep = project.path.resolve(), project.sweep_file
    usual = ProjectFiles(directory).sweep
    return directory if sweep is None or sweep.resolve() == usual else sweep.resolve()


def _is_of(project: Project, files: LocalFiles) -> bool:
    """True if the directory is free for a project, or holds its runs.

    One whose project is not recorded (by an earlier version), or was removed or renamed since, belongs to a
    project whose tasks it has: no result is lost, and those of other files are said to be outdated.
    """
    if owner(files) == _place(project):
        return True
    if other_owner(files, project):
        return False
    try:
        with Journal(files.master.journal, read_only=True) as journal:
            has_tasks = sum(journal.counts().values()) > 0
            return not has_tasks or any(
                project.recorded_id(record.parameters) == record.task for record in journal.in_order()
            )
    except FrameworkError:
        return True  # there is no journal, or the run says what is wrong with it
