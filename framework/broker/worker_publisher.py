"""Publisher of a worker: results until the broker has confirmed them, and events.

A result is on this host's disk before it is sent to the broker, and leaves the disk when the broker has
confirmed it: a worker that cannot reach the broker keeps its results, and sends them when it can.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import kombu

from framework.broker.celery_app import BROKER_ERRORS, FROM_WORKERS, connect, publish
from framework.files import make_directory, read_regular, write_atomically
from framework.messages import queues
from framework.messages.identity import Identity
from framework.messages.task_ids import AttemptId
from framework.messages.worker_events import (
    HEARTBEAT_SECONDS,
    MAX_PENDING_EVENTS,
    Heartbeat,
    Message,
    WorkerEvent,
)

log = logging.getLogger(__name__)

LONGEST_PAUSE_SECONDS = 10.0  # well below a lease: a broker that is back is told in time what runs


class BrokerPublisher(threading.Thread):
    """The one thread, and the one connection, through which a worker sends."""

    def __init__(self, identity: Identity, spool: Path) -> None:
        super().__init__(name="publisher", daemon=True)
        self._identity = identity
        self._spool = spool
        self._events: deque[Message] = deque(maxlen=MAX_PENDING_EVENTS)
        self._wake = threading.Event()
        self._closing = threading.Event()
        self.connected = threading.Event()
        make_directory(spool)

    def begin(self, heartbeat: Callable[[], Heartbeat]) -> None:
        """Send from now on, and what `heartbeat` returns every few seconds."""
        self._heartbeat = heartbeat
        self.start()

    def publish_event(self, event: WorkerEvent) -> None:
        """Send an event when possible; it is lost if this process dies first."""
        self._events.append(event.to_message())
        self._wake.set()

    def deliver_result(self, attempt: AttemptId, result: Message, on_kept: Callable[[], None]) -> None:
        """Keep a result on disk until the broker has confirmed it, and call `on_kept` when the disk has it.

        Raises OSError if the disk cannot take it.
        """
        write_atomically(self._spool / f"{attempt}.json", json.dumps(result), fsync=True)
        on_kept()
        self._wake.set()

    def close(self, timeout: float) -> None:
        """Send what is left, for at most `timeout` seconds; what stays on disk is sent after a restart."""
        self._closing.set()
        self._wake.set()
        self.join(timeout)

    def run(self) -> None:
        pause = 1.0
        while True:
            try:
                with connect(self._identity) as connection:
                    connection.connect()
                    log.info("connected to the broker at %s", self._identity.broker)
                    pause = 1.0
                    self._send_until_closed(connection)
                return
            except BROKER_ERRORS as error:
                log.warning("the broker at %s: %r; next try in %.0f s", self._identity.broker, error, pause)
            except Exception:
                # Without this thread the worker would run on unheard.
                log.exception("unexpected error while sending; next try in %.0f s", pause)
            if self._closing.wait(pause):
                return
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _send_result(self, producer: kombu.Producer, file: Path) -> None:
        try:
            result = json.loads(read_regular(file, queues.LONGEST_MESSAGE))
            if len(json.dumps(result)) > queues.LONGEST_MESSAGE:  # the broker would refuse it again and again
                raise ValueError(f"longer than {queues.LONGEST_MESSAGE} bytes")
        except (OSError, ValueError, RecursionError) as error:  # or one file would hold up all others
            log.error("%s is not a result (%s): renamed to *.damaged", file, error)
            file.rename(file.with_suffix(".damaged"))
            return
        self._publish(producer, queues.RESULTS, result, lasting=True)
        file.unlink()

    def _publish(self, producer: kombu.Producer, queue: str, message: Message, *, lasting: bool) -> None:
        publish(producer, queue, message, user=self._identity.broker_user, lasting=lasting)

    def _send_until_closed(self, connection: kombu.Connection) -> None:
        self.connected.set()
        producer = kombu.Producer(connection, exchange=FROM_WORKERS, serializer="json", auto_declare=False)
        next_heartbeat = 0.0
        while True:
            self._wake.clear()
            closing = self._closing.is_set()
            for file in sorted(self._spool.glob("*.json")):
                self._send_result(producer, file)
            while self._events:
                self._publish(producer, queues.EVENTS, self._events[0], lasting=False)
                self._events.popleft()
            if closing or time.monotonic() >= next_heartbeat:
                self._publish(producer, queues.EVENTS, self._heartbeat().to_message(), lasting=False)
                next_heartbeat = time.monotonic() + HEARTBEAT_SECONDS
            if closing:
                return
            connection.heartbeat_check()
            self._wake.wait(max(0.0, next_heartbeat - time.monotonic()))
