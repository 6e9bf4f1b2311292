"""Messages of workers: checked, then applied to the sweep or quarantined."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

from framework.errors import FrameworkError, JournalError, MessageError
from framework.master.quarantine import Quarantine
from framework.messages import queues
from framework.messages.assignment import AttemptResult
from framework.messages.identity import Identity
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


class Incoming:
    """Takes the messages of the workers that run a sweep."""

    def __init__(self, identity: Identity, sweep: Sweep, quarantine: Quarantine) -> None:
        self._identity = identity
        self._sweep = sweep
        self._quarantine = quarantine

    def take(self, message: Any) -> None:
        """Apply a message to the sweep, or quarantine it if it is not exactly valid.

        Nothing in it is fatal. Raises JournalError.
        """
        queue = str(message.delivery_info.get("routing_key", ""))
        dead = queue == queues.DEAD
        headers = getattr(message, "headers", None) or {}
        try:
            if queues.MALFORMED in headers:
                raise MessageError(str(headers[queues.MALFORMED]))
            if dead:
                queue = str(headers.get("x-first-death-queue", ""))
            if dead and queue != queues.RESULTS:
                raise MessageError(f"a dead letter of the queue {queue}")
            content = self._read(message.body, queue)
            if queue == queues.RESULTS:
                self._take_result(AttemptResult.from_message(content))
            else:
                self._take_event(parse_event(content))
        except JournalError:
            raise
        except Exception as error:
            if not isinstance(error, FrameworkError | ValueError | RecursionError):
                log.exception("unexpected message")
            self._quarantine.add(queues.DEAD if dead else queue, message.body, str(error))

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
                self._sweep.start(event)
            case MetricsUpdate():
                self._sweep.update_metrics(event)
            case Refusal():
                host = event.source.host
                reason = f"refused by the worker on {host}: {event.reason}"
                self._quarantine.add(queues.tasks_of(host), event.message, reason)

    def _take_result(self, result: AttemptResult) -> None:
        if not self._sweep.knows(result.task):
            raise FrameworkError(f"a result of task {result.task}, which this journal does not know")
        self._sweep.finish(result, time.monotonic())
