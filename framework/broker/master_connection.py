"""Connection of the master: results and events come in, tasks go out, all confirmed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import amqp
import kombu
from celery import Celery

from framework.broker.celery_app import (
    BROKER_ERRORS,
    CONFIRM_TIMEOUT_SECONDS,
    DEAD_QUEUE,
    EVENTS_QUEUE,
    HAND_BACK_COMMAND,
    RESULTS_QUEUE,
    STOP_COMMAND,
    TASK_NAME,
    TASKS,
    task_queue,
)
from framework.errors import BrokerBlocked
from framework.journal.results_csv import shown
from framework.messages.assignment import Assignment
from framework.messages.task_ids import AttemptId

PREFETCH = 50  # messages of a queue that wait in memory here, each of up to LONGEST_MESSAGE
DRAIN_LIMIT = 5000
QUIET_SECONDS = 10.0  # silence after which the connection checks whether the broker takes messages
BLOCKED_SECONDS = 0.5  # one wait for the end of a block
LONGEST_NAME = 2_000  # characters of a task's name in Flower, which keeps many
NOBODY = "nobody"  # a routing key without a queue: the broker confirms such messages, and drops them


def name_in_flower(assignment: Assignment) -> str:
    """The task's project and metaparameters, as in `digits: C=1 kernel=rbf`; may be cut."""
    parameters = " ".join(f"{name}={shown(value)}" for name, value in assignment.parameters.items())
    return f"{assignment.project}: {parameters}"[:LONGEST_NAME]


class MasterConnection:
    """One connection; after any of BROKER_ERRORS it is closed, and a new one is made.

    Every method may raise BrokerBlocked, too. RabbitMQ reports a shortage of memory or disk only to clients
    that publish, and reads nothing more from them until it is over. Workers can then send neither heartbeats
    nor results, and must not be taken for lost: after some silence the connection checks whether the broker
    takes messages.
    """

    errors: tuple[type[Exception], ...] = BROKER_ERRORS

    def __init__(self, app: Celery, connection: kombu.Connection) -> None:
        self._app = app
        self._connection = connection
        self._inbox: list[kombu.Message] = []
        self._blocked = False
        self._check_due = 0.0

    def open(self) -> None:
        self._connection.connect()
        self._connection.connection.on_blocked = self._on_blocked
        self._connection.connection.on_unblocked = self._on_unblocked
        channel = self._connection.channel()
        channel.basic_qos(0, PREFETCH, False)
        consumer = kombu.Consumer(
            channel,
            [RESULTS_QUEUE, EVENTS_QUEUE, DEAD_QUEUE],
            on_message=self._inbox.append,
            # The master quarantines messages that kombu cannot decode, like all malformed ones.
            on_decode_error=lambda message, _: self._inbox.append(message),
            auto_declare=False,
            accept=["json"],
        )
        consumer.consume()
        self._producer = kombu.Producer(self._connection.channel(), exchange=TASKS, auto_declare=False)
        self._control = kombu.Producer(
            self._connection.channel(), exchange=self._app.control.mailbox.exchange, auto_declare=False
        )
        self._check_that_broker_takes_messages()

    def close(self) -> None:
        self._connection.collect(socket_timeout=1)

    def receive(self, timeout: float) -> list[kombu.Message]:
        """The messages that have arrived; waits at most `timeout` seconds for the first one."""
        self._connection.heartbeat_check()
        try:
            if not self._inbox:
                self._connection.drain_events(timeout=timeout)
            while len(self._inbox) < DRAIN_LIMIT:
                self._connection.drain_events(timeout=0.001)
        except TimeoutError:
            pass
        messages, self._inbox[:] = self._inbox[:], []
        if messages:
            self._check_due = time.monotonic() + QUIET_SECONDS
        elif time.monotonic() >= self._check_due:
            self._check_that_broker_takes_messages()
        return messages

    def send(self, host: str, assignment: Assignment) -> None:
        """Put one task into the queue of `host`; returns when the broker has it on disk."""
        message = self._app.amqp.as_task_v2(
            str(assignment.id),
            TASK_NAME,
            args=[assignment.to_message()],
            kwargs={},
            argsrepr=name_in_flower(assignment),
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

    def stop(self, host: str, attempts: Sequence[AttemptId]) -> None:
        """Tell the worker of `host` to stop attempts; the order is lost if it is not connected now."""
        self._tell(host, STOP_COMMAND, attempts)

    def hand_back(self, host: str, attempts: Sequence[AttemptId]) -> None:
        """Tell the worker of `host` to hand back attempts that have not begun; the order may be lost, too."""
        self._tell(host, HAND_BACK_COMMAND, attempts)

    def _tell(self, host: str, command: str, attempts: Sequence[AttemptId]) -> None:
        """Send a command of Celery's remote control.

        It does what app.control.broadcast does, but on this connection, confirmed, and with a timeout.
        """
        self._control.publish(
            {
                "method": command,
                "arguments": {"names": list(map(str, attempts))},
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
        """The number of messages in the queue of `host` that its worker has not received."""
        with self._queue(host) as queue:
            return int(queue.queue_declare(passive=True).message_count)
        return 0

    def pause(self, seconds: float) -> None:
        """Let messages come together."""
        time.sleep(seconds)

    def purge(self, host: str) -> int:
        """Empty the queue of `host`; returns the number of its messages."""
        with self._queue(host) as queue:
            return int(queue.purge() or 0)
        return 0

    def _check_that_broker_takes_messages(self) -> None:
        """Raises BrokerBlocked if it does not."""
        self._producer.publish(
            "", routing_key=NOBODY, retry=False,
            timeout=CONFIRM_TIMEOUT_SECONDS, confirm_timeout=CONFIRM_TIMEOUT_SECONDS,
        )  # fmt: skip
        self._check_due = time.monotonic() + QUIET_SECONDS

    def _on_blocked(self, *_: object) -> None:
        # Raised where a confirmation is awaited, which would arrive only when there is room again.
        self._blocked = True
        raise BrokerBlocked(self._is_still_blocked)

    def _on_unblocked(self) -> None:
        self._blocked = False

    def _is_still_blocked(self) -> bool:
        """Wait a moment for the end of the block, on this connection: the broker blocks any other, too."""
        try:
            self._connection.heartbeat_check()
            self._connection.drain_events(timeout=BLOCKED_SECONDS)
        except TimeoutError:
            pass
        except BROKER_ERRORS:
            return False  # the connection is lost: the next one will report what is wrong
        return self._blocked

    @contextmanager
    def _queue(self, host: str) -> Iterator[kombu.Queue]:
        channel = self._connection.channel()
        try:
            yield task_queue(host)(channel)
            channel.close()
        except amqp.NotFound:  # no such host; the broker has closed the channel
            pass
