"""Worker: runs each assigned attempt once, and reports to the master."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import threading
import time
import uuid
from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from framework.configuration.load import load_project
from framework.errors import FrameworkError, ProjectError
from framework.files import AttemptFiles, Code, WorkerFiles, write_atomically
from framework.messages.assignment import LONGEST_REASON, Assignment, AttemptResult
from framework.messages.identity import Identity
from framework.messages.worker_events import Message
from framework.project.project import Project
from framework.project.resources import Resources
from framework.runner.attempt import Execution, run_attempt
from framework.runner.environment import task_environment
from framework.runner.programs import Programs
from framework.worker.allocator import Lease, Slots
from framework.worker.devices import Devices

log = logging.getLogger(__name__)

FULL_DISK_PAUSE_SECONDS = 5.0
ROOM_SECONDS = 1.0  # between two looks at what a waiting task needs: a push may change it
HAND_BACK_SECONDS = 60.0  # after which a task that waits for room goes back: there may be some elsewhere
LEAST_FREE_BYTES = 200 * 10**6
LEAST_FREE_SHARE = 0.01  # of the disk


class AttemptFailed(Exception):
    """Shows a failed attempt as failed in Celery and Flower; the master has the result already."""


class Outbox(Protocol):
    """What a worker needs to be heard by the master."""

    def tell(self, news: Message, /) -> None:
        """Send when possible; lost if this process dies first."""

    def deliver(self, name: str, result: Message, /) -> None:
        """Keep a result until the master can be sure to get it. Raises OSError when it cannot be kept."""


class Worker:
    """The tasks this host holds, and what becomes of them.

    `slots`: how many may run at a time; None: as many as the host has CPUs. What the project says that a task
    needs may allow fewer, or, as far as it speaks of CPUs, more.
    """

    def __init__(
        self, identity: Identity, files: WorkerFiles, code: Path, slots: int | None, outbox: Outbox
    ) -> None:
        self.identity = identity
        self.outbox = outbox
        self._files = files
        self._code = code
        self._incarnation = uuid.uuid4().hex
        self.programs = Programs()
        self._framework_version = Code.current(code).framework_version
        self._slots = Slots(Devices(files.devices), slots)
        self.concurrency = max(self._slots.room(needs).most for needs in (Resources(), self._needs()))
        self._lock = threading.RLock()  # stop() is called by a signal, in a thread that may hold it
        self._reserved: set[str] = set()
        self._running: dict[str, threading.Event] = {}  # what stops each
        self._waiting: set[str] = set()  # of the running ones: for room, so that they do not run yet
        self._unwanted: set[str] = set()  # of the reserved ones: to be skipped when their turn comes
        self._stopping = threading.Event()

    # What the master is told.

    def beat(self) -> dict[str, Any]:
        """What this worker holds; no slots when it is to be sent nothing more.

        Restarts the worker for new framework files, or more slots than it can have, once it holds nothing.
        """
        room = self._slots.room(self._needs())
        draining = Code.current(self._code).framework_version != self._framework_version
        with self._lock:
            running = self._running.keys() - self._waiting
            reserved = (self._reserved | self._waiting) - running
        if (draining or room.most > self.concurrency) and not running and not reserved:
            log.info("new framework files, or more slots: restarting to use them")
            os.kill(os.getpid(), signal.SIGTERM)  # Docker's restart policy starts it again
        full = self._disk_notice()
        ready = not (draining or full or self._stopping.is_set())
        return self._news(
            "beat",
            incarnation=self._incarnation,
            slots=min(room.now, self.concurrency) if ready else 0,
            running=sorted(running),
            reserved=sorted(reserved),
            notice=(room.lacks or "; ".join(filter(None, [full, room.trouble])))[:LONGEST_REASON],
            unfit=bool(room.lacks),
        )

    def lacks(self) -> str:
        """Why this host can never run a task of the current project; empty if it can."""
        return self._slots.room(self._needs()).lacks

    def _needs(self, code: Code | None = None) -> Resources:
        """What one task of the current project needs."""
        try:
            project = cached_project((code or Code.current(self._code)).project_path, self.identity.project)
        except ProjectError:
            return Resources()  # its tasks say what is wrong with it
        return project.resources or Resources()

    def _disk_notice(self) -> str:
        """Why this worker is to be sent nothing until there is room on its disk; empty if there is."""
        shortage = self._disk_shortage()
        return f"{shortage}: it gets no tasks until there is room" if shortage else ""

    def _disk_shortage(self) -> str:
        """What its disk lacks; empty if nothing."""
        try:
            disk = shutil.disk_usage(self._files.path)
        except OSError as error:
            return f"{self._files.path} cannot be used ({error.strerror})"
        needed = max(LEAST_FREE_BYTES, int(disk.total * LEAST_FREE_SHARE))
        if disk.free >= needed:
            return ""
        return f"only {disk.free // 10**6} MB are free on its disk, of {needed // 10**6} MB that are needed"

    def _news(self, kind: str, **content: Any) -> dict[str, Any]:
        return {
            "kind": kind,
            "infrastructure": self.identity.infrastructure,
            "project": self.identity.project,
            "host": self.identity.host,
            **content,
        }

    # What the master sends.

    def reserve(self, name: str) -> None:
        with self._lock:
            self._reserved.add(name)

    def release(self, name: str) -> None:
        """Not held any more, whatever became of it."""
        with self._lock:
            if name not in self._running:
                self._reserved.discard(name)
                self._unwanted.discard(name)

    def run(self, message: object) -> None:
        """Run one attempt; raises AttemptFailed when it failed, FrameworkError for a message not for us."""
        try:
            assignment = self._read(message)
        except FrameworkError as error:
            self.outbox.tell(
                self._news(
                    "refused", reason=str(error)[:LONGEST_REASON], message=ascii(message)[:LONGEST_REASON]
                )
            )
            raise
        name = f"{assignment.task}.{assignment.attempt}"
        with self._lock:
            if name in self._running:
                log.warning("task %s came a second time while it runs: not run again", name)
                return
            stop = self._running[name] = threading.Event()
            self._waiting.add(name)
            if name in self._unwanted or self._stopping.is_set():
                stop.set()
        try:
            self._run_once(assignment, name, stop)
        finally:
            with self._lock:
                del self._running[name]
                self._waiting.discard(name)
                self._reserved.discard(name)
                self._unwanted.discard(name)

    def _read(self, message: object) -> Assignment:
        """What we are to run; raises FrameworkError if it is not exactly an assignment, or not for us."""
        assignment = Assignment.from_message(message)
        ours = (self.identity.infrastructure, self.identity.project)
        if (assignment.infrastructure, assignment.project) != ours:
            raise FrameworkError(
                f"task {assignment.task}.{assignment.attempt} is of "
                f"{assignment.infrastructure}/{assignment.project}: not run"
            )
        if problem := self._mismatch(assignment, Code.current(self._code)):
            raise FrameworkError(f"{problem}: not run")
        return assignment

    def _mismatch(self, assignment: Assignment, code: Code) -> str:
        """Why an assignment is none of the project in `code`; empty if it is one.

        If the project cannot be read, its metaparameters cannot be told from others: the attempt will fail.
        """
        with suppress(ProjectError):
            project = cached_project(code.project_path, self.identity.project)
            if project.task_id(assignment.parameters) != assignment.task:
                return (
                    f"task {assignment.task}.{assignment.attempt} is another one than its metaparameters "
                    f"make with the command of code {code.version}"
                )
        return ""

    def _run_once(self, assignment: Assignment, name: str, stop: threading.Event) -> None:
        files = self._files.attempt(assignment.task, assignment.attempt)
        if files.result.exists():
            # Its message was repeated, or the master has lost its journal.
            log.warning("task %s has ended here before: its result is sent again", name)
            kept = json.loads(files.result.read_text())
            self.outbox.deliver(name, kept | {"infrastructure": self.identity.infrastructure})
            return
        if files.directory.exists():
            # An earlier incarnation of this worker died in it; the master sends it again as the next attempt.
            log.warning("task %s was begun before this worker started: left to the master", name)
            return
        code, given = self._wait_for_room(assignment, stop)
        started = time.time()
        if isinstance(given, Lease):
            try:
                with self._lock:
                    self._waiting.discard(name)
                self.outbox.tell(
                    self._news("started", task=assignment.task, attempt=assignment.attempt, started=started)
                )
                execution = self._execute(assignment, files, code, given, stop)
            finally:
                self._slots.release(given)
        else:
            execution = Execution(None, 0.0, "stopped", given, {})
        reason = execution.reason[:LONGEST_REASON]
        if execution.state == "failed" and (shortage := self._disk_shortage()):
            reason = f"{reason[: LONGEST_REASON - len(shortage) - 2]}; {shortage}"
        result = AttemptResult(
            task=assignment.task,
            attempt=assignment.attempt,
            host=self.identity.host,
            state=execution.state,
            started=started,
            seconds=execution.seconds,
            exit_code=execution.exit_code,
            reason=reason,
            metrics=execution.metrics,
            code=code.version,
            image=self.identity.image,
            infrastructure=self.identity.infrastructure,
            project=self.identity.project,
        )
        self._keep(name, files, result)
        if execution.state != "done":
            raise AttemptFailed(execution.reason)

    def _wait_for_room(self, assignment: Assignment, stop: threading.Event) -> tuple[Code, Lease | str]:
        """What a task is given, with the code that is current then; or why it is not to run here now."""
        deadline = time.monotonic() + HAND_BACK_SECONDS
        while True:
            code = Code.current(self._code)
            if stop.is_set():
                return code, "stopped before it began"
            if problem := self._mismatch(assignment, code):
                return code, f"{problem}, which came while it waited: handed back"
            lease = self._slots.acquire(self._needs(code), ROOM_SECONDS)
            if lease is not None and Code.current(self._code) == code:
                return code, lease
            if lease is not None:
                self._slots.release(lease)  # it needs something else now
                continue
            if time.monotonic() >= deadline:
                return code, f"there was no room for it in {HAND_BACK_SECONDS:.0f} s: handed back"

    def _execute(
        self, assignment: Assignment, files: AttemptFiles, code: Code, lease: Lease, stop: threading.Event
    ) -> Execution:
        try:
            project = cached_project(code.project_path, self.identity.project)
            devices = lease.environment(os.environ) if project.resources is not None else {}
            environment = task_environment(os.environ, files, code.path, devices)
            program = self.programs.of(project, assignment.parameters, environment)
        except ProjectError as error:
            return Execution(None, 0.0, "failed", str(error), {})

        reports = project.reports()

        def tell_metrics(metrics: Mapping[str, Any]) -> None:
            self.outbox.tell(
                self._news(
                    "metrics",
                    task=assignment.task,
                    attempt=assignment.attempt,
                    metrics=dict(metrics),
                    reports=[list(report) for report in reports.at_rungs.items()] if reports else [],
                )
            )

        while True:
            try:
                return run_attempt(
                    program,
                    files,
                    code.project_path,
                    environment,
                    project.timeout,
                    tell_metrics,
                    stop,
                    reports,
                )
            except FrameworkError as error:
                log.error("%s; waiting for room", error)
                if stop.wait(FULL_DISK_PAUSE_SECONDS):
                    return Execution(None, 0.0, "stopped", str(error), {})

    def _keep(self, name: str, files: AttemptFiles, result: AttemptResult) -> None:
        """Spool first: from then on the result reaches the master, whatever happens to this process."""
        message = result.to_message()
        while True:
            try:
                self.outbox.deliver(name, message)
                files.directory.mkdir(parents=True, exist_ok=True)  # missing if it could not be started
                write_atomically(files.result, json.dumps(message), fsync=True)
                return
            except OSError as error:
                log.error("cannot keep the result of task %s: %s; waiting for room", name, error)
                if self._stopping.wait(FULL_DISK_PAUSE_SECONDS):
                    raise

    def finish_earlier_results(self) -> None:
        """Complete what a crash left between the spool and the attempt's own directory."""
        for spooled in self._files.spool.glob("*.json"):
            try:
                result = AttemptResult.from_message(json.loads(spooled.read_text()))
                files = self._files.attempt(result.task, result.attempt)
                if not files.result.exists():
                    files.directory.mkdir(parents=True, exist_ok=True)
                    write_atomically(files.result, spooled.read_text(), fsync=True)
            except (FrameworkError, ValueError, OSError) as error:
                log.error("%s cannot be put into its place: %s", spooled, error)

    def stop_attempts(self, names: Collection[str]) -> None:
        """End those that run: their process groups get TERM, then KILL; skip those that are reserved."""
        with self._lock:
            self._unwanted |= self._reserved.intersection(names)
            for name in self._running.keys() & set(names):
                self._running[name].set()

    def stop(self) -> None:
        """End every running task, and begin no other."""
        with self._lock:
            self._stopping.set()
            for stop in self._running.values():
                stop.set()


@lru_cache(maxsize=4)
def cached_project(path: Path, name: str) -> Project:
    """The project of one code version; its path carries the version, so it never changes."""
    return load_project(path, name)
