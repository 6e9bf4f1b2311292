"""Output of an attempt, asked of its worker through a broker in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import kombu
import pytest
from celery import Celery

from framework.broker import output_request
from framework.broker.celery_app import OUTPUT_COMMAND
from framework.broker.declared_names import DeclaredControl
from framework.broker.output_request import ask_for_output
from framework.messages.task_ids import AttemptId

ATTEMPT = AttemptId("0123456789abcdef", 2)


@pytest.fixture
def app() -> Iterator[Celery]:
    app = Celery("test", broker="memory://", control=DeclaredControl, set_as_current=False)
    app.conf.control_exchange = (
        "output"  # the memory is that of the process: other tests have other exchanges
    )
    with app.connection_for_write() as connection:
        for name, kind in (("output.pidbox", "fanout"), ("reply.output.pidbox", "direct")):
            kombu.Exchange(name, kind, channel=connection.default_channel).declare()
        yield app


@contextmanager
def worker(app: Celery, answer: Callable[[str], Any], name: str = "worker@gpu1") -> Iterator[None]:
    """The worker of gpu1, which answers in a name."""
    ready, done = threading.Event(), threading.Event()

    def serve() -> None:
        with app.connection_for_write() as connection:
            queue = kombu.Queue("of gpu1", kombu.Exchange("output.pidbox", "fanout"), durable=False)
            mailbox = DeclaredControl(app).mailbox(connection)
            handlers = {OUTPUT_COMMAND: lambda _, name: answer(name)}
            node = mailbox.Node("worker@gpu1", handlers=handlers, channel=connection.default_channel)
            reply = node.reply
            node.reply = lambda said, *more, **options: reply({name: said["worker@gpu1"]}, *more, **options)
            with kombu.Consumer(connection, [queue], callbacks=[node.handle_message], no_ack=True):
                ready.set()
                while not done.is_set():
                    try:
                        connection.drain_events(timeout=0.1)
                    except TimeoutError:
                        continue

    thread = threading.Thread(target=serve)
    thread.start()
    assert ready.wait(60)
    yield
    done.set()
    thread.join()


def test_the_worker_is_asked_for_the_attempt(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_request, "ANSWER_SECONDS", 60.0)
    asked: list[str] = []

    def answer(name: str) -> dict[str, str]:
        asked.append(name)
        return {"stdout": "\x1b[31mloss\x1b[0m=1\n", "stderr": "10%\r20%\a"}

    with worker(app, answer):
        assert ask_for_output(app, "gpu1", ATTEMPT) == {"stdout": "loss=1\n", "stderr": "20%?"}
    assert asked == [str(ATTEMPT)]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({"error": "no output of it:\x1b[2J gone"}, "gpu1: no output of it: [2J gone"),
        ({"stdout": 1, "stderr": ""}, "gpu1: a message with "),
        ("nonsense", "gpu1: a message that is no object: 'nonsense'"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_answer_is_said(
    app: Celery, monkeypatch: pytest.MonkeyPatch, answer: Any, problem: str
) -> None:
    monkeypatch.setattr(output_request, "ANSWER_SECONDS", 60.0)
    with worker(app, lambda _: answer):
        (said,) = ask_for_output(app, "gpu1", ATTEMPT).values()
    assert said.startswith(problem)


def test_an_answer_of_another_host_is_none(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_request, "ANSWER_SECONDS", 60.0)
    with worker(app, lambda _: {"stdout": "of another", "stderr": ""}, "worker@gpu2"):
        said = ask_for_output(app, "gpu1", ATTEMPT)
    assert said == {"problem": "gpu1: its worker does not answer (waited 60 s)"}


def test_a_reply_that_names_no_worker_is_passed_over(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    replies = [5, ["worker@gpu1"], {"worker@gpu1": {"stdout": "loss=1", "stderr": ""}}]
    monkeypatch.setattr(DeclaredControl, "broadcast", lambda *_, **__: replies)
    assert ask_for_output(app, "gpu1", ATTEMPT) == {"stdout": "loss=1", "stderr": ""}


def test_no_answer_is_waited_for_long(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_request, "ANSWER_SECONDS", 0.2)
    said = ask_for_output(app, "gpu1", ATTEMPT)
    assert said == {"problem": "gpu1: its worker does not answer (waited 0 s)"}


def test_a_broker_that_is_away_is_said_at_once() -> None:
    app = Celery("test", broker="amqp://127.0.0.1:1//", control=DeclaredControl, set_as_current=False)
    said = ask_for_output(app, "gpu1", ATTEMPT)["problem"]
    assert said.startswith("the broker does not answer: ")
    assert "refused" in said
