"""Connection of the master, on kombu's broker in memory: receipt, sending, stop orders, a blocked broker."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import ANY

import amqp
import kombu
import pytest
from celery import Celery

from framework.broker import master_connection as link_module
from framework.broker.celery_app import (
    CONFIRM_TIMEOUT_SECONDS,
    DEAD_QUEUE,
    EVENTS_QUEUE,
    FROM_WORKERS,
    HAND_BACK_COMMAND,
    RESULTS_QUEUE,
    STOP_COMMAND,
)
from framework.broker.master_connection import NOBODY, QUIET_SECONDS, MasterConnection
from framework.errors import BrokerBlocked
from framework.messages import queues
from framework.messages.assignment import Assignment
from framework.messages.task_ids import AttemptId
from framework.space.values import Value


@pytest.fixture
def app() -> Celery:
    return Celery("test", broker="memory://", set_as_current=False)


@pytest.fixture
def link(app: Celery) -> Iterator[MasterConnection]:
    with kombu.Connection("memory://") as connection:
        channel = connection.default_channel
        kombu.Exchange(FROM_WORKERS.name, type="direct")(channel).declare()
        for queue in (RESULTS_QUEUE, EVENTS_QUEUE, DEAD_QUEUE):
            exchange = kombu.Exchange(queue.exchange.name, type="direct")
            kombu.Queue(queue.name, exchange, routing_key=queue.routing_key or queue.name)(channel).declare()
        link = MasterConnection(app, kombu.Connection("memory://"))
        link.open()
        yield link
        link.close()


def test_only_the_named_worker_receives_a_stop_order(app: Celery, link: MasterConnection) -> None:
    told: list[tuple[str, list[str]]] = []
    with kombu.Connection("memory://") as connection:
        for host in ("a", "b"):

            def stop_attempts(state: Any, names: list[str], host: str = host) -> None:
                told.append((host, names))

            node = app.control.mailbox(connection).Node(f"worker@{host}", channel=connection.channel())
            node.handlers = {STOP_COMMAND: stop_attempts}
            node.listen(callback=node.handle_message)
        link.stop("b", [AttemptId("0123456789abcdef", 1), AttemptId("0123456789abcdef", 2)])
        for _ in range(2):
            connection.drain_events(timeout=1)
    assert told == [("b", ["0123456789abcdef.1", "0123456789abcdef.2"])]


@pytest.mark.parametrize(
    "options",
    [
        {"content_type": "application/x-python-serialize", "content_encoding": "binary"},
        {"headers": {"compression": "gzip"}},
        {"headers": {"compression": "nonsense"}},
        {"content_encoding": "nonsense"},
    ],
    ids=str,
)
@pytest.mark.parametrize("queue", ["results", "reports"])
def test_any_message_in_a_queue_is_received(
    link: MasterConnection, queue: str, options: dict[str, Any]
) -> None:
    with kombu.Connection("memory://") as connection:
        producer = kombu.Producer(connection.default_channel, auto_declare=False)
        options = {"content_type": "text/plain", "content_encoding": "utf-8"} | options
        producer.publish(b"\xff\x00garbage", exchange=FROM_WORKERS.name, routing_key=queue, **options)
    (message,) = link.receive(1)
    assert message.delivery_info["routing_key"] == queue
    message.ack()
    assert link.receive(0.01) == []


def test_dead_letters_are_received(link: MasterConnection) -> None:
    with kombu.Connection("memory://") as connection:
        producer = kombu.Producer(connection.default_channel, auto_declare=False)
        producer.publish({"x": 1}, exchange="", routing_key=DEAD_QUEUE.name)
    (message,) = link.receive(1)
    assert message.delivery_info["routing_key"] == DEAD_QUEUE.name
    message.ack()


def test_a_blocked_broker_is_noticed_after_some_silence(
    link: MasterConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    amqp_connection, asked = link._connection.connection, []

    def publish(*_: object, routing_key: str, **__: object) -> None:
        asked.append(routing_key)
        amqp_connection.on_blocked("RabbitMQ says so where a confirmation is waited for")

    monkeypatch.setattr(link._producer, "publish", publish)
    assert link.receive(0.01) == []
    now = time.monotonic() + QUIET_SECONDS
    monkeypatch.setattr(link_module, "time", SimpleNamespace(monotonic=lambda: now))
    with pytest.raises(BrokerBlocked) as blocked:
        link.receive(0.01)
    assert asked == [NOBODY]
    assert blocked.value.lasts()
    amqp_connection.on_unblocked()
    assert not blocked.value.lasts()


def test_a_broker_that_dies_while_it_is_blocked_is_not_waited_for(
    link: MasterConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drain_events(timeout: float) -> None:
        raise ConnectionResetError

    monkeypatch.setattr(link._connection, "drain_events", drain_events)
    with pytest.raises(BrokerBlocked) as blocked:
        link._connection.connection.on_blocked("")
    assert not blocked.value.lasts()


ASSIGNMENT = Assignment("infra-1", "p", "0123456789abcdef", 2, {"x": 1})


class Publications:
    """Keeps what a producer of the connection publishes."""

    def __init__(self, producer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.all: list[tuple[Any, dict[str, Any]]] = []
        monkeypatch.setattr(producer, "publish", self.publish)

    def publish(self, body: Any, **options: Any) -> None:
        self.all.append((body, options))


CONFIRMED = {
    "retry": False, "timeout": CONFIRM_TIMEOUT_SECONDS, "confirm_timeout": CONFIRM_TIMEOUT_SECONDS,
}  # fmt: skip


def test_an_assignment_is_mandatory_and_confirmed_within_a_limit(
    link: MasterConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = Publications(link._producer, monkeypatch)
    link.send("hostA", ASSIGNMENT)
    ((body, options),) = published.all
    assert options["mandatory"] is True, "a queue that is gone is an error"
    assert CONFIRMED.items() <= options.items()
    assert (options["exchange"], options["routing_key"]) == ("tasks", "hostA")
    assert options["serializer"] == "json"
    assert options["headers"]["id"] == "0123456789abcdef.2"
    assert options["headers"]["argsrepr"] == "p: x=1", "the task's name in Flower"
    assert body[:2] == ([ASSIGNMENT.to_message()], {})


def test_a_stop_order_is_confirmed_within_a_limit_and_never_expires(
    link: MasterConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = Publications(link._control, monkeypatch)
    link.stop("hostA", [ASSIGNMENT.id])
    ((body, options),) = published.all
    assert CONFIRMED.items() <= options.items()
    assert body["arguments"] == {"names": ["0123456789abcdef.2"]}
    assert (body["method"], body["destination"]) == (STOP_COMMAND, ["worker@hostA"])
    assert options["headers"]["expires"] == 0
    link.hand_back("hostA", [ASSIGNMENT.id])
    assert published.all[1] == (body | {"method": HAND_BACK_COMMAND}, options | {"headers": ANY})


def test_the_question_to_the_broker_is_confirmed_within_a_limit(
    link: MasterConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = Publications(link._producer, monkeypatch)
    link._check_that_broker_takes_messages()
    assert published.all == [("", {"routing_key": NOBODY} | CONFIRMED)]


def test_the_broker_is_asked_only_after_some_silence(
    link: MasterConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = Publications(link._producer, monkeypatch)
    now = [time.monotonic() + QUIET_SECONDS]
    monkeypatch.setattr(link_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    put(queues.RESULTS, "x")
    assert len(link.receive(1)) == 1
    assert published.all == [], "it has spoken"
    now[0] += QUIET_SECONDS - 0.1
    assert link.receive(0.01) == []
    assert published.all == []
    now[0] += 0.1
    assert link.receive(0.01) == []
    assert len(published.all) == 1
    assert link.receive(0.01) == []
    assert len(published.all) == 1, "it has answered"


def put(queue: str, *bodies: str) -> None:
    with kombu.Connection("memory://") as connection:
        producer = kombu.Producer(connection.default_channel, auto_declare=False)
        for body in bodies:
            producer.publish(body, exchange="", routing_key=queue)


def test_messages_are_received_in_their_order_and_in_portions(
    link: MasterConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks: list[None] = []
    monkeypatch.setattr(link_module, "DRAIN_LIMIT", 3)
    monkeypatch.setattr(link._connection, "heartbeat_check", lambda: checks.append(None))
    put(queues.RESULTS, *"abcde")
    received = [[message.body for message in link.receive(0.1)] for _ in range(3)]
    assert received == [[b"a", b"b", b"c"], [b"d", b"e"], []]
    assert len(checks) == 3, "the connection is watched each time"


BROKER = Path(__file__).parents[3] / "docker/broker"


def test_no_message_is_longer_than_the_master_reads() -> None:
    settings = (BROKER / "rabbitmq.conf").read_text().splitlines()
    assert f"max_message_size = {queues.LONGEST_MESSAGE}" in settings


def test_what_waits_for_the_master_is_bounded() -> None:
    consumed = (RESULTS_QUEUE, EVENTS_QUEUE, DEAD_QUEUE)
    assert len(consumed) * link_module.PREFETCH * queues.LONGEST_MESSAGE <= 600 * 2**20
    policies = json.loads((BROKER / "definitions.json").read_text())["policies"]
    for queue in (*(queue.name for queue in consumed), queues.tasks_of("a")):
        (definition,) = (it["definition"] for it in policies if re.search(it["pattern"], queue))
        assert definition["delivery-limit"] <= 100
        assert definition["max-length-bytes"] <= 2**30
        assert definition["overflow"] == ("drop-head" if queue == queues.EVENTS else "reject-publish")


def test_a_name_in_flower_shows_values_as_results_csv_does() -> None:
    parameters: dict[str, Value] = {
        "C": 0.1, "kernel": "r b", "warm": True, "init": None, "hidden": [64, 32],
    }  # fmt: skip
    assignment = dataclasses.replace(ASSIGNMENT, project="digits", parameters=parameters)
    assert link_module.name_in_flower(assignment) == (
        "digits: C=0.1 kernel=r b warm=true init=null hidden=[64, 32]"
    )


def test_flower_shows_the_beginning_of_long_metaparameters(
    link: MasterConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = Publications(link._producer, monkeypatch)
    link.send("hostA", dataclasses.replace(ASSIGNMENT, parameters={"x": "y" * 10**6}))
    assert len(published.all[0][1]["headers"]["argsrepr"]) == link_module.LONGEST_NAME


def test_a_lost_connection_is_an_error_for_the_one_who_receives(
    link: MasterConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drain_events(timeout: float) -> None:
        raise ConnectionResetError

    monkeypatch.setattr(link._connection, "drain_events", drain_events)
    with pytest.raises(link.errors):
        link.receive(0.1)


class Queue:
    """Stands for the queue of a host, on a channel that the broker may close."""

    def __init__(self, link: MasterConnection, monkeypatch: pytest.MonkeyPatch, messages: int | None) -> None:
        self.messages = messages  # None: there is no such queue
        self.host = ""
        self.closed = 0
        monkeypatch.setattr(link._connection, "channel", lambda: self)
        monkeypatch.setattr(link_module, "task_queue", self.of)

    def of(self, host: str) -> Any:
        self.host = host
        return lambda channel: self

    def queue_declare(self, *, passive: bool) -> Any:
        assert passive, "the worker declares its queue"
        return SimpleNamespace(message_count=self._count())

    def purge(self) -> int:
        count, self.messages = self._count(), 0
        return count

    def _count(self) -> int:
        if self.messages is None:
            raise amqp.NotFound
        return self.messages

    def close(self) -> None:
        self.closed += 1


def test_the_queue_of_a_host_is_counted_and_purged(
    link: MasterConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Queue(link, monkeypatch, 7)
    assert link.waiting_for("hostA") == 7
    assert queue.host == "hostA"
    assert link.purge("hostB") == 7
    assert (queue.host, queue.messages) == ("hostB", 0)
    assert link.waiting_for("hostB") == 0
    assert queue.closed == 3, "no channel is left open"


def test_the_queue_of_a_host_that_never_came_up_is_empty(
    link: MasterConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Queue(link, monkeypatch, None)
    assert (link.waiting_for("hostA"), link.purge("hostA")) == (0, 0)
    assert queue.closed == 0, "the broker has closed its channel"


@pytest.mark.parametrize("error", [ConnectionResetError, amqp.PreconditionFailed])
def test_another_error_about_a_queue_gives_the_connection_up(
    link: MasterConnection, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    queue = Queue(link, monkeypatch, 7)

    def fail() -> int:
        raise error

    monkeypatch.setattr(queue, "_count", fail)
    with pytest.raises(link.errors):
        link.waiting_for("hostA")
    with pytest.raises(link.errors):
        link.purge("hostA")
