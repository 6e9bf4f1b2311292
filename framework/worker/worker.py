"""Worker: runs each assigned attempt once, and reports to the master."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import time
import uuid
from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from framework.configuration.load import load_code
from framework.errors import FrameworkError, ProjectError
from framework.files import AttemptFiles, Code, WorkerFiles, write_atomically
from framework.messages.assignment import Assignment, AttemptResult
from framework.messages.checks import LONGEST_REASON
from framework.messages.identity import Identity
from framework.messages.metrics import Metric
from framework.messages.task_ids import AttemptId
from framework.messages.worker_events import (
    Heartbeat,
    Message,
    MetricsUpdate,
    Refusal,
    Source,
    Started,
    WorkerEvent,
)
from framework.project.project import Project
from framework.project.resources import Resources
from framework.runner.attempt import Execution, run_attempt
from framework.runner.environment import task_environment
from framework.runner.programs import Programs
from framework.worker.allocator import Allocation, Allocator
from framework.worker.devices import Devices
from framework.worker.disk import disk_shortage
from framework.worker.held_attempts import HeldAttempts
from framework.worker.wandb_files import write_wandb_files

log = logging.getLogger(__name__)

FULL_DISK_PAUSE_SECONDS = 5.0
ALLOCATION_SECONDS = 1.0  # between two looks at the needs of a waiting task: a push may change them
LOCAL = "local"  # the infrastructure of a local run
HAND_BACK_SECONDS = 60.0  # after which a task that waits for devices goes back: another host may have them


class AttemptFailed(Exception):
    """Shows a failed attempt as failed in Celery and Flower; the master has the result already."""


class Publisher(Protocol):
    """The way from a worker to the master."""

    def publish_event(self, event: WorkerEvent, /) -> None:
        """Send an event when possible; it is lost if this process dies first."""

    def deliver_result(self, attempt: AttemptId, result: Message, /) -> None:
        """Keep a result until the master is certain to receive it. Raises OSError if it cannot be kept."""


class Worker:
    """The attempts that this host holds, and their execution.

    `slots`: how many may run at a time; None: as many as the host has CPUs. The resources that the project
    asks for may allow fewer or, as far as they are CPUs, more. `free_disk`: bytes that have to be free on the
    disk for tasks to run; None: what the project says.
    """

    def __init__(
        self,
        identity: Identity,
        files: WorkerFiles,
        code: Path,
        slots: int | None,
        publisher: Publisher,
        free_disk: int | None = None,
    ) -> None:
        self.identity = identity
        self.programs = Programs()
        self._publisher = publisher
        self._source = Source(identity.infrastructure, identity.project, identity.host)
        self._files = files
        self._code = code
        self._free_disk = free_disk
        self._incarnation = uuid.uuid4().hex
        self._framework_version = Code.current(code).framework_version
        self._allocator = Allocator(Devices(files.devices), slots)
        self.concurrency = max(self._allocator.room(needs).most for needs in (Resources(), self._needs()))
        self._held = HeldAttempts()

    # Reports to the master.

    def heartbeat(self) -> Heartbeat:
        """The attempts that this worker holds; no slots if it is to be sent nothing more."""
        room = self._allocator.room(self._needs())
        running, reserved = self._held.running_and_reserved()
        shortage = self._disk_shortage()
        full = f"{shortage}: it gets no tasks until there is room" if shortage else ""
        is_ready = not (self._has_newer_framework() or full or self._held.is_stopping)
        return Heartbeat(
            self._source,
            incarnation=self._incarnation,
            slots=min(room.now, self.concurrency) if is_ready else 0,
            running=running,
            reserved=reserved,
            notice=(room.lacks or "; ".join(filter(None, [full, room.trouble])))[:LONGEST_REASON],
            unfit=bool(room.lacks),
        )

    def restart_if_due(self) -> None:
        """Restart for new framework files, or for more slots than this process can have, once idle."""
        has_too_few_slots = self._allocator.room(self._needs()).most > self.concurrency
        if (self._has_newer_framework() or has_too_few_slots) and not any(self._held.running_and_reserved()):
            log.info("new framework files, or more slots: the worker restarts to use them")
            os.kill(os.getpid(), signal.SIGTERM)  # Docker's restart policy starts it again

    def _has_newer_framework(self) -> bool:
        return Code.current(self._code).framework_version != self._framework_version

    def lacks(self) -> str:
        """The reason why this host can never run a task of the current project; empty if it can."""
        return self._allocator.room(self._needs()).lacks

    def _needs(self, code: Code | None = None) -> Resources:
        """The resources that one task of the current project needs."""
        project = self._project(code)
        return (project.resources if project else None) or Resources()

    def _disk_shortage(self) -> str:
        """What the disk lacks of the space that the current project asks for; empty if it has enough."""
        project = self._project()
        needed = self._free_disk or (project.free_disk if project else None)
        return disk_shortage(self._files.path, needed)

    def _project(self, code: Code | None = None) -> Project | None:
        """The project in `code`, or the current one; None if it is wrong: its tasks say what."""
        with suppress(ProjectError):
            return cached_project(code or Code.current(self._code), self.identity.project)
        return None

    # Messages of the master.

    def reserve(self, attempt: AttemptId) -> None:
        """Hold an attempt that was received and has not begun."""
        self._held.reserve(attempt)

    def release(self, attempt: AttemptId) -> None:
        """Hold an attempt no longer, whatever became of it."""
        self._held.release(attempt)

    def stop_attempts(self, attempts: Collection[AttemptId]) -> None:
        """Stop those that run: their process groups get TERM, then KILL; skip those that are reserved."""
        self._held.stop(attempts)

    def stop(self) -> None:
        """Stop every running attempt, and begin no other."""
        self._held.stop_all()

    def run(self, message: object) -> None:
        """Run one attempt; raises AttemptFailed if it failed, FrameworkError for a foreign message."""
        try:
            assignment = self._read(message)
        except FrameworkError as error:
            reason, beginning = str(error)[:LONGEST_REASON], ascii(message)[:LONGEST_REASON]
            self._publisher.publish_event(Refusal(self._source, reason, beginning))
            raise
        stop = self._held.begin(assignment.id)
        if stop is None:
            log.warning("task %s was received again while it runs: ignored", assignment.id)
            return
        try:
            self._run_once(assignment, stop)
        finally:
            self._held.end(assignment.id)

    def _read(self, message: object) -> Assignment:
        """The assignment in a message; raises FrameworkError if it is not valid, or not for this worker."""
        assignment = Assignment.from_message(message)
        ours = (self.identity.infrastructure, self.identity.project)
        if (assignment.infrastructure, assignment.project) != ours:
            raise FrameworkError(
                f"task {assignment.id} is of {assignment.infrastructure}/{assignment.project}: not run"
            )
        if problem := self._mismatch(assignment, Code.current(self._code)):
            raise FrameworkError(f"{problem}: not run")
        return assignment

    def _mismatch(self, assignment: Assignment, code: Code) -> str:
        """The reason why an assignment is none of the project in `code`; empty if it is one.

        If the project cannot be read, its metaparameters cannot be told from others: the attempt will fail.
        """
        with suppress(ProjectError):
            project = cached_project(code, self.identity.project)
            if project.task_id(assignment.parameters) != assignment.task:
                return (
                    f"task {assignment.id} is another one than its metaparameters make with the command of "
                    f"code {code.version}"
                )
        return ""

    # Execution.

    def _run_once(self, assignment: Assignment, stop: threading.Event) -> None:
        files = self._files.attempt(assignment.task, assignment.attempt)
        if files.result.exists():
            # Its message was repeated, or the master has lost its journal.
            log.warning("task %s has ended here before: its result is sent again", assignment.id)
            kept = json.loads(files.result.read_text())
            ours = {"infrastructure": self.identity.infrastructure}
            self._publisher.deliver_result(assignment.id, kept | ours)
            return
        if files.directory.exists():
            # An earlier incarnation of this worker died in it; the master sends it again as the next attempt.
            log.warning("task %s was begun before this worker started: left to the master", assignment.id)
            return
        code, allocation = self._allocate(assignment, stop)
        started = time.time()
        if isinstance(allocation, Allocation):
            try:
                self._held.execute(assignment.id)
                self._publisher.publish_event(Started(self._source, assignment.id, started))
                execution = self._execute(assignment, files, code, allocation, stop)
            finally:
                self._allocator.release(allocation)
        else:
            execution = Execution(None, 0.0, "stopped", allocation, {})
        self._keep(files, self._result(assignment, code, started, execution))
        if execution.state != "done":
            raise AttemptFailed(execution.reason)

    def _allocate(self, assignment: Assignment, stop: threading.Event) -> tuple[Code, Allocation | str]:
        """Devices for a task, with the code that is current then; or the reason why it is not to run here."""
        deadline = time.monotonic() + HAND_BACK_SECONDS
        while True:
            code = Code.current(self._code)
            if stop.is_set():
                return code, "stopped before it began"
            if problem := self._mismatch(assignment, code):
                return code, f"{problem}, which came while it waited: handed back"
            allocation = self._allocator.allocate(self._needs(code), ALLOCATION_SECONDS)
            if allocation is not None and Code.current(self._code) == code:
                return code, allocation
            if allocation is not None:
                self._allocator.release(allocation)  # the new code may need something else
                continue
            if time.monotonic() >= deadline:
                return code, f"there was no room for it in {HAND_BACK_SECONDS:.0f} s: handed back"

    def _execute(
        self,
        assignment: Assignment,
        files: AttemptFiles,
        code: Code,
        allocation: Allocation,
        stop: threading.Event,
    ) -> Execution:
        try:
            project = cached_project(code, self.identity.project)
            devices = allocation.environment(os.environ) if project.resources is not None else {}
            environment = task_environment(os.environ, files, code.path, devices)
            program = self.programs.of(project, assignment.parameters, self._namable(environment))
        except ProjectError as error:
            return Execution(None, 0.0, "failed", str(error), {})

        reports = project.reports()

        def publish_metrics(metrics: Mapping[str, Metric]) -> None:
            at_rungs = tuple(reports.at_rungs.items()) if reports else ()
            event = MetricsUpdate(self._source, assignment.id, dict(metrics), at_rungs)
            self._publisher.publish_event(event)

        while True:
            try:
                # A mode that the user has set stays.
                wandb_variables = write_wandb_files(project, assignment.parameters, files)
                return run_attempt(
                    program,
                    files,
                    code.project_path,
                    wandb_variables | environment,
                    project.timeout,
                    publish_metrics,
                    stop,
                    reports,
                    project.metric,
                    assignment.parameters,
                )
            except FrameworkError as error:
                log.error("task %s cannot be started (%s): waiting for room", assignment.id, error)
                if stop.wait(FULL_DISK_PAUSE_SECONDS):
                    return Execution(None, 0.0, "stopped", str(error), {})

    def _namable(self, environment: Mapping[str, str]) -> Mapping[str, str]:
        """The variables that a command may name: in a local run, which is the user's own, all of them."""
        return {**os.environ, **environment} if self.identity.infrastructure == LOCAL else environment

    def _result(
        self, assignment: Assignment, code: Code, started: float, execution: Execution
    ) -> AttemptResult:
        reason = execution.reason[:LONGEST_REASON]
        if execution.state == "failed" and (shortage := self._disk_shortage()):
            reason = f"{reason[: LONGEST_REASON - len(shortage) - 2]}; {shortage}"
        return AttemptResult(
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

    # Results on this host's disk.

    def _keep(self, files: AttemptFiles, result: AttemptResult) -> None:
        """Spool first: from then on the result reaches the master, whatever happens to this process."""
        message = result.to_message()
        while True:
            try:
                self._publisher.deliver_result(result.id, message)
                files.directory.mkdir(parents=True, exist_ok=True)  # missing if it could not be started
                write_atomically(files.result, json.dumps(message), fsync=True)
                return
            except OSError as error:
                log.error("the result of task %s cannot be kept (%s): waiting for room", result.id, error)
                if self._held.wait_for_stop(FULL_DISK_PAUSE_SECONDS):
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
                log.error("%s cannot be copied into the directory of its attempt: %s", spooled, error)


@lru_cache(maxsize=4)
def cached_project(code: Code, name: str) -> Project:
    """The project of one code version; its path carries the version, so it never changes."""
    return load_code(code, name)
