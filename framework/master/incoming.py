"""Messages of workers: checked, then applied to the sweep or quarantined."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

from framework.errors import FrameworkError, JournalError, MessageError
from framework.master.quarantine import Quarantine
from framework.messages import queues
from framework.messages.assignment import AttemptResult
from framework.messages.identity import Identity, worker_user
from framework.messages.task_ids import AttemptId
from framework.messages.worker_events import (
    Heartbeat,
    MetricsUpdate,
    Refusal,
    Started,
    WorkerEvent,
    parse_event,
)
from framework.scheduler.sweep_state import Sweep

log = logging.getLogger(__name__)

Content: TypeAlias = AttemptResult | WorkerEvent


class Incoming:
    """Takes the messages of the workers that run a sweep."""

    def __init__(self, identity: Identity, sweep: Sweep, quarantine: Quarantine) -> None:
        self._identity = identity
        self._sweep = sweep
        self._quarantine = quarantine

    def take(self, messages: Sequence[Any]) -> None:
        """Apply messages to the sweep in their order, and quarantine those that are not exactly valid.

        Nothing in them is fatal. Raises JournalError.
        """
        read: list[tuple[Any, Content]] = []
        for message in messages:
            with self._quarantining(message):
                read.append((message, self._content(message)))
        ended = {(content.id, content.host) for _, content in read if isinstance(content, AttemptResult)}
        done: list[tuple[Any, AttemptResult]] = []  # in a row
        for message, content in read:
            if isinstance(content, AttemptResult) and content.state == "done":
                done.append((message, content))
            elif isinstance(content, Started) and (content.attempt, content.source.host) in ended:
                continue  # its end says when it began, too
            else:
                self._take_done(done)
                done = []
                with self._quarantining(message):
                    self._apply(content)
        self._take_done(done)

    def _take_done(self, done: Sequence[tuple[Any, AttemptResult]]) -> None:
        """Apply results that are done: those that end what is under way at once, then each other one."""
        results = [result for _, result in done]
        left = set(map(id, self._sweep.finish_done(results, time.monotonic()))) if done else set()
        for message, result in done:
            if id(result) in left:
                with self._quarantining(message):
                    self._apply(result)

    @contextmanager
    def _quarantining(self, message: Any) -> Iterator[None]:
        """Quarantine the message if the block raises anything but JournalError."""
        try:
            yield
        except JournalError:
            raise
        except Exception as error:
            if not isinstance(error, FrameworkError | ValueError | RecursionError):
                log.exception("unexpected message")
            queue = str(message.delivery_info.get("routing_key", ""))
            self._quarantine.add(queue, message.body, str(error))

    def _content(self, message: Any) -> Content:
        """What a message says. Raises FrameworkError or ValueError if it is not valid."""
        queue = str(message.delivery_info.get("routing_key", ""))
        headers = getattr(message, "headers", None) or {}
        if queues.MALFORMED in headers:
            raise MessageError(str(headers[queues.MALFORMED]))
        if queue == queues.DEAD:
            queue = str(headers.get("x-first-death-queue", ""))
            if queue != queues.RESULTS:
                raise MessageError(f"a dead letter of the queue {queue}")
        fields = self._read(message.body, queue)
        content = AttemptResult.from_message(fields) if queue == queues.RESULTS else parse_event(fields)
        self._check_sender(message, _host(content))
        return content

    def _check_sender(self, message: Any, host: str) -> None:
        """Raises MessageError unless the message came with the credentials of the host that it names."""
        if not self._identity.broker:
            return  # in this process
        user = message.properties.get("user_id")  # the broker has compared it with the login
        if user != worker_user(host):
            raise MessageError(f"a message of {host}, sent with the credentials of {user!r:.300}")

    def _apply(self, content: Content) -> None:
        if isinstance(content, AttemptResult):
            self._take_result(content)
        else:
            self._take_event(content)

    def _read(self, body: Any, queue: str) -> object:
        if len(body) > queues.LONGEST_MESSAGE:
            raise MessageError(f"a message of {len(body)} bytes")
        content = json.loads(body if isinstance(body, str) else bytes(body))
        if not isinstance(content, dict):
            raise MessageError("a message that is no object")
        ours = {"infrastructure": self._identity.infrastructure}
        if queue == queues.RESULTS:
            ours["project"] = self._sweep.project.name
        for field, expected in ours.items():
            if content.get(field) != expected:
                raise MessageError(f"a message of another {field}: {content.get(field)!r:.100}")
        return content

    def _take_event(self, event: WorkerEvent) -> None:
        if event.source.project != self._sweep.project.name:
            return  # the last events of workers that ran another project before
        match event:
            case Heartbeat():
                self._sweep.take_heartbeat(event, time.monotonic())
            case Started():
                self._check_attempt(event.attempt, event.source.host)
                self._sweep.start(event)
            case MetricsUpdate():
                self._check_attempt(event.attempt, event.source.host)
                self._sweep.update_metrics(event)
            case Refusal():
                host = event.source.host
                reason = f"refused by the worker on {host}: {event.reason}"
                self._quarantine.add(queues.tasks_of(host), event.message, reason)

    def _take_result(self, result: AttemptResult) -> None:
        if not self._sweep.knows(result.task):
            raise FrameworkError(f"a result of task {result.task}, which this journal does not know")
        self._check_attempt(result.id, result.host)
        self._sweep.finish(result, time.monotonic())

    def _check_attempt(self, attempt: AttemptId, host: str) -> None:
        """Raises FrameworkError unless the attempt was sent to the host; it may have been lost since."""
        if not self._sweep.was_sent(attempt, host):
            raise FrameworkError(f"about attempt {attempt}, which was not sent to {host}")


def _host(content: Content) -> str:
    """The host that a message says it comes from."""
    return content.host if isinstance(content, AttemptResult) else content.source.host
