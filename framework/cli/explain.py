"""Commands `explain` and `where`: what is known of single tasks, and where they ran."""

from __future__ import annotations

import argparse
import time

from framework.cli import locations
from framework.cli.known_sweep import current_project, find_sweep
from framework.cli.task_selection import find_tasks
from framework.errors import FrameworkError
from framework.files import MasterFiles
from framework.journal.records import AttemptRecord, TaskRecord
from framework.journal.results_csv import shown
from framework.journal.store import Journal
from framework.journal.trials import so_far
from framework.messages.status import duration, read_status
from framework.project.project import Project


def run_explain(options: argparse.Namespace) -> int:
    """Print what is known of each task; raises UsageError for one that is not in the sweep."""
    sweep = find_sweep(options.project)
    with Journal(sweep.files.journal, read_only=True) as journal:
        project = so_far(sweep.project, journal)
        chosen = find_tasks(project, options.tasks)
        records = journal.records([task for _, task in chosen])
        for number, task in chosen:
            print(f"task {number + 1}, {task}")
            print(
                "\n".join(
                    f"  {line}" for line in _lines(project, journal, sweep.files, number, records.get(task))
                )
            )
    return 0


def run_where(options: argparse.Namespace) -> int:
    """Print id, attempt and host of the attempt of a task that is done, else of its latest one.

    Raises FrameworkError if none has begun.
    """
    with Journal(MasterFiles(locations.DATA).journal, read_only=True) as journal:
        ((number, task),) = find_tasks(so_far(current_project(), journal), [options.task])
        begun = [each for each in journal.attempts(task) if each.started is not None]
    if not begun:
        raise FrameworkError(f"task {number + 1}, {task}, has not begun yet: there are no logs of it")
    last = next((each for each in reversed(begun) if each.state == "done"), begun[-1])
    print(f"{task} {last.attempt} {last.host}")
    return 0


def _lines(
    project: Project, journal: Journal, files: MasterFiles, number: int, record: TaskRecord | None
) -> list[str]:
    parameters = project.space.combination(number) if record is None else record.parameters
    lines = [" ".join(f"{name}={shown(value)}" for name, value in parameters.items())]
    if record is None or record.state == "waiting":
        lines.append(f"waiting: {_why_waiting(files)}")
    elif record.state in ("sent", "running"):
        beside = next((each for each in journal.attempts(record.task) if each.state == "copied"), None)
        copy = f"running on {beside.host}, and a copy of it is " if beside else ""
        lines.append(f"{copy}{record.state} on {record.host}")
    else:
        metrics = ", ".join(f"{name}={shown(value)}" for name, value in record.metrics.items())
        lines.append(f"{record.state}{f': {metrics}' if metrics else ''}")
    if record is not None:
        lines += [_attempt(each) for each in journal.attempts(record.task)]
    return [*lines, f"to repeat it by hand: {project.shown(parameters)}"]


def _why_waiting(files: MasterFiles) -> str:
    """The reason why a task that is due has not been sent."""
    try:
        status = read_status(files.status)
    except FrameworkError as error:
        return str(error)
    if status.paused:
        return status.paused
    if not any(host.alive for host in status.hosts.values()):
        return "no worker host answers"
    slots = sum(host.slots for host in status.hosts.values() if host.alive)
    return f"{status.waiting} tasks wait, {status.running} run, in {slots} slots"


def _attempt(attempt: AttemptRecord) -> str:
    runs = attempt.state in ("running", "copied")
    text = f"attempt {attempt.attempt} on {attempt.host}: {'running' if runs else attempt.state}"
    if runs and attempt.started is not None:
        text += f" for {duration(max(0.0, time.time() - attempt.started))}"
    elif attempt.seconds is not None:
        text += f" after {duration(attempt.seconds)}"
    if attempt.state == "copied":
        text += ", beside its copy: the first result counts"
    if attempt.exit_code:
        text += f", exit code {attempt.exit_code}"
    return f"{text}: {attempt.reason}" if attempt.reason else text
