"""Worker: has its runner run each assigned attempt once, and reports to the master."""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from framework.configuration.load import load_code
from framework.errors import FrameworkError, MessageError, ProjectError
from framework.files import AttemptFiles, Code, WorkerFiles, write_atomically
from framework.messages.assignment import Assignment, AttemptResult
from framework.messages.checks import LONGEST_REASON
from framework.messages.identity import Identity
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
from framework.worker.allocator import Allocation, Allocator
from framework.worker.devices import Devices
from framework.worker.disk import disk_shortage
from framework.worker.held_attempts import HeldAttempt, HeldAttempts, Phase
from framework.worker.jobs import make_job

log = logging.getLogger(__name__)

RETRY_SECONDS = 5.0  # between two tries of what a full disk has prevented
HAND_BACK_SECONDS = 60.0  # after which a task that waits for devices goes back: another host may have them
LOST_SECONDS = 5.0  # for which a runner that has gone may come back with what it ran
LOCAL = "local"  # the infrastructure of a local run


class AttemptFailed(Exception):
    """Shows a failed attempt as failed in Celery and Flower; the master has the result already."""


class AttemptLeft(Exception):
    """The worker ends; the attempt runs on, and the next worker reports its result."""


class Publisher(Protocol):
    """The way from a worker to the master."""

    def publish_event(self, event: WorkerEvent, /) -> None:
        """Send an event when possible; it is lost if this process dies first."""

    def deliver_result(self, attempt: AttemptId, result: Message, on_kept: Callable[[], None], /) -> None:
        """Have the master receive a result; call `on_kept` once that is certain, whoever dies.

        Raises OSError if it cannot be kept.
        """


class Runner(Protocol):
    """The way from a worker to its runner; see framework.runner.protocol."""

    def send(self, **message: Any) -> None:
        """Send a message; it is lost if the connection has ended."""


class Worker:
    """The attempts that this host holds. All methods may be called from any thread.

    `slots`: how many may run at a time; None: as many as the host has CPUs. The resources that the project
    asks for may allow fewer or, as far as they are CPUs, more. `free_disk`: bytes that have to be free on the
    disk for tasks to run; None: what the project says. `memory`: bytes that tasks may use; None: what this
    process may. `syncs_results`: results in the directories of attempts survive a power failure, and whoever
    finds one there knows that the publisher has kept it.
    """

    def __init__(
        self,
        identity: Identity,
        files: WorkerFiles,
        code: Path,
        slots: int | None,
        publisher: Publisher,
        free_disk: int | None = None,
        memory: int | None = None,
        syncs_results: bool = True,
    ) -> None:
        self.identity = identity
        self._publisher = publisher
        self._source = Source(identity.infrastructure, identity.project, identity.host)
        self._files = files
        self._code = code
        self._free_disk = free_disk
        self._syncs_results = syncs_results
        self._incarnation = uuid.uuid4().hex
        self._framework_version = Code.current(code).framework_version
        self._allocator = Allocator(Devices(files.devices, memory), slots)
        self.concurrency = max(self._allocator.room(needs).most for needs in (Resources(), self._needs()))
        self._lock = threading.RLock()
        self._held = HeldAttempts()
        self._unkept: list[HeldAttempt] = []  # outcomes that a full disk keeps from being kept
        self._retry_at = 0.0
        self._runner: Runner | None = None  # None: there is none, or it has not said yet what it holds
        self._connecting: Runner | None = None  # the one that is saying it
        self._named: set[AttemptId] = set()  # what it has named so far
        self._given: dict[str, str] = {}  # environment of the runner
        self._image = identity.image
        self._runner_gone_at: float | None = time.monotonic()
        self._is_leaving = False
        self._reviewed = ""  # version of the code that all waiting attempts were compared with

    # Reports to the master.

    def heartbeat(self) -> Heartbeat:
        """The attempts that this worker holds; no slots if it is to be sent nothing more."""
        with self._lock:
            room = self._allocator.room(self._needs())
            running, reserved = self._held.running_and_reserved()
            no_runner = "" if self._runner else "its runner does not answer: it gets no tasks"
            shortage = self._disk_shortage()
            full = f"{shortage}: it gets no tasks until there is room" if shortage else ""
            is_ready = not (self._has_newer_framework() or full or no_runner or self._is_leaving)
            notices = [no_runner, full, room.trouble]
            return Heartbeat(
                self._source,
                incarnation=self._incarnation,
                slots=min(room.now, self.concurrency) if is_ready else 0,
                running=running,
                reserved=reserved,
                notice=(room.lacks or "; ".join(filter(None, notices)))[:LONGEST_REASON],
                unfit=bool(room.lacks),
            )

    def restart_reason(self) -> str:
        """The reason why this process has to be replaced by another one; empty if there is none."""
        if self._has_newer_framework():
            return "new framework files"
        with self._lock:
            if any(self._held.running_and_reserved()):
                return ""
            has_too_few_slots = self._allocator.room(self._needs()).most > self.concurrency
            return "more slots than this process can have" if has_too_few_slots else ""

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
        with self._lock:
            self._held.reserve(attempt)

    def release(self, attempt: AttemptId) -> None:
        """Hold an attempt no longer that was received and has not begun, whatever became of it."""
        with self._lock:
            self._held.release(attempt)

    def stop_attempts(self, attempts: Collection[AttemptId]) -> None:
        """Stop those that run: their process groups get TERM, then KILL; hand back those that wait."""
        with self._lock:
            begun = self._held.stop(attempts)
            given = [str(held.id) for held in begun if held.phase is not Phase.WAITING]
            if given and self._runner:
                self._runner.send(do="stop", attempts=given)
            self._review_waiting()

    def stop(self) -> None:
        """Stop every attempt, and begin no other."""
        with self._lock:
            self._is_leaving = True
            self.stop_attempts([held.id for held in self._held])

    def leave(self, for_good: bool) -> None:
        """Begin no other attempt, and wait for none: what runs goes on, and the next worker reports it.

        What waits goes back to the master. `for_good`: if there is no next worker soon, the runner stops what
        runs.
        """
        with self._lock:
            self._is_leaving = True
            for held in self._held.in_phase(Phase.WAITING):
                self._end_unrun(held, "stopped before it began")
            for held in self._held:
                if held.runs:
                    held.over.set()
            if for_good and self._runner:
                self._runner.send(do="leave")

    def run(self, message: object, on_taken: Callable[[], None] = lambda: None) -> None:
        """Have one attempt run, and wait for its end.

        `on_taken` is called when the message that brought it is needed no longer: the attempt is on the disk.
        Raises AttemptFailed if it failed, AttemptLeft if it is left to the next worker, FrameworkError for a
        foreign message.
        """
        held = self.begin(message)
        if held is None:
            return
        held.taken.wait()
        on_taken()
        held.over.wait()
        if held.outcome is None:
            raise AttemptLeft(str(held.id))
        if held.outcome.state != "done":
            raise AttemptFailed(held.outcome.reason)

    def begin(self, message: object) -> HeldAttempt | None:
        """Begin an attempt as soon as it has its devices; None if it has begun, or ended, before.

        Raises FrameworkError for a foreign message.
        """
        try:
            assignment = self._read(message)
        except FrameworkError as error:
            reason, beginning = str(error)[:LONGEST_REASON], ascii(message)[:LONGEST_REASON]
            self._publisher.publish_event(Refusal(self._source, reason, beginning))
            raise
        with self._lock:
            if self._held.get(assignment.id):
                log.info("task %s was received again while it is held: ignored", assignment.id)
                return None
            if self._has_ended_before(assignment):
                return None
            is_first = not self._held.in_phase(Phase.WAITING)
            held = HeldAttempt(assignment, hand_back_at=time.monotonic() + HAND_BACK_SECONDS)
            self._held.begin(held)
            if held.is_unwanted or self._is_leaving:
                self._end_unrun(held, "stopped before it began")
            elif is_first:  # else there are no devices even for those that came before
                self._start_waiting()
            return held

    def _read(self, message: object) -> Assignment:
        """The assignment in a message; raises FrameworkError if it is not valid, or not for this worker."""
        assignment = message if isinstance(message, Assignment) else Assignment.from_message(message)
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

    def _has_ended_before(self, assignment: Assignment) -> bool:
        """True for an attempt that was here before; a result of it is sent again."""
        files = self._files_of(assignment)
        if kept := _kept_result(files):
            # Its message was repeated, or the master has lost its journal.
            log.info("task %s has ended here before: its result is sent again", assignment.id)
            ours = {"infrastructure": self.identity.infrastructure}
            self._publisher.deliver_result(assignment.id, kept | ours, lambda: None)
            return True
        if files.directory.exists():
            held = HeldAttempt(assignment)
            self._held.begin(held)
            self._lose(held, "it was begun on this host before, and has no result")
            return True
        return False

    def _files_of(self, assignment: Assignment) -> AttemptFiles:
        return self._files.attempt(assignment.task, assignment.attempt)

    # Giving attempts to the runner.

    def tick(self) -> None:
        """Do what is due; to be called about once a second."""
        with self._lock:
            now = time.monotonic()
            if self._unkept and now >= self._retry_at:
                unkept, self._unkept = self._unkept, []
                for held in unkept:
                    self._keep(held)
            if self._runner_gone_at is not None and now - self._runner_gone_at > LOST_SECONDS:
                for held in self._held:
                    if held.awaits_outcome:
                        self._lose(held, "its runner ended")
                    elif held.phase is Phase.GIVEN:
                        self._take_back(held)
            self._start_waiting()
            self._review_waiting()

    def _review_waiting(self) -> None:
        """Hand back what waits and is not to run here, or has waited for too long."""
        now = time.monotonic()
        code = Code.current(self._code)
        for held in self._held.in_phase(Phase.WAITING):
            if held.is_unwanted or self._is_leaving:
                self._end_unrun(held, "stopped before it began")
            elif problem := self._mismatch(held.assignment, code):
                self._end_unrun(held, f"{problem}, which came while it waited: handed back")
            elif now >= held.hand_back_at:
                self._end_unrun(held, f"there was no room for it in {HAND_BACK_SECONDS:.0f} s: handed back")

    def _start_waiting(self) -> None:
        """Give the runner what waits, in its order, as far as there are devices."""
        waiting = self._held.in_phase(Phase.WAITING)
        if self._runner is None or not waiting:
            return
        now = time.monotonic()
        code = Code.current(self._code)
        if code.version != self._reviewed:
            self._reviewed = code.version
            self._review_waiting()
        for held in waiting:
            if held.phase is Phase.WAITING and now >= held.retry_at and not self._start(held, code):
                break  # all tasks of a project need the same

    def _start(self, held: HeldAttempt, code: Code) -> bool:
        """Give an attempt to the runner, with the code that is current; False if there are no devices."""
        assert self._runner is not None
        allocation = self._allocator.allocate(self._needs(code), 0.0)
        if allocation is None:
            return False
        held.code = code.version
        files = self._files_of(held.assignment)
        try:
            project = cached_project(code, self.identity.project)
            held.job = make_job(held.assignment, project, code, files, allocation, self._given)
        except ProjectError as error:
            self._allocator.release(allocation)
            self._end_unrun(held, str(error), state="failed")
            return True
        held.allocation, held.phase = allocation, Phase.GIVEN
        self._runner.send(do="run", jobs=[held.job.to_message()])
        return True

    def _take_back(self, held: HeldAttempt) -> None:
        """Have an attempt wait that the runner has not begun."""
        self._release_devices(held)
        held.phase, held.job = Phase.WAITING, None

    def _release_devices(self, held: HeldAttempt) -> None:
        if held.allocation is not None:
            self._allocator.release(held.allocation)
            held.allocation = None

    # Events of the runner.

    def on_connected(self, runner: Runner, hello: Mapping[str, Any]) -> None:
        """Begin to listen to a runner; it gets attempts once it has named those that it holds."""
        with self._lock:
            self._runner, self._connecting, self._named = None, runner, set()
            self._given = dict(hello.get("environment") or {})
            self._image = hello.get("image") or self.identity.image

    def on_disconnected(self) -> None:
        """Give the runner nothing more until it, or another one, has come."""
        with self._lock:
            self._runner = self._connecting = None
            self._runner_gone_at = time.monotonic()

    def on_event(self, event: Mapping[str, Any]) -> None:
        """Take what the runner reports."""
        with self._lock:
            if event["event"] == "synced":
                self._on_synced()
                return
            try:
                attempt = AttemptId.parse(event["attempt"])
            except (KeyError, MessageError):
                log.error("an event of the runner is ignored: %.200r", event)
                return
            held = self._held.get(attempt)
            if event["event"] == "held":
                self._on_held(attempt, held, event)
            elif held is None and event["event"] == "ended":
                self._on_held(attempt, None, {**event, "ended": event["execution"]})
            elif held is not None:
                self._on_event_of(held, event)

    def _on_event_of(self, held: HeldAttempt, event: Mapping[str, Any]) -> None:
        match event["event"]:
            case "taken":
                self._on_taken(held)
            case "started":
                self._on_started(held, event["when"])
            case "metrics":
                reports = tuple((number, value) for number, value in event["reports"])
                update = MetricsUpdate(self._source, held.id, event["metrics"], reports)
                self._publisher.publish_event(update)
            case "exited":
                held.phase = Phase.EXITED
                self._release_devices(held)
                self._start_waiting()
            case "ended":
                self._on_ended(held, event["execution"])
            case "refused":
                log.error("task %s cannot be started (%s): waiting for room", held.id, event["reason"])
                self._take_back(held)
                held.hand_back_at, held.retry_at = float("inf"), time.monotonic() + RETRY_SECONDS

    def _on_taken(self, held: HeldAttempt) -> None:
        if held.phase in (Phase.WAITING, Phase.GIVEN):
            held.phase = Phase.TAKEN
        held.taken.set()
        if self._is_leaving:
            held.over.set()

    def _on_started(self, held: HeldAttempt, when: float) -> None:
        if held.phase in (Phase.WAITING, Phase.GIVEN):
            held.phase = Phase.TAKEN
        held.started = when
        self._publisher.publish_event(Started(self._source, held.id, when))

    def _on_ended(self, held: HeldAttempt, execution: Mapping[str, Any]) -> None:
        has_devices = held.allocation is not None  # `exited` was said to an earlier worker
        held.phase = Phase.EXITED
        self._release_devices(held)
        held.outcome = self._result(held, execution)
        self._keep(held)
        if has_devices:
            self._start_waiting()

    def _on_held(self, attempt: AttemptId, held: HeldAttempt | None, event: Mapping[str, Any]) -> None:
        """Take up an attempt that the runner has from earlier."""
        self._named.add(attempt)
        ended = event["ended"]
        if held is None:
            try:
                held = self._adopt(event)
            except (KeyError, TypeError, MessageError) as error:
                log.error("attempt %s of the runner cannot be taken up: %r", attempt, error)
                return
            if self._syncs_results and self._files_of(held.assignment).result.exists():
                self._forget([attempt])  # this worker's predecessor died before it could say so
                return
            self._held.begin(held)
            if ended == "running":
                self._restore_devices(held, event)
        elif held.outcome is not None:
            return  # which waits for room
        elif ended == "running" and held.phase is Phase.WAITING:
            self._restore_devices(held, event)  # it was taken back too early
        if event["started"] is not None:
            self._on_started(held, event["started"])
        if ended == "lost":
            self._lose(held, "its runner ended")
        elif ended == "running":
            self._on_taken(held)
            if held.is_unwanted:
                self._send(do="stop", attempts=[str(attempt)])
        else:
            self._on_ended(held, ended)

    def _adopt(self, event: Mapping[str, Any]) -> HeldAttempt:
        context = event["context"]
        assignment = Assignment.from_message(context["assignment"])
        return HeldAttempt(assignment, Phase.TAKEN, started=event["started"], code=context["code"])

    def _restore_devices(self, held: HeldAttempt, event: Mapping[str, Any]) -> None:
        held.allocation = Allocation.from_message(event["context"]["allocation"])
        self._allocator.restore(held.allocation)

    def _on_synced(self) -> None:
        """Give the runner again what it has not got, and take for lost what it does not know any more."""
        for held in self._held:
            if held.id not in self._named:
                if held.phase is Phase.GIVEN:
                    self._take_back(held)
                elif held.awaits_outcome:
                    self._lose(held, "its runner ended, and does not know of it")
        self._runner, self._connecting = self._connecting, None
        self._runner_gone_at = None
        self._start_waiting()

    def _send(self, **message: Any) -> None:
        if runner := self._runner or self._connecting:
            runner.send(**message)

    def _forget(self, attempts: Collection[AttemptId]) -> None:
        """Let the runner forget attempts, whose results are kept."""
        with self._lock:
            self._send(do="forget", attempts=list(map(str, attempts)))

    @property
    def has_runner(self) -> bool:
        """True if there is a runner, and what it holds is known."""
        return self._runner is not None

    @property
    def is_idle(self) -> bool:
        """True if no attempt has begun that has not ended."""
        with self._lock:
            return not len(self._held)

    # Results on this host's disk.

    def _end_unrun(self, held: HeldAttempt, reason: str, state: str = "stopped") -> None:
        """End an attempt that the runner has not been given."""
        held.code = held.code or Code.current(self._code).version
        self._end_with(held, state, reason)

    def _lose(self, held: HeldAttempt, reason: str) -> None:
        """Tell the master at once that an attempt is lost."""
        self._release_devices(held)
        self._end_with(held, "lost", reason)

    def _end_with(self, held: HeldAttempt, state: str, reason: str) -> None:
        held.phase = Phase.EXITED
        none: dict[str, Any] = {"exit_code": None, "seconds": 0.0, "metrics": {}}
        held.outcome = self._result(held, none | {"state": state, "reason": reason})
        self._keep(held)

    def _result(self, held: HeldAttempt, execution: Mapping[str, Any]) -> AttemptResult:
        reason = execution["reason"][:LONGEST_REASON]
        if execution["state"] == "failed" and (shortage := self._disk_shortage()):
            reason = f"{reason[: LONGEST_REASON - len(shortage) - 2]}; {shortage}"
        return AttemptResult(
            task=held.assignment.task,
            attempt=held.assignment.attempt,
            host=self.identity.host,
            state=execution["state"],
            started=time.time() if held.started is None else held.started,
            seconds=execution["seconds"],
            exit_code=execution["exit_code"],
            reason=reason,
            metrics=execution["metrics"],
            code=held.code,
            image=self._image,
            infrastructure=self.identity.infrastructure,
            project=self.identity.project,
        )

    def _keep(self, held: HeldAttempt) -> None:
        """Spool first: from then on the result reaches the master, whatever happens to this process.

        The runner keeps it until then. A lost attempt has no result in its directory: it may come after all.
        """
        assert held.outcome is not None
        message, files = held.outcome.to_message(), self._files_of(held.assignment)
        try:
            self._publisher.deliver_result(held.id, message, lambda: self._forget([held.id]))
            if held.outcome.state != "lost":
                self._write_result(files, message)
        except OSError as error:
            log.error("the result of task %s cannot be kept (%s): waiting for room", held.id, error)
            self._unkept.append(held)
            self._retry_at = time.monotonic() + RETRY_SECONDS
            return
        self._held.end(held)
        held.taken.set()
        held.over.set()

    def _write_result(self, files: AttemptFiles, message: Message) -> None:
        """Write result.json; in a local run it is for people, and the log of the runner keeps the result."""
        if self._syncs_results:
            files.directory.mkdir(parents=True, exist_ok=True)  # missing if it could not be started
            write_atomically(files.result, json.dumps(message), fsync=True)
        else:
            with suppress(FileNotFoundError):  # it could not be started
                files.result.write_text(json.dumps(message))

    def finish_earlier_results(self) -> None:
        """Complete what a crash left between the spool and the attempt's own directory."""
        for spooled in self._files.spool.glob("*.json"):
            try:
                result = AttemptResult.from_message(json.loads(spooled.read_text()))
                files = self._files.attempt(result.task, result.attempt)
                if not files.result.exists() and result.state != "lost":
                    files.directory.mkdir(parents=True, exist_ok=True)
                    write_atomically(files.result, spooled.read_text(), fsync=True)
            except (FrameworkError, ValueError, OSError) as error:
                log.error("%s cannot be copied into the directory of its attempt: %s", spooled, error)


def _kept_result(files: AttemptFiles) -> dict[str, Any] | None:
    """The result in the directory of an attempt; None if there is none, or the host's power has torn it."""
    if not files.result.exists():
        return None
    try:
        return AttemptResult.from_message(json.loads(files.result.read_text())).to_message()
    except (MessageError, ValueError) as error:
        log.error("%s is not a result (%s)", files.result, error)
        return None


@lru_cache(maxsize=4)
def cached_project(code: Code, name: str) -> Project:
    """The project of one code version; its path carries the version, so it never changes."""
    return load_code(code, name)
