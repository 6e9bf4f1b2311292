"""Celery's remote control and events, in memory: nothing is declared that the broker has."""

from __future__ import annotations

import json
from pathlib import Path

import celery
import kombu
import pytest
from celery.events import EventReceiver

from framework.broker.declared_names import DeclaredControl
from framework.messages import queues

BROKER = Path(__file__).parents[3] / "docker/broker"


@pytest.fixture
def app() -> celery.Celery:
    app = celery.Celery("test", set_as_current=False, control=DeclaredControl)
    app.conf.update(
        control_exchange=queues.CONTROL, control_queue_durable=True, control_queue_exclusive=False
    )
    return app


def test_celery_declares_neither_an_exchange_nor_the_queue_of_a_worker(app: celery.Celery) -> None:
    mailbox = app.control.mailbox
    connection = kombu.Connection("memory://")
    events = [
        app.events.Dispatcher(connection, enabled=False),
        EventReceiver(connection.channel(), app=app),  # as Flower makes it
    ]
    exchanges = [mailbox.exchange, mailbox.reply_exchange, *(each.exchange for each in events)]
    assert {each.name: each.type for each in exchanges} == {
        "control.pidbox": "fanout", "reply.control.pidbox": "direct", "celeryev": "topic",
    }  # fmt: skip
    declared = json.loads((BROKER / "definitions.json").read_text())["exchanges"]
    for each in exchanges:
        assert each.no_declare
        assert (each.name, each.type) in {(it["name"], it["type"]) for it in declared}
    assert events[1].queue.exchange.no_declare
    queue = mailbox.get_queue("worker@hostA")
    assert (queue.name, queue.no_declare, queue.exchange.no_declare) == (
        "worker@hostA.control.pidbox", True, True,
    )  # fmt: skip
    replies = mailbox.get_reply_queue()
    assert replies.exchange.no_declare
    assert (replies.no_declare, replies.durable, replies.exclusive) == (None, True, False)


def test_a_reply_goes_to_the_exchange_for_replies_whatever_the_request_says(app: celery.Celery) -> None:
    with kombu.Connection("memory://") as connection:
        mailbox = app.control.mailbox(connection)
        mailbox._producer_pool = None
        node = mailbox.Node("worker@hostA", channel=connection.channel())
        kombu.Exchange("reply.control.pidbox", "direct")(connection.default_channel).declare()
        replies = kombu.Queue("mine", kombu.Exchange("reply.control.pidbox", "direct"), routing_key="id")
        replies(connection.default_channel).declare()
        node.reply({"worker@hostA": "pong"}, exchange="tasks", routing_key="id", ticket="t")
        message = replies(connection.default_channel).get()
    assert message is not None
    assert (message.payload, message.headers["ticket"]) == ({"worker@hostA": "pong"}, "t")
