"""Command `changes`: what a version of the code that was pushed changes in the sweep"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from framework.cli import locations
from framework.cli.known_sweep import current_project
from framework.cli.master_commands import current_plan
from framework.configuration.load import load_code
from framework.errors import FrameworkError
from framework.files import Code, MasterFiles
from framework.journal.records import ENDED
from framework.journal.store import Journal
from framework.journal.tally import PAGE, tasks_of
from framework.project.project import Project

MOST_COMPARED = 200_000  # combinations of both versions


def run_changes(options: argparse.Namespace) -> int:
    """Print what is new since the version of the code that the master had before, and what is left to run."""
    try:
        before: Project | None = load_code(Code(locations.CODE / options.version))
    except FrameworkError:
        before = None  # it is gone, or this version of the tool does not read it
    if before is not None and (line := _difference(before, current_project())):
        print(line)
    print("\n".join(current_plan().standing()))
    return 0


def _difference(before: Project, now: Project) -> str:
    """Say how many combinations came and went; empty if a method chooses them, or there are too many."""
    if before.method.is_adaptive or now.method.is_adaptive:
        return ""
    if before.space.count + now.space.count > MOST_COMPARED:
        return ""
    old, new = set(_tasks(before)), set(_tasks(now))
    with Journal(MasterFiles(locations.DATA).journal, read_only=True) as journal:
        known = journal.outcomes(new - old)
    to_run = len(new - old) - sum(outcome.state in ENDED for outcome in known.values())
    count = "1 new combination" if to_run == 1 else f"{to_run or 'no'} new combinations"
    gone = len(old - new)
    left = f"; not in the sweep any more: {gone}" if gone else ""
    return f"{count} will run{left}"


def _tasks(project: Project) -> Iterator[str]:
    for start in range(0, project.space.count, PAGE):
        yield from tasks_of(project, range(start, min(start + PAGE, project.space.count)))
