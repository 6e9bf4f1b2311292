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
from framework.runner.attempt import GRACE_SECONDS
from framework.worker.worker import AttemptFailed, Worker

log = logging.getLogger(__name__)

BEAT_SECONDS = 3.0
MAX_NEWS = 10_000


@dataclass(frozen=True)
class Message:
    """What a worker tells, as it would come from a queue of the broker."""

    queue: str
    body: str
    headers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def delivery_info(self) -> Mapping[str, Any]:
        return {"routing_key": self.queue}

    def ack(self) -> None:
        """Nothing would bring it again."""


class LocalOutbox:
    """What the worker's threads tell the master; a result wakes it, news wait for its next turn."""

    def __init__(self) -> None:
        self._results: SimpleQueue[Message | None] = SimpleQueue()
        self._news: deque[Message] = deque(maxlen=MAX_NEWS)

    def tell(self, news: Mapping[str, Any]) -> None:
        self._news.append(Message(queues.REPORTS, json.dumps(news)))

    def deliver(self, _: str, result: Mapping[str, Any]) -> None:
        # on disk it is soon enough in the attempt's directory: without its record there it is looked for
        self._results.put(Message(queues.RESULTS, json.dumps(result)))

    def wake(self) -> None:
        """May be called by a signal, whatever the main thread is doing."""
        self._results.put(None)

    def take(self, timeout: float) -> list[Message]:
        """All there is; waits at most `timeout` seconds for a first result."""
        taken: list[Message | None] = []
        with suppress(Empty):
            taken.append(self._results.get(timeout=timeout))
            while True:
                taken.append(self._results.get_nowait())
        while self._news:
            taken.append(self._news.popleft())
        return [message for message in taken if message]


class Desk:
    """The master's messenger: threads take what it sends, one for each slot, and have the worker run it."""

    def __init__(self, worker: Worker, outbox: LocalOutbox) -> None:
        self.stopping = False
        self._worker = worker
        self._outbox = outbox
        self._next_beat = 0.0
        self._tasks: Queue[Assignment | None] = Queue()
        self._threads = [
            threading.Thread(target=self._work, name=f"slot {number}", daemon=True)
            for number in range(worker.concurrency)
        ]
        for thread in self._threads:
            thread.start()

    def receive(self, timeout: float) -> list[Any]:
        due = time.monotonic() >= self._next_beat
        messages = self._outbox.take(0.0 if due else timeout)
        if due:
            self._next_beat = time.monotonic() + BEAT_SECONDS
            messages.append(Message(queues.REPORTS, json.dumps(self._worker.beat())))
        return messages

    def send(self, _: str, assignment: Assignment) -> None:
        self._worker.reserve(f"{assignment.task}.{assignment.attempt}")
        self._tasks.put(assignment)

    def stop(self, _: str, attempts: Sequence[str]) -> None:
        self._worker.stop_attempts(attempts)

    def waiting_for(self, _: str) -> int:
        return self._tasks.qsize()

    def purge(self, _: str) -> int:
        return 0  # of the queue of a host that the journal knows from elsewhere

    def close(self) -> None:
        """End what runs, and wait for it."""
        self.stop_all()
        for _ in self._threads:
            self._tasks.put(None)
        deadline = time.monotonic() + 2 * GRACE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def stop_all(self) -> None:
        """End what runs, begin nothing more, and have the master hear of it in its next turn."""
        self.stopping = True
        self._worker.stop()
        self._next_beat = 0.0

    def is_idle(self) -> bool:
        """Has all that was sent been run?"""
        return self._tasks.unfinished_tasks == 0

    def _work(self) -> None:
        while (assignment := self._tasks.get()) is not None:
            try:
                self._worker.run(assignment.to_message())
            except AttemptFailed:
                pass  # the master has its result, and says so
            except Exception:
                log.exception("task %s: its result could not be kept", assignment.task)
            finally:
                self._worker.release(f"{assignment.task}.{assignment.attempt}")
                self._tasks.task_done()
