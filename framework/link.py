"""The master's connection to the broker: results and reports come in, tasks go out, everything confirmed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import amqp
import kombu
from celery import Celery

from framework.broker import (
    BROKER_ERRORS,
    CONFIRM_TIMEOUT_SECONDS,
    DEAD_QUEUE,
    REPORTS_QUEUE,
    RESULTS_QUEUE,
    STOP_COMMAND,
    TASK_NAME,
    TASKS,
    task_queue,
)
from framework.task import Assignment

PREFETCH = 1000
DRAIN_LIMIT = 5000


class Link:
    """One connection; after any of BROKER_ERRORS it is closed, and a new Link is made."""

    errors: tuple[type[Exception], ...] = BROKER_ERRORS

    def __init__(self, app: Celery, connection: kombu.Connection) -> None:
        self._app = app
        self._connection = connection
        self._inbox: list[kombu.Message] = []

    def open(self) -> None:
        self._connection.connect()
        channel = self._connection.channel()
        channel.basic_qos(0, PREFETCH, False)
        consumer = kombu.Consumer(
            channel,
            [RESULTS_QUEUE, REPORTS_QUEUE, DEAD_QUEUE],
            on_message=self._inbox.append,
            # What kombu cannot even unpack is for the master to set aside, like all that makes no sense.
            on_decode_error=lambda message, _: self._inbox.append(message),
            auto_declare=False,
            accept=["json"],
        )
        consumer.consume()
        self._producer = kombu.Producer(self._connection.channel(), exchange=TASKS, auto_declare=False)
        self._control = kombu.Producer(
            self._connection.channel(), exchange=self._app.control.mailbox.exchange
        )  # declares it: a new broker has no such exchange before Celery's first worker is up

    def close(self) -> None:
        self._connection.collect(socket_timeout=1)

    def receive(self, timeout: float) -> list[kombu.Message]:
        """What has come in; waits at most `timeout` seconds for the first message."""
        self._connection.heartbeat_check()
        try:
            if not self._inbox:
                self._connection.drain_events(timeout=timeout)
            while len(self._inbox) < DRAIN_LIMIT:
                self._connection.drain_events(timeout=0.001)
        except TimeoutError:
            pass
        messages, self._inbox[:] = self._inbox[:], []
        return messages

    def send(self, host: str, assignment: Assignment) -> None:
        """Put one task into the queue of `host`; returns when the broker has it on disk."""
        name = f"{assignment.task}.{assignment.attempt}"
        message = self._app.amqp.as_task_v2(
            name,
            TASK_NAME,
            args=[assignment.to_message()],
            kwargs={},
            argsrepr=json.dumps(dict(assignment.parameters)),
            kwargsrepr="{}",
        )
        self._app.amqp.send_task_message(
            self._producer,
            TASK_NAME,
            message,
            exchange=TASKS.name,
            routing_key=host,
            declare=[],
            retry=False,
            serializer="json",
            mandatory=True,
            timeout=CONFIRM_TIMEOUT_SECONDS,
            confirm_timeout=CONFIRM_TIMEOUT_SECONDS,
        )

    def stop(self, host: str, attempts: Sequence[str]) -> None:
        """Tell the worker of `host` to stop attempts; lost if it does not listen now.

        It is what app.control.broadcast does, but on this connection, confirmed, and without trying for ever.
        """
        self._control.publish(
            {
                "method": STOP_COMMAND,
                "arguments": {"names": list(attempts)},
                "destination": [f"worker@{host}"],
                "pattern": None,
                "matcher": None,
            },
            routing_key="",
            headers={"clock": self._app.clock.forward(), "expires": 0},
            serializer="json",
            retry=False,
            timeout=CONFIRM_TIMEOUT_SECONDS,
            confirm_timeout=CONFIRM_TIMEOUT_SECONDS,
        )

    def waiting_for(self, host: str) -> int:
        """How many messages lie in the queue of `host`, taken by no worker yet."""
        with self._queue(host) as queue:
            return int(queue.queue_declare(passive=True).message_count)
        return 0

    def purge(self, host: str) -> int:
        """Empty the queue of `host`; how many messages it had."""
        with self._queue(host) as queue:
            return int(queue.purge() or 0)
        return 0

    @contextmanager
    def _queue(self, host: str) -> Iterator[kombu.Queue]:
        channel = self._connection.channel()
        try:
            yield task_queue(host)(channel)
            channel.close()
        except amqp.NotFound:  # that host's worker never came up; the broker has closed the channel
            pass
