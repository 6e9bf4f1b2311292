"""Celery application: address and TLS of the broker, queues, confirmed publications."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import celery
import kombu
import pytest
from celery.utils.imports import symbol_by_name

from framework.broker import celery_app
from framework.broker.celery_app import (
    CONFIRM_TIMEOUT_SECONDS,
    attempt_of,
    broker_tls,
    broker_url,
    connect,
    make_app,
    publish,
    task_queue,
)
from framework.broker.declared_names import DeclaredControl
from framework.broker.strict_consumer import Consumer
from framework.broker.strict_frames import frame_handler
from framework.broker.worker_publisher import LONGEST_PAUSE_SECONDS
from framework.errors import FrameworkError
from framework.messages import queues
from framework.messages.identity import Identity
from framework.messages.task_ids import AttemptId
from framework.messages.worker_events import HEARTBEAT_SECONDS
from framework.placement.hosts import LEASE_SECONDS


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    (tmp_path / "password").write_text("a/b:c@d%e f\n")
    return Identity("worker", "infra-1", "p", "hostA", "[fd00::1]:5671", "", tmp_path)


def test_the_address_of_the_broker_holds_the_password_whatever_characters_it_has(identity: Identity) -> None:
    assert broker_url(identity) == "amqps://worker%40hostA:a%2Fb%3Ac%40d%25e%20f@[fd00::1]:5671/tasks"
    parameters = kombu.Connection("amqps://worker%40hostA:a%2Fb%3Ac%40d%25e%20f@broker:5671/tasks").info()
    assert (parameters["userid"], parameters["password"]) == ("worker@hostA", "a/b:c@d%e f")
    assert (parameters["hostname"], parameters["port"], parameters["virtual_host"]) == (
        "broker",
        5671,
        "tasks",
    )


def test_a_missing_password_is_an_error_with_the_file(identity: Identity) -> None:
    (identity.secrets / "password").unlink()
    with pytest.raises(FrameworkError, match=r"cannot read the broker password.*password"):
        broker_url(identity)


def test_both_sides_are_verified(identity: Identity) -> None:
    assert broker_tls(identity) == {
        "ca_certs": str(identity.secrets / "ca.pem"),
        "certfile": str(identity.secrets / "cert.pem"),
        "keyfile": str(identity.secrets / "key.pem"),
        "cert_reqs": ssl.CERT_REQUIRED,
        "server_hostname": "fd00::1",
    }


def test_a_connection_confirms_every_publication_and_is_watched(identity: Identity) -> None:
    connection = connect(identity)
    assert not connection.connected
    assert connection.transport_options["confirm_publish"] is True
    assert connection.transport_options["socket_settings"], "packet loss does not end it"
    assert connection.transport_options["frame_handler"] is frame_handler
    assert connection.heartbeat == celery_app.HEARTBEAT_SECONDS
    assert connection.ssl == broker_tls(identity)


def test_a_confirmation_is_waited_for_less_long_than_a_lease() -> None:
    assert celery_app.HEARTBEAT_SECONDS / 2 < CONFIRM_TIMEOUT_SECONDS < LEASE_SECONDS
    assert LONGEST_PAUSE_SECONDS + HEARTBEAT_SECONDS < LEASE_SECONDS


class Producer:
    """Keeps the options of what it is to publish."""

    def __init__(self) -> None:
        self.published: list[tuple[Any, dict[str, Any]]] = []

    def publish(self, message: Any, **options: Any) -> None:
        self.published.append((message, options))


@pytest.mark.parametrize(("lasting", "mode"), [(True, 2), (False, 1)])
def test_a_publication_is_mandatory_and_confirmed_within_a_limit(lasting: bool, mode: int) -> None:
    producer = Producer()
    publish(producer, "results", {"x": 1}, user="worker@hostA", lasting=lasting)
    assert producer.published == [
        (
            {"x": 1},
            {
                "routing_key": "results",
                "user_id": "worker@hostA",
                "delivery_mode": mode,
                "mandatory": True,
                "retry": False,
                "timeout": CONFIRM_TIMEOUT_SECONDS,
                "confirm_timeout": CONFIRM_TIMEOUT_SECONDS,
            },
        )
    ]


def test_each_host_has_a_queue_of_its_own() -> None:
    queue = task_queue("hostA")
    assert (queue.name, queue.routing_key, queue.exchange.name) == ("tasks.hostA", "hostA", "tasks")
    assert queue.no_declare


def test_the_queues_of_the_broker_are_declared_by_nobody_here() -> None:
    names = {queues.RESULTS: celery_app.RESULTS_QUEUE, queues.EVENTS: celery_app.EVENTS_QUEUE}
    for name, queue in (names | {queues.DEAD: celery_app.DEAD_QUEUE}).items():
        assert (queue.name, queue.no_declare) == (name, True)
    assert celery_app.TASKS.no_declare
    assert celery_app.FROM_WORKERS.no_declare


@pytest.fixture
def app(identity: Identity, monkeypatch: pytest.MonkeyPatch) -> celery.Celery:
    def make(name: str, **more: Any) -> celery.Celery:
        return original(name, **more | {"set_as_current": False})

    original = celery.Celery
    monkeypatch.setattr(celery_app, "Celery", make)
    return make_app(identity)


def test_celery_moves_tasks_and_decides_nothing(identity: Identity, app: celery.Celery) -> None:
    configuration = app.conf
    assert isinstance(app.control, DeclaredControl)
    assert configuration.control_exchange == queues.CONTROL
    assert configuration.accept_content == ["json"]
    assert configuration.task_acks_late is False, "a repeated message would run a long task twice"
    assert configuration.task_ignore_result is True
    assert configuration.task_create_missing_queues is False
    assert configuration.broker_connection_max_retries is None, "for ever"
    assert configuration.broker_channel_error_retry is False, "the broker refuses something"
    assert configuration.worker_cancel_long_running_tasks_on_connection_loss is False
    assert configuration.worker_prefetch_multiplier == 1
    assert configuration.broker_use_ssl == broker_tls(identity)
    assert configuration.broker_transport_options["frame_handler"] is frame_handler
    assert [(queue.name, queue.no_declare) for queue in configuration.task_queues] == [("tasks.hostA", True)]
    assert symbol_by_name(configuration.worker_consumer) is Consumer


def test_the_attempt_of_a_celery_task_is_that_of_its_id() -> None:
    assert attempt_of("0123456789abcdef.2") == AttemptId("0123456789abcdef", 2)
    for name in ("0123456789abcdef", "garbage", "", None, 5):
        assert attempt_of(name) is None
