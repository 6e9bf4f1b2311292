"""Local run: connects a master and a worker in this process until the sweep has ended.

Master, journal, worker and runner are those that run on hosts; only the transport of messages differs: lists
in memory. The log of the runner has a result when its task has ended, and keeps it until the journal has it:
what a killed run did not write there, the next run gets from the log.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from framework.errors import FrameworkError, JournalError, ProjectError, UsageError
from framework.files import LocalFiles, ProjectFiles
from framework.local.collected_values import collect_notify_values, collect_values
from framework.local.data_directory import HOST, other_owner, record_owner
from framework.local.run_lock import run_lock
from framework.local.runner_process import RunnerProcess, task_environment
from framework.local.snapshot import changed_files, keep_written, make_removable, take_snapshot
from framework.local.transport import LocalPublisher, LocalTransport
from framework.master.advice import Advice
from framework.master.master import Master
from framework.messages.identity import Identity
from framework.messages.requests import ControlRequest, Which, hand_in
from framework.messages.status import Status
from framework.project.command_line import literal
from framework.project.mounts import local_problems
from framework.project.project import Project
from framework.project.resources import why_nowhere
from framework.runner import orphans
from framework.runner.attempt import GRACE_SECONDS
from framework.worker.worker import LOCAL, Worker

log = logging.getLogger(__name__)

TELL_SECONDS = 20.0  # at the end of a run

Show: TypeAlias = Callable[[Status, bool], None]  # called with a status, and whether it is the last one


@dataclass(frozen=True)
class RunOutcome:
    """Outcome of a run."""

    status: Status
    interrupted: bool
    began: float = 0.0  # Unix time; tasks that ended before it were not run by this run


def run_project(
    project: Project,
    files: LocalFiles,
    slots: int | None,
    which: Which | None,
    show: Show,
    advice: Advice,
) -> RunOutcome:
    """Run the combinations that have no result yet, until all have ended or a signal comes.

    Call it from the main thread. `which` names tasks that run although they have a result: "failed",
    "outdated" or "all". `show(status, ended)` is called after each turn of the master. The first SIGINT,
    SIGTERM or SIGHUP stops the running tasks, which the next run repeats; the second kills them at once.
    Raises UsageError for a project that cannot run on this machine, FrameworkError if the directory of
    `files` cannot be used, or is used by another run.
    """
    _check_program(project)
    if problems := local_problems(project.mounts):
        raise ProjectError(problems)
    _check_directory(files.path, project.path)
    values, notify_values = collect_values(project), collect_notify_values(project)
    with run_lock(files) as lock:
        _claim_directory(files, project)
        keep_written(files.code, files.written)
        code = take_snapshot(project.path, files.code, files.path, _properties(project), project.ignore)
        runner = RunnerProcess(files.worker, lock, values)
        outcome = _run_snapshot(project, files, slots, which, show, runner, notify_values, advice)
        if changed := changed_files(code):
            log.warning(
                "tasks wrote into %s, which all tasks share, and which is read-only on a host: %s; "
                "the next run moves these files to %s",
                code.project_path, ", ".join(changed[:5]), files.written,
            )  # fmt: skip
        with suppress(OSError):
            make_removable(code.path)
        return outcome


def _run_snapshot(
    project: Project,
    files: LocalFiles,
    slots: int | None,
    which: Which | None,
    show: Show,
    runner: RunnerProcess,
    notify_values: Mapping[str, str],
    advice: Advice,
) -> RunOutcome:
    """Run the project of which files.code holds a copy; see run_project."""
    began = time.time()
    files.master.pause.unlink(missing_ok=True)  # a new run resumes a paused sweep
    identity = Identity("local", LOCAL, project.name, HOST)
    publisher = LocalPublisher()
    worker = Worker(
        identity, files.worker, files.code, slots, publisher, project.free_disk, writes_results=False
    )
    if lacks := worker.lacks():
        raise UsageError(why_nowhere(project.name, {HOST: lacks}))
    if which:
        hand_in(files.master.requests, ControlRequest("again", which=which))
    master = Master(identity, files.master, files.code, advice, notify_values)
    transport = LocalTransport(worker, publisher, runner)
    with _Signals() as signals:
        try:
            transport.connect()
            master.send_again(transport)
            status = _take_turns(master, transport, signals, files, show)
            _wait_until_told(master, signals)
        except JournalError as error:
            raise FrameworkError(
                f"{error}; nothing is lost: free some disk space, then run it again"
            ) from error
        finally:
            transport.close()
            master.close()
    return RunOutcome(status, signals.count > 0 and not status.finished, began)


def _properties(project: Project) -> dict[str, str]:
    """What a version of the code has to say beside the project's files."""
    properties = {}
    if project.sweep_file is not None:
        properties["sweep"] = str(project.sweep_file.resolve().relative_to(project.path.resolve()))
    if project.method.run_cap is not None:
        properties["run_cap"] = str(project.method.run_cap)
    return properties


def _take_turns(
    master: Master, transport: LocalTransport, signals: _Signals, files: LocalFiles, show: Show
) -> Status:
    """Have the master take turns until the sweep has ended or is paused; return its last status."""
    logged: set[str] = set()
    while True:
        idle = transport.is_idle()  # asked before the turn, which takes in all that came until now
        master.turn(transport)
        status = master.status()
        if failure := transport.setup_failure:
            raise FrameworkError(f"this machine {failure}")
        # The result of a pruned task, which says how long it ran, comes after its record.
        is_complete = status.finished and (idle or not status.pruned)
        ended = is_complete or (idle and bool(status.paused or transport.stopping))
        show(status, ended)
        if ended:
            return status
        said = {status.paused, *(event.text for event in status.events)}
        for notice in status.notices:
            kind = re.sub(r"\d+", "", notice)  # a notice that differs in numbers only is logged once
            if notice not in said and kind not in logged:
                logged.add(kind)
                log.warning("%s", notice)
        if signals.count and not transport.stopping:
            log.warning(
                "stopping: running tasks get %.0f s to end, and the next run repeats them; "
                "press Ctrl-C again to kill them now", GRACE_SECONDS,
            )  # fmt: skip
            transport.stop_all()
        if signals.count > 1:
            orphans.kill_orphans(files.worker.tasks)
            orphans.kill_orphans(files.worker.setup)


def _wait_until_told(master: Master, signals: _Signals) -> None:
    """Give those who want to be told of the end some seconds; the next run tells them otherwise."""
    deadline, before = time.monotonic() + TELL_SECONDS, signals.count
    while not master.has_told and signals.count == before and time.monotonic() < deadline:
        time.sleep(0.05)
    if problem := master.notify_problem:
        log.warning("%s%s", problem, "" if master.has_told else " by the next run")


def _check_program(project: Project) -> None:
    """Raise UsageError if the program of the command cannot run, which every task would fail with."""
    if project.function is not None:
        return
    program = literal(project.command[0])
    if program is None:
        return  # another one for each task
    search_path = project.variables.values.get("PATH", task_environment()["PATH"])
    path = (
        project.path.resolve() / project.workdir / program
        if "/" in program
        else Path(shutil.which(program, path=search_path) or program)
    )
    if path.is_absolute() and os.access(path, os.X_OK) and path.is_file():
        return
    if "/" in program:
        advice = "run chmod +x on it" if path.exists() else "there is no such file in the project"
    elif program == "python" and shutil.which("python3"):
        advice = "write python3, or activate an environment that has python"
    else:
        advice = "install it, or activate the environment that has it"
    settings = project.sweep_file or ProjectFiles(project.path).settings
    raise UsageError(f"{settings}: command: {program!r} cannot be run here; {advice}")


def _check_directory(data: Path, project: Path) -> None:
    if data == project.resolve():
        raise UsageError(f"{data}: is the project itself; choose another directory with --data")
    if os.pathsep in str(data):
        # A task could not import framework.report: its PYTHONPATH names a directory below this one.
        raise UsageError(f"{data}: has {os.pathsep!r} in its name; choose another directory with --data")


def _claim_directory(files: LocalFiles, project: Project) -> None:
    """Record the project of the directory, or warn that it is another one's."""
    if other := other_owner(files, project):
        log.warning(
            "%s is the directory of another project, %s: tasks that both have count for both; "
            "choose another one with --data", files.path, other,
        )  # fmt: skip
        return
    try:
        record_owner(files, project)
    except OSError as error:
        raise FrameworkError(
            f"{files.path}: cannot be used ({error.strerror}); choose another directory with --data"
        ) from error


class _Signals:
    """Counter of the signals that ask this process to end; as a context, it keeps them from ending it."""

    def __init__(self) -> None:
        self.count = 0
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> _Signals:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores SIGHUP
                self._previous[number] = signal.signal(number, self._count)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _count(self, *_: object) -> None:
        self.count += 1
