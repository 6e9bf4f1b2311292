"""Strict consumer, on kombu's broker in memory: takes the master's messages, and rejects all others."""

from __future__ import annotations

import json
from typing import Any

import kombu
import pytest
from celery import Celery, signals
from celery.exceptions import WorkerShutdown
from celery.worker import consumer as celerys

from framework.broker.celery_app import DEAD_QUEUE, EVENTS_QUEUE, RESULTS_QUEUE, TASK_NAME, TASKS
from framework.broker.master_connection import MasterConnection
from framework.broker.strict_consumer import Consumer
from framework.messages.assignment import Assignment
from framework.messages.queues import MALFORMED

RIGHT = [[{"task": "0123456789abcdef"}], {}, {"callbacks": None}]
HEADERS = {"task": TASK_NAME, "id": "0123456789abcdef.1", "retries": 0, "timelimit": [None, None]}


class Bench(Consumer):
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.connection_errors = (ConnectionError,)
        self.taken: list[kombu.Message] = []
        self.fails: Exception | None = None
        monkeypatch.setattr(celerys.Consumer, "create_task_handler", lambda self: self.take)
        self.channel = kombu.Connection("memory://").channel()
        self.exchange = kombu.Exchange(TASKS.name, type="direct")(self.channel)
        self.queue = kombu.Queue("tasks.a", self.exchange, routing_key="a")(self.channel)
        self.queue.declare()

    def take(self, message: kombu.Message) -> None:
        if self.fails:
            raise self.fails
        self.taken.append(message)

    def receive(self) -> kombu.Message:
        message = self.queue.get(accept=["json"])
        self.create_task_handler()(message)
        return message


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def test_messages_of_the_master_are_accepted(bench: Bench) -> None:
    for queue in (RESULTS_QUEUE, EVENTS_QUEUE, DEAD_QUEUE):
        kombu.Queue(queue.name)(bench.channel).queue_declare()
    link = MasterConnection(
        Celery("test", broker="memory://", set_as_current=False), kombu.Connection("memory://")
    )
    link.open()
    link.send("a", Assignment("infra-1", "p", "0123456789abcdef", 1, {"x": 1}))
    message = bench.receive()
    assert bench.taken == [message]
    assert not message.acknowledged


@pytest.mark.parametrize(
    ("payload", "headers"),
    [
        (5, {}), (None, {}), ([], {}), ([1, {}, {}], {}), ([[1, 2], {}, {}], {}), ([[1], {"x": 1}, {}], {}),
        ([[1], {}, 5], {}), ([[1], {}, {"callbacks": [1]}], {}),
        (RIGHT, {"id": None}), (RIGHT, {"task": "x"}), (RIGHT, {"eta": "2999-01-01"}),
        (RIGHT, {"expires": 5}), (RIGHT, {"retries": "x"}), (RIGHT, {"timelimit": "x"}),
    ],
)  # fmt: skip
def test_any_other_message_is_rejected(bench: Bench, payload: Any, headers: dict[str, Any]) -> None:
    producer = kombu.Producer(bench.channel, bench.exchange)
    producer.publish(payload, routing_key="a", headers=HEADERS | headers)
    message = bench.receive()
    assert (bench.taken, message._state) == ([], "REJECTED")


def test_a_message_that_cannot_be_decoded_or_that_celery_fails_on_is_rejected(bench: Bench) -> None:
    producer = kombu.Producer(bench.channel, bench.exchange)
    for body, content_type in ((b"{", "application/json"), (b"x", "application/x-python-serialize")):
        producer.publish(
            body, routing_key="a", headers=HEADERS, content_type=content_type, content_encoding="utf-8"
        )
        assert bench.receive()._state == "REJECTED"
    for body in (b"5", json.dumps(RIGHT).encode()):
        producer.publish(
            body, routing_key="a", headers={MALFORMED: "why"}, content_type="", content_encoding=""
        )
        assert bench.receive()._state == "REJECTED"
    bench.fails = KeyError("id")
    producer.publish(RIGHT, routing_key="a", headers=HEADERS)
    assert bench.receive()._state == "REJECTED"
    bench.fails = ConnectionError()
    producer.publish(RIGHT, routing_key="a", headers=HEADERS)
    with pytest.raises(ConnectionError):
        bench.receive()


class Refused(Exception):
    """An error of a channel: there is no such queue, or it is not this worker's."""


def test_what_the_broker_refuses_ends_the_worker_but_not_what_runs(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.channel_errors, bench.hostname = (Refused,), "worker@a"
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(signals.worker_shutting_down, "receivers", [])
    signals.worker_shutting_down.connect(lambda **options: told.append(options), weak=False)

    def start(_: Any) -> None:
        raise error

    monkeypatch.setattr(celerys.Consumer, "start", start)
    error: Exception = Refused("NOT_FOUND")
    with pytest.raises(WorkerShutdown):
        bench.start()
    assert [each["sig"] for each in told] == [""], "nobody has stopped it: the next one continues"
    error = ConnectionError()
    with pytest.raises(ConnectionError):
        bench.start()
    assert len(told) == 1
