"""Worker: has its runner run each assigned attempt once, and reports to the master."""

from __future__ import annotations

import logging
import os
import threading
import uuid
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from framework.errors import FrameworkError, MessageError
from framework.files import WorkerFiles
from framework.messages.assignment import Assignment
from framework.messages.checks import LONGEST_REASON, is_optional_text
from framework.messages.identity import Identity
from framework.messages.output_tail import OutputTail
from framework.messages.task_ids import AttemptId
from framework.messages.worker_events import Heartbeat, MetricsUpdate, Refusal, Source, Started
from framework.project.resources import Resources
from framework.worker.allocator import Allocator
from framework.worker.attempt_output import read_tail
from framework.worker.current_project import CurrentProject
from framework.worker.devices import Devices
from framework.worker.held_attempts import HeldAttempt, HeldAttempts, Phase
from framework.worker.ports import Ports
from framework.worker.results import Publisher, Results
from framework.worker.runner_events import checked_event
from framework.worker.runner_state import Runner, RunnerState
from framework.worker.setup import Setup
from framework.worker.waiting_attempts import WaitingAttempts

log = logging.getLogger(__name__)

LOCAL = "local"  # the infrastructure of a local run


class AttemptFailed(Exception):
    """Shows a failed attempt as failed in Celery and Flower; the master has the result already."""


class AttemptLeft(Exception):
    """The worker ends; the attempt runs on, and the next worker reports its result."""


class Worker:
    """The attempts that this host holds. All methods may be called from any thread.

    `slots`: how many may run at a time; None: as many as the host has CPUs. The resources that the project
    asks for may allow fewer or, as far as they are CPUs, more. `free_disk`: bytes that have to be free on the
    disk for tasks to run; None: what the project says. `memory`: bytes that tasks may use; None: what this
    process may. `writes_results`: the directories of attempts get results too; see Results.
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
        writes_results: bool = True,
    ) -> None:
        self.identity = identity
        self._publisher = publisher
        self._source = Source(identity.infrastructure, identity.project, identity.host)
        self._files = files
        self._incarnation = uuid.uuid4().hex
        self._project = CurrentProject(identity, code, files.path, free_disk)
        is_local = identity.infrastructure == LOCAL
        container = "" if is_local else f"{identity.infrastructure}-runner"
        self._runner = RunnerState(identity.image, container, dict(os.environ) if is_local else {})
        devices = Devices(files.devices, memory, lambda: self._runner.environment)
        self._allocator = Allocator(devices, slots, Ports(tried=is_local))
        kinds = (Resources(), self._project.needs())
        self.concurrency = max(self._allocator.room(needs).most for needs in kinds)
        self._lock = threading.RLock()
        self._held = HeldAttempts()
        self._setup = Setup(files, self._runner)
        self._waiting = WaitingAttempts(
            self._held, self._project, self._allocator, self._runner, self._setup, files, self._end_unrun
        )
        shortage = self._project.disk_shortage
        self._results = Results(identity, files, publisher, writes_results, shortage, self._forget)

    # Reports to the master.

    def heartbeat(self) -> Heartbeat:
        """The attempts that this worker holds; no slots if it is to be sent nothing more."""
        with self._lock:
            room = self._allocator.room(self._project.needs())
            running, reserved = self._held.running_and_reserved()
            no_runner = self._runner.trouble or self._mismatch()
            shortage = self._project.disk_shortage()
            full = f"{shortage}: it gets no tasks until there is room" if shortage else ""
            setup = self._setup.notice(self._project.code())
            is_ready = not (
                self._project.has_newer_framework or full or no_runner or setup or self._waiting.is_closed
            )
            lacks = room.lacks or self.setup_failure
            notices = [no_runner, full, setup, room.trouble]
            return Heartbeat(
                self._source,
                incarnation=self._incarnation,
                slots=min(room.now, self.concurrency) if is_ready and not self.setup_failure else 0,
                running=running,
                reserved=reserved,
                notice=(lacks or "; ".join(filter(None, notices)))[:LONGEST_REASON],
                unfit=bool(lacks),
                use=self._allocator.use(self._project.needs()),
            )

    @property
    def setup_failure(self) -> str:
        """The reason why the setup for the current code has failed here; empty if it has not."""
        return self._setup.failure(self._project.code())

    def _mismatch(self) -> str:
        code = self._project.code()
        return self._runner.mismatch(code.image, self._project.mounts(code))

    def restart_reason(self) -> str:
        """The reason why this process has to be replaced by another one; empty if there is none."""
        if self._project.has_newer_framework:
            return "new framework files"
        with self._lock:
            if any(self._held.running_and_reserved()):
                return ""
            has_too_few_slots = self._allocator.room(self._project.needs()).most > self.concurrency
            return "more slots than this process can have" if has_too_few_slots else ""

    def lacks(self) -> str:
        """The reason why this host can never run a task of the current project; empty if it can."""
        return self._allocator.room(self._project.needs()).lacks

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
            if given and self._runner.is_there:
                self._runner.send(do="stop", attempts=given)
            self._waiting.review()

    def hand_back(self, attempts: Collection[AttemptId]) -> None:
        """Hand back those that no runner can have begun; the others go on."""
        with self._lock:
            self._held.hand_back(attempts)
            self._waiting.review()

    def stop(self) -> None:
        """Stop every attempt, and begin no other."""
        with self._lock:
            self._waiting.close()
            self._setup.stop()
            self.stop_attempts([held.id for held in self._held])

    def leave(self, for_good: bool) -> None:
        """Begin no other attempt, and wait for none: what runs goes on, and the next worker reports it.

        What waits goes back to the master. `for_good`: if there is no next worker soon, the runner stops what
        runs.
        """
        with self._lock:
            self._waiting.close()
            for held in self._held:
                if held.runs:
                    held.over.set()
            if for_good:
                self._runner.leave()

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
            assignment = self._project.read(message)
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
            return self._waiting.add(assignment)

    def _has_ended_before(self, assignment: Assignment) -> bool:
        """True for an attempt that was here before; a result of it is sent again."""
        if self._results.deliver_again(assignment):
            # Its message was repeated, or the master has lost its journal.
            log.info("task %s has ended here before: its result is sent again", assignment.id)
            return True
        if self._files.attempt(assignment.task, assignment.attempt).directory.exists():
            held = HeldAttempt(assignment)
            self._held.begin(held)
            self._lose(held, "it was begun on this host before, and has no result")
            return True
        return False

    def tick(self) -> None:
        """Do what is due; to be called about once a second."""
        with self._lock:
            for held in self._results.take_due():
                self._keep(held)
            if self._runner.is_lost:
                for held in self._held:
                    if held.awaits_outcome:
                        self._lose(held, "its runner ended")
                    elif held.phase is Phase.GIVEN:
                        self._waiting.take_back(held)
                self._waiting.hand_back("its runner does not answer: handed back")
            self._waiting.start()
            self._waiting.review()

    # Events of the runner.

    def on_connected(self, runner: Runner, hello: Mapping[str, Any]) -> None:
        """Begin to listen to a runner; it gets attempts once it has named those that it holds."""
        with self._lock:
            self._runner.connect(runner, hello)
            self._setup.connect()

    def on_disconnected(self) -> None:
        """Give the runner nothing more until it, or another one, has come."""
        with self._lock:
            self._runner.disconnect()

    def on_refused(self) -> None:
        """Say that no runner comes but one with another key than this worker's."""
        with self._lock:
            self._runner.is_refused = True

    def on_event(self, event: Mapping[str, Any]) -> None:
        """Take what the runner reports; what it cannot report is ignored."""
        with self._lock:
            try:
                self._take(checked_event(event))
            except MessageError as error:
                log.error("an event of the runner is ignored: %s", error)

    def _take(self, event: Mapping[str, Any]) -> None:
        """Take an event that was checked. Raises MessageError if it is about no attempt."""
        if event["event"] == "synced":
            self._setup.sync()
            self._on_synced()
            return
        if self._setup.takes(event):
            self._waiting.start()
            return
        attempt = AttemptId.parse(event.get("attempt"))
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
                self._waiting.release_devices(held)
                self._waiting.start()
            case "ended":
                self._on_ended(held, event["execution"])
            case "refused":
                log.error("task %s cannot be started (%s): waiting for room", held.id, event["reason"])
                self._waiting.retry_later(held)

    def _on_taken(self, held: HeldAttempt) -> None:
        if held.phase in (Phase.WAITING, Phase.GIVEN):
            held.phase = Phase.TAKEN
        held.taken.set()
        if self._waiting.is_closed:
            held.over.set()

    def _on_started(self, held: HeldAttempt, when: float) -> None:
        if held.phase in (Phase.WAITING, Phase.GIVEN):
            held.phase = Phase.TAKEN
        held.started = when
        self._publisher.publish_event(Started(self._source, held.id, when))

    def _on_ended(self, held: HeldAttempt, execution: Mapping[str, Any]) -> None:
        has_devices = held.allocation is not None  # `exited` was said to an earlier worker
        held.phase = Phase.EXITED
        self._waiting.release_devices(held)
        held.outcome = self._results.make(held, execution, self._runner.image)
        self._keep(held)
        if has_devices:
            self._waiting.start()

    def _on_held(self, attempt: AttemptId, held: HeldAttempt | None, event: Mapping[str, Any]) -> None:
        """Take up an attempt that the runner has from earlier."""
        self._runner.name(attempt)
        ended = event["ended"]
        if held is None:
            held = self._adopt(attempt, event)
            if ended != "running" and self._results.has_kept(held.assignment):
                self._forget(attempt)  # this worker's predecessor died before it could say so
                return
            if ended == "running":
                self._waiting.restore_devices(held, event["context"])
            self._held.begin(held)
        elif held.outcome is not None:
            return  # which waits for room
        elif ended == "running" and held.phase is Phase.WAITING:
            self._waiting.restore_devices(held, event.get("context"))  # it was taken back too early
        if event.get("started") is not None:
            self._on_started(held, event["started"])
        if ended == "lost":
            self._lose(held, "its runner ended")
        elif ended == "running":
            self._on_taken(held)
            if held.is_unwanted:
                self._runner.send(do="stop", attempts=[str(attempt)])
        else:
            self._on_ended(held, ended)

    def _adopt(self, attempt: AttemptId, event: Mapping[str, Any]) -> HeldAttempt:
        """An attempt of an earlier worker. Raises MessageError if the runner has not kept its context."""
        context = event.get("context")
        if not isinstance(context, dict) or not is_optional_text(context.get("code")):
            raise MessageError(f"attempt {attempt} with an impossible context: {context!r:.200}")
        assignment = Assignment.from_message(context.get("assignment"))
        if assignment.id != attempt:
            raise MessageError(f"attempt {attempt} with the context of {assignment.id}")
        return HeldAttempt(assignment, Phase.TAKEN, started=event.get("started"), code=context["code"])

    def _on_synced(self) -> None:
        """Give the runner again what it has not got, and take for lost what it does not know any more."""
        for held in self._held:
            if not self._runner.has_named(held.id):
                if held.phase is Phase.GIVEN:
                    self._waiting.take_back(held)
                elif held.awaits_outcome:
                    self._lose(held, "its runner ended, and does not know of it")
        self._runner.sync()
        self._waiting.start()

    def _forget(self, attempt: AttemptId) -> None:
        """Let the runner forget an attempt, whose result is kept."""
        with self._lock:
            self._runner.send(do="forget", attempts=[str(attempt)])

    @property
    def has_runner(self) -> bool:
        """True if there is a runner, and what it holds is known."""
        return self._runner.is_there

    def read_output(self, attempt: AttemptId) -> OutputTail:
        """The tail of the output of an attempt that runs here or has run here. Raises OSError."""
        return read_tail(self._files.tasks, attempt)

    @property
    def is_idle(self) -> bool:
        """True if no attempt has begun that has not ended."""
        with self._lock:
            return not len(self._held)

    # Results.

    def _end_unrun(self, held: HeldAttempt, reason: str, state: str) -> None:
        """End an attempt that the runner has not been given."""
        held.code = held.code or self._project.code().version
        self._end_with(held, state, reason)

    def _lose(self, held: HeldAttempt, reason: str) -> None:
        """Tell the master at once that an attempt is lost."""
        self._waiting.release_devices(held)
        self._end_with(held, "lost", reason)

    def _end_with(self, held: HeldAttempt, state: str, reason: str) -> None:
        held.phase = Phase.EXITED
        none: dict[str, Any] = {"exit_code": None, "seconds": 0.0, "metrics": {}}
        outcome = none | {"state": state, "reason": reason}
        held.outcome = self._results.make(held, outcome, self._runner.image)
        self._keep(held)

    def _keep(self, held: HeldAttempt) -> None:
        if self._results.keep(held):
            self._held.end(held)
            held.taken.set()
            held.over.set()
