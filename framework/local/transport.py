"""Transport of messages between master, worker and runner of a local run."""

from __future__ import annotations

import json
import logging
import select
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from framework.local.runner_process import RunnerProcess
from framework.messages import queues
from framework.messages.assignment import Assignment
from framework.messages.task_ids import AttemptId
from framework.messages.worker_events import HEARTBEAT_SECONDS, MAX_PENDING_EVENTS, Message, WorkerEvent
from framework.runner.attempt import GRACE_SECONDS
from framework.worker.worker import Worker

log = logging.getLogger(__name__)

TICK_SECONDS = 1.0
KEY = ""  # all is one user's here: the seals of the log only tell torn lines
_PAUSE_SECONDS = 0.1  # longest wait for the runner: a signal may have come


@dataclass(frozen=True)
class LocalMessage:
    """A message of the worker, as the master would receive it from a queue of the broker."""

    queue: str
    body: str
    on_ack: Callable[[], None] = lambda: None
    headers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def delivery_info(self) -> Mapping[str, Any]:
        return {"routing_key": self.queue}

    def ack(self) -> None:
        """Note that the journal has what the message says."""
        self.on_ack()


class LocalPublisher:
    """Publisher of the worker: the master takes what it holds in its next turn."""

    def __init__(self) -> None:
        self._results: list[LocalMessage] = []
        self._events: deque[LocalMessage] = deque(maxlen=MAX_PENDING_EVENTS)

    def publish_event(self, event: WorkerEvent) -> None:
        self._events.append(LocalMessage(queues.EVENTS, json.dumps(event.to_message())))

    def deliver_result(self, _: AttemptId, result: Message, on_kept: Callable[[], None]) -> None:
        # Until the journal has it, the log of the runner does.
        self._results.append(LocalMessage(queues.RESULTS, json.dumps(result), on_kept))

    @property
    def has_results(self) -> bool:
        return bool(self._results)

    def take(self) -> list[LocalMessage]:
        """All messages; events come first: what a task reported counts before its end."""
        taken = [*self._events, *self._results]
        self._events.clear()
        self._results.clear()
        return taken


class LocalTransport:
    """Messenger of the master: hands what it sends to the worker, and the runner's events as well."""

    def __init__(self, worker: Worker, publisher: LocalPublisher, runner: RunnerProcess) -> None:
        self.stopping = False
        self._worker = worker
        self._publisher = publisher
        self._runner = runner
        self._next_heartbeat = 0.0
        self._next_tick = 0.0

    def connect(self) -> None:
        """Wait until the runner has named what it holds of an earlier run. Raises FrameworkError."""
        self._start_runner()
        while not self._worker.has_runner:
            self._take_events(GRACE_SECONDS)

    def receive(self, timeout: float) -> list[Any]:
        deadline = time.monotonic() + timeout
        while True:
            now = time.monotonic()
            if now >= self._next_tick:
                self._worker.tick()
                self._next_tick = now + TICK_SECONDS
            is_due = now >= self._next_heartbeat
            has_news = is_due or self._publisher.has_results
            self._take_events(0.0 if has_news else min(_PAUSE_SECONDS, max(0.0, deadline - now)))
            if has_news or self._publisher.has_results or time.monotonic() >= deadline:
                break
        messages = self._publisher.take()
        if is_due:
            self._next_heartbeat = now + HEARTBEAT_SECONDS
            messages.append(LocalMessage(queues.EVENTS, json.dumps(self._worker.heartbeat().to_message())))
        return messages

    def pause(self, seconds: float) -> None:
        """Let results come together; the runner gets new tasks meanwhile."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._take_events(left)

    def send(self, _: str, assignment: Assignment) -> None:
        self._worker.begin(assignment)

    def stop(self, _: str, attempts: Sequence[AttemptId]) -> None:
        self._worker.stop_attempts(attempts)

    def hand_back(self, _: str, attempts: Sequence[AttemptId]) -> None:
        self._worker.hand_back(attempts)

    def waiting_for(self, _: str) -> int:
        return 0  # the worker has all that was sent

    def purge(self, _: str) -> int:
        return 0  # called for a host that the journal knows from a run elsewhere: it has no queue here

    def close(self) -> None:
        """Stop all attempts, and wait for their end and that of the runner."""
        self.stop_all()
        deadline = time.monotonic() + 2 * GRACE_SECONDS
        while self._worker.has_runner and not self._worker.is_idle and time.monotonic() < deadline:
            self._hear(_PAUSE_SECONDS)
        self._runner.close()

    def stop_all(self) -> None:
        """Stop all attempts, begin no other, and send a heartbeat in the master's next turn."""
        self.stopping = True
        self._worker.stop()
        self._next_heartbeat = 0.0

    @property
    def setup_failure(self) -> str:
        """The reason why the setup has failed; empty if it has not."""
        return self._worker.setup_failure

    def is_idle(self) -> bool:
        """True if everything that was sent has been run, and its results were taken."""
        return self._worker.is_idle and not self._publisher.has_results

    def _take_events(self, seconds: float) -> None:
        """Hand the runner's events to the worker, and replace a runner that was killed."""
        if not self._hear(seconds):
            log.warning("the runner of this run was killed; another one is started")
            self._start_runner()

    def _hear(self, seconds: float) -> bool:
        """Hand events to the worker, once some have come or after some time; False if the runner is gone."""
        connection = self._runner.connection
        readable, _, _ = select.select([connection], [], [], seconds)
        events = connection.receive() if readable else []
        if events is None:
            self._worker.on_disconnected()
            return False
        for event in events:
            self._worker.on_event(event)
        return True

    def _start_runner(self) -> None:
        hello = self._runner.start()
        self._worker.on_connected(self._runner.connection, hello)
        self._runner.connection.send(do="welcome", key=KEY)
