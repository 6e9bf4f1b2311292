"""Transport of messages between master and worker in one process."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, Queue, SimpleQueue
from typing import Any

from framework.messages import queues
from framework.messages.assignment import Assignment
from framework.messages.task_ids import AttemptId
from framework.messages.worker_events import HEARTBEAT_SECONDS, MAX_PENDING_EVENTS, Message, WorkerEvent
from framework.runner.attempt import GRACE_SECONDS
from framework.worker.worker import AttemptFailed, Worker

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LocalMessage:
    """A message of the worker, as the master would receive it from a queue of the broker."""

    queue: str
    body: str
    headers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def delivery_info(self) -> Mapping[str, Any]:
        return {"routing_key": self.queue}

    def ack(self) -> None:
        """Do nothing: no message is delivered twice."""


class LocalPublisher:
    """Publisher of the worker's threads; a result wakes the master, events wait for its next turn."""

    def __init__(self) -> None:
        self._results: SimpleQueue[LocalMessage | None] = SimpleQueue()
        self._events: deque[LocalMessage] = deque(maxlen=MAX_PENDING_EVENTS)

    def publish_event(self, event: WorkerEvent) -> None:
        self._events.append(LocalMessage(queues.EVENTS, json.dumps(event.to_message())))

    def deliver_result(self, _: AttemptId, result: Message) -> None:
        # The worker writes it to disk, too: what is missing in the journal is read from there.
        self._results.put(LocalMessage(queues.RESULTS, json.dumps(result)))

    def wake(self) -> None:
        """Wake the master; may be called by a signal, whatever the main thread is doing."""
        self._results.put(None)

    def take(self, timeout: float) -> list[LocalMessage]:
        """All messages; waits at most `timeout` seconds for a first result.

        Events come first: what a task reported counts before its end.
        """
        taken: list[LocalMessage | None] = []
        events: list[LocalMessage] = []
        with suppress(Empty):
            taken.append(self._results.get(timeout=timeout))
            while True:
                taken.append(self._results.get_nowait())
        while self._events:
            events.append(self._events.popleft())
        return events + [message for message in taken if message]


class LocalTransport:
    """Messenger of the master; one thread for each slot has the worker run what the master sends."""

    def __init__(self, worker: Worker, publisher: LocalPublisher) -> None:
        self.stopping = False
        self._worker = worker
        self._publisher = publisher
        self._next_heartbeat = 0.0
        self._assignments: Queue[Assignment | None] = Queue()
        self._threads = [
            threading.Thread(target=self._work, name=f"slot {number}", daemon=True)
            for number in range(worker.concurrency)
        ]
        for thread in self._threads:
            thread.start()

    def receive(self, timeout: float) -> list[Any]:
        due = time.monotonic() >= self._next_heartbeat
        messages = self._publisher.take(0.0 if due else timeout)
        if due:
            self._next_heartbeat = time.monotonic() + HEARTBEAT_SECONDS
            messages.append(LocalMessage(queues.EVENTS, json.dumps(self._worker.heartbeat().to_message())))
        return messages

    def send(self, _: str, assignment: Assignment) -> None:
        self._worker.reserve(assignment.id)
        self._assignments.put(assignment)

    def stop(self, _: str, attempts: Sequence[AttemptId]) -> None:
        self._worker.stop_attempts(attempts)

    def waiting_for(self, _: str) -> int:
        return self._assignments.qsize()

    def purge(self, _: str) -> int:
        return 0  # called for a host that the journal knows from a run elsewhere: it has no queue here

    def close(self) -> None:
        """Stop all attempts, and wait for their end."""
        self.stop_all()
        for _ in self._threads:
            self._assignments.put(None)
        deadline = time.monotonic() + 2 * GRACE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def stop_all(self) -> None:
        """Stop all attempts, begin no other, and send a heartbeat in the master's next turn."""
        self.stopping = True
        self._worker.stop()
        self._next_heartbeat = 0.0

    def is_idle(self) -> bool:
        """True if everything that was sent has been run."""
        return self._assignments.unfinished_tasks == 0

    def _work(self) -> None:
        while (assignment := self._assignments.get()) is not None:
            try:
                self._worker.run(assignment.to_message())
            except AttemptFailed:
                pass  # the master has its result, and reports it
            except Exception:
                log.exception("the result of task %s could not be kept", assignment.id)
            finally:
                self._worker.release(assignment.id)
                self._assignments.task_done()
