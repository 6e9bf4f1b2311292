"""Connection of the master, on kombu's broker in memory: receipt, sending, stop orders, a blocked broker."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import kombu
import pytest
from celery import Celery

from framework.broker import master_connection as link_module
from framework.broker.celery_app import DEAD_QUEUE, EVENTS_QUEUE, FROM_WORKERS, RESULTS_QUEUE, STOP_COMMAND
from framework.broker.master_connection import NOBODY, QUIET_SECONDS, MasterConnection
from framework.errors import BrokerBlocked
from framework.messages.task_ids import AttemptId


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
