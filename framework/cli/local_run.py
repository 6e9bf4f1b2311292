"""Command `run`: messages, progress, results and exit code of a local run."""

from __future__ import annotations

import logging
import shlex
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from framework.cli.best import print_best
from framework.cli.failures import print_failures
from framework.cli.plan import notices_of
from framework.cli.progress import failures, progress_display
from framework.errors import FrameworkError
from framework.files import LocalFiles, ProjectFiles, short_path
from framework.journal.ranking import BEST_SHOWN
from framework.journal.results_csv import write_results
from framework.journal.store import Journal
from framework.journal.sweep_data import write_sweep
from framework.journal.trials import most_combinations
from framework.local.run import RunOutcome, run_project
from framework.master.advice import Advice, advice_of
from framework.messages.requests import Which
from framework.messages.status import Status, outdated_results
from framework.project.project import Project

CLEAR_LINE = "\r\x1b[K"  # control sequence that clears a line of a terminal
WARNINGS_SHOWN = 10  # warnings of each kind


def run_and_report(
    project: Project, files: LocalFiles, slots: int | None, which: Which | None, command: str
) -> int:
    """Run a project's sweep on this machine, print its progress and its results, and return the exit code.

    `slots` and `which` are those of run_project; `command`: see run_command(). Raises FrameworkError also if
    not all tasks succeeded.
    """
    columns = shutil.get_terminal_size().columns - 1 if sys.stderr.isatty() else 0
    configure_logging(columns)
    for notice in notices_of(project, on_hosts=False):
        print(notice, file=sys.stderr)
    combinations = most_combinations(project)
    print(f"{project.name}: {combinations} combinations of {', '.join(project.space.names)}", file=sys.stderr)
    show = progress_display(columns, since=time.time())
    advice = advice_of(command, files)
    outcome = run_project(project, files, slots, which, show, advice)
    return report_outcome(project, outcome, files, advice)


def configure_logging(columns: int) -> None:
    """Log warnings to stderr as bare messages; with `columns`, each replaces the progress bar in its line."""
    handler = logging.StreamHandler()
    handler.addFilter(limit_each_kind(WARNINGS_SHOWN))
    line = f"{CLEAR_LINE if columns else ''}%(message)s"
    logging.basicConfig(level=logging.WARNING, format=line, handlers=[handler], force=True)


def report_outcome(project: Project, outcome: RunOutcome, files: LocalFiles, advice: Advice) -> int:
    """Write and print the results of a local run, and return the exit code.

    Raises FrameworkError if not all tasks succeeded, unless the run was interrupted.
    """
    status = outcome.status
    with Journal(files.master.journal, read_only=True) as journal:
        if not status.finished:  # the master writes them only at the end of a sweep
            write_results(project, journal, files.master.results)
        write_sweep(project, journal, files.master.sweep, status.outdated)
        if status.outdated:
            print(outdated_results(status.outdated, status.done, advice.renew), file=sys.stderr)
        if project.metric is not None and status.done:
            print_best(project, journal, BEST_SHOWN)
        if status.failed:
            print_failures(project, journal, advice.log_place)
        failed = _failed_tasks(journal, outcome.began) if status.failed else FailedTasks()
    print(f"results: {short_path(files.master.results)}", file=sys.stderr)
    if outcome.interrupted:
        print(
            f"stopped after {status.ended} of {status.total} tasks; to continue: {advice.resume}",
            file=sys.stderr,
        )
        return 130
    requirements = ProjectFiles(project.path).requirements
    if failed.lack_modules and requirements.exists():
        install = shlex.join(["python", "-m", "pip", "install", "-r", str(short_path(requirements))])
        print(f"Python modules are missing, which 'run' does not install: {install}", file=sys.stderr)
    if status.paused:
        raise FrameworkError(status.paused)
    if status.succeeded < status.total:
        raise FrameworkError(failed.message(status, advice.retry))
    return 0


@dataclass(frozen=True)
class FailedTasks:
    """Failed tasks of a sweep after a run."""

    earlier: int = 0  # failed in an earlier run, and were not run again
    nothing_ran: bool = False  # all tasks of the sweep had ended before this run
    lack_modules: bool = False  # a task of this run has failed for want of a Python module

    def message(self, status: Status, retry: str) -> str:
        """The error message for a sweep of which not all tasks succeeded; `retry` runs these again."""
        if self.nothing_ran and not status.cancelled:
            tasks, them = ("1 task", "it") if status.failed == 1 else (f"{status.failed} tasks", "them")
            return f"{tasks} failed earlier; nothing was run; to run {them} again: {retry}"
        earlier = f"; {self.earlier} of them failed earlier" if self.earlier else ""
        return f"{failures(status)}{earlier}" + (
            f"; to run failed tasks again: {retry}" if status.failed else ""
        )


def _failed_tasks(journal: Journal, began: float) -> FailedTasks:
    """The failed tasks after a run that began at a Unix time."""
    earlier, nothing_ran, lack_modules = 0, True, False
    for record in journal.ended_members():
        is_earlier = record.started is None or record.started < began
        nothing_ran &= is_earlier
        if record.state == "failed":
            earlier += is_earlier
            lack_modules |= not is_earlier and "ModuleNotFoundError" in record.reason
    return FailedTasks(earlier, nothing_ran, lack_modules)


def limit_each_kind(most: int) -> Callable[[logging.LogRecord], bool]:
    """Return a filter that passes `most` log records of each kind, and one that says that there are more."""
    seen: Counter[str] = Counter()

    def is_passed(record: logging.LogRecord) -> bool:
        kind = str(record.msg)
        seen[kind] += 1
        if seen[kind] > most:
            record.msg, record.args = "further messages of this kind are not shown: see results.csv", ()
        return seen[kind] <= most + 1

    return is_passed
