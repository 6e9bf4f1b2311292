"""Local run: connects a master and a worker in this process until the sweep has ended.

The same Master, Journal and Worker as on hosts; only what moves the messages between them is another: queues
in memory. A result is on disk, in the directory of its attempt, before the slot takes the next task, and in
the journal a moment later; what a run that was killed had no time to write there, the next one finds.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from framework.errors import FrameworkError, JournalError, UsageError
from framework.files import LocalFiles, ProjectFiles
from framework.local import orphans
from framework.local.run_lock import alone
from framework.local.snapshot import changed_files, take_snapshot
from framework.local.transport import LocalPublisher, LocalTransport
from framework.master.master import Master
from framework.master.publisher import Advice
from framework.messages.identity import Identity
from framework.messages.requests import ControlRequest, Which, hand_in
from framework.messages.status import Status
from framework.project.project import Project
from framework.project.resources import why_nowhere
from framework.runner.attempt import GRACE_SECONDS
from framework.worker.worker import Worker

log = logging.getLogger(__name__)

HOST = "local"
ADVICE = Advice(resume="run it again", renew="'run --outdated' runs these again, --fresh runs all again")


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended."""

    status: Status
    interrupted: bool


def run_project(
    project: Project,
    files: LocalFiles,
    slots: int | None,
    which: Which | None,
    show: Callable[[Status, bool], None],
) -> RunOutcome:
    """Run what has no result yet, until all is run or a signal comes; call it from the main thread.

    `which` is run although it has a result: "failed", "outdated" or "all".
    `show(status, ended)` is called after each turn of the master. The first SIGINT, SIGTERM or SIGHUP ends
    the running tasks, which are run again next time; the second kills them at once.
    Raises UsageError for a project that cannot be run here, FrameworkError if the directory of `files` cannot
    be used, or is in use by another run.
    """
    _check_program(project)
    _check_directory(files.path, project.path)
    with alone(files):
        code = take_snapshot(project.path, files.code, files.path, _properties(project))
        files.master.pause.unlink(missing_ok=True)  # running it again is how people say: go on
        identity = Identity("local", "local", project.name, HOST)
        publisher = LocalPublisher()
        worker = Worker(identity, files.worker, files.code, slots, publisher)
        if lacks := worker.lacks():
            raise UsageError(why_nowhere(project.name, {HOST: lacks}))
        if which:
            hand_in(files.master.requests, ControlRequest("again", which=which))
        master = Master(identity, files.master, files.code, ADVICE)
        transport = LocalTransport(worker, publisher)
        with _Signals(publisher.wake) as signals:
            try:
                _deliver_kept_results(master, files, publisher)
                status = _take_turns(master, transport, signals, files, show)
            except JournalError as error:
                raise FrameworkError(f"{error}; nothing is lost: make room, then run it again") from error
            finally:
                transport.close()
                worker.programs.close()
                master.close()
        if changed := changed_files(code):
            log.warning(
                "tasks wrote into directories of the project, of which there is one copy for all tasks; "
                "on a host they fail: %s", ", ".join(changed[:5])
            )  # fmt: skip
        return RunOutcome(status, signals.count > 0 and not status.finished)


def _properties(project: Project) -> dict[str, str]:
    """What a version of the code has to say beside the project's files."""
    properties = {}
    if project.sweep_file is not None:
        properties["sweep"] = str(project.sweep_file.resolve().relative_to(project.path.resolve()))
    if project.method.run_cap is not None:
        properties["run_cap"] = str(project.method.run_cap)
    return properties


def _take_turns(
    master: Master,
    transport: LocalTransport,
    signals: _Signals,
    files: LocalFiles,
    show: Callable[[Status, bool], None],
) -> Status:
    noted: set[str] = set()
    while True:
        idle = transport.is_idle()  # before the turn, which takes in what came until now
        master.turn(transport)
        status = master.status()
        ended = status.finished or (idle and bool(status.paused or transport.stopping))
        show(status, ended)
        if ended:
            return status
        for notice in status.notices:
            kind = re.sub(r"\d+", "", notice)  # the same one with other numbers need not be said again
            if notice != status.paused and kind not in noted:
                noted.add(kind)
                log.warning("%s", notice)
        if signals.count and not transport.stopping:
            log.warning(
                "stopping: running tasks have %.0f s to end, and will be run again; "
                "Ctrl-C once more kills them", GRACE_SECONDS,
            )  # fmt: skip
            transport.stop_all()
        if signals.count > 1:
            orphans.end_leftovers(files.worker.tasks)


def _deliver_kept_results(master: Master, files: LocalFiles, publisher: LocalPublisher) -> None:
    """What a run that was killed had finished and not written into the journal."""
    for sent in master.presume_lost():
        kept = files.worker.attempt(sent.id.task, sent.id.number).result
        with suppress(FileNotFoundError, ValueError):  # without a whole result it is run again
            publisher.deliver_result(sent.id, json.loads(kept.read_text()))


# What has to be right before anything is run.


def _check_program(project: Project) -> None:
    """Better one clear line now than the same failure for every task."""
    if project.function is not None:
        return
    program = project.command[0]
    there = project.path.resolve() / program if "/" in program else Path(shutil.which(program) or program)
    if there.is_absolute() and os.access(there, os.X_OK) and there.is_file():
        return
    if "/" in program:
        advice = "chmod +x it" if there.exists() else "there is no such file in the project"
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
        # a task could not import framework.report: its PYTHONPATH names a directory in there
        raise UsageError(f"{data}: has {os.pathsep!r} in its name; choose another directory with --data")


class _Signals:
    """Counts what asks this process to end; as a context, instead of ending it."""

    def __init__(self, on_signal: Callable[[], None]) -> None:
        self.count = 0
        self._on_signal = on_signal
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> _Signals:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
                self._before[number] = signal.signal(number, self._count)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _count(self, *_: object) -> None:
        self.count += 1
        self._on_signal()
