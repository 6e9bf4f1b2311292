"""Celery application: address of the broker, TLS, queues, and settings of Celery.

Exchanges, queues, users and policies are in the broker's definitions (docker/broker). Nothing of it is
declared here: who may declare a name may also delete it.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import amqp
import kombu
from celery import Celery
from kombu.exceptions import KombuError

from framework.broker.declared_names import DeclaredControl
from framework.broker.strict_frames import frame_handler
from framework.errors import FrameworkError, MessageError
from framework.messages import queues
from framework.messages.identity import Identity
from framework.messages.task_ids import AttemptId

FLOWER_CONFIG = Path(__file__).with_name("flower_config.py")
VIRTUAL_HOST = "tasks"
TASK_NAME = "framework.run"
# Celery's remote control: the master tells a worker what it is to stop, or to hand back unless it has begun.
STOP_COMMAND = "stop_attempts"
HAND_BACK_COMMAND = "hand_back_attempts"
OUTPUT_COMMAND = "output_of_attempt"  # asked for by Flower, which shows it
TASKS = kombu.Exchange("tasks", type="direct", durable=True, no_declare=True)
FROM_WORKERS = kombu.Exchange("reports", type="direct", durable=True, no_declare=True)
# The definitions file declares them; with no_declare nobody needs the right to.
RESULTS_QUEUE = kombu.Queue(queues.RESULTS, FROM_WORKERS, routing_key=queues.RESULTS, no_declare=True)
EVENTS_QUEUE = kombu.Queue(queues.EVENTS, FROM_WORKERS, routing_key=queues.EVENTS, no_declare=True)

# The broker's queue of messages that it could not deliver, or that a worker's Celery has rejected.
DEAD_QUEUE = kombu.Queue(queues.DEAD, no_declare=True)

# With py-amqp's default of 1 s, two seconds of packet loss would lose the connection.
TCP_USER_TIMEOUT_MILLISECONDS = 30_000
HEARTBEAT_SECONDS = 30
CONNECT_TIMEOUT_SECONDS = 10
# Less than a lease: a worker that was cut off for a moment tries again before it is taken for lost.
# More than the interval of the broker's heartbeats, which continue while it takes no messages.
CONFIRM_TIMEOUT_SECONDS = 20

# After each of them the connection is given up, and a new one is opened.
BROKER_ERRORS = (amqp.AMQPError, KombuError, OSError)


def broker_url(identity: Identity) -> str:
    """The URL of the broker with the password; raises FrameworkError if that cannot be read."""
    try:
        password = (identity.secrets / "password").read_text().strip()
    except OSError as error:
        raise FrameworkError(f"cannot read the broker password: {error}") from error
    user = quote(identity.broker_user, safe="")
    return f"amqps://{user}:{quote(password, safe='')}@{identity.broker}/{VIRTUAL_HOST}"


def broker_tls(identity: Identity) -> dict[str, Any]:
    # Without server_hostname py-amqp accepts any certificate of our CA, whatever its name.
    return {
        "ca_certs": str(identity.secrets / "ca.pem"),
        "certfile": str(identity.secrets / "cert.pem"),
        "keyfile": str(identity.secrets / "key.pem"),
        "cert_reqs": ssl.CERT_REQUIRED,
        "server_hostname": identity.broker_host,
    }


def connect(identity: Identity) -> kombu.Connection:
    """A connection, not opened yet, on which the broker confirms every publication."""
    return kombu.Connection(
        broker_url(identity),
        ssl=broker_tls(identity),
        heartbeat=HEARTBEAT_SECONDS,
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        transport_options=transport_options() | {"confirm_publish": True},
    )


def transport_options() -> dict[str, Any]:
    return {
        "socket_settings": {socket.TCP_USER_TIMEOUT: TCP_USER_TIMEOUT_MILLISECONDS},
        "frame_handler": frame_handler,
    }


def task_queue(host: str) -> kombu.Queue:
    """The queue of the tasks of one worker host."""
    return kombu.Queue(queues.tasks_of(host), TASKS, routing_key=host, no_declare=True)


def make_app(identity: Identity) -> Celery:
    """The Celery application of this container.

    Celery transports the tasks, shows them (events, Flower) and answers `celery status`. Retries, time limits
    and results are the framework's own: Celery's stay off.
    """
    app = Celery("framework", set_as_current=True, control=DeclaredControl)
    app.conf.update(
        broker_url=broker_url(identity),
        broker_use_ssl=broker_tls(identity),
        broker_transport_options=transport_options(),
        broker_heartbeat=HEARTBEAT_SECONDS,
        broker_connection_timeout=CONNECT_TIMEOUT_SECONDS,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # no limit: a broker may be away for an hour
        # An exchange or queue is gone, or not ours: trying again would not help.
        broker_channel_error_retry=False,
        # Earlier versions declared others, with other properties, under Celery's own name for it.
        control_exchange=queues.CONTROL,
        # Of queues for replies; RabbitMQ will drop those that are neither durable nor exclusive.
        control_queue_durable=True,
        control_queue_exclusive=False,
        event_queue_exclusive=True,
        accept_content=["json"],
        task_serializer="json",
        event_serializer="json",
        task_ignore_result=True,
        task_acks_late=False,
        task_send_sent_event=False,
        task_default_queue="unused",
        task_create_missing_queues=False,
        # Celery must not know that it is a quorum queue: it would declare 28 more, for delays that are never
        # used.
        task_queues=[task_queue(identity.host)],
        worker_consumer="framework.broker.strict_consumer:Consumer",
        worker_prefetch_multiplier=1,
        worker_send_task_events=True,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        timezone="UTC",
    )
    return app


def publish(
    producer: kombu.Producer, routing_key: str, message: Mapping[str, Any], *, user: str, lasting: bool
) -> None:
    """Publish one JSON message and wait until the broker has it; raises one of BROKER_ERRORS if it has not.

    The broker takes it only if `user` is the one of this connection: the master relies on that.

    After an error the connection must be given up: a confirmation that is still under way would count for the
    next message.
    """
    producer.publish(
        message,
        routing_key=routing_key,
        user_id=user,
        delivery_mode=2 if lasting else 1,
        mandatory=True,
        retry=False,
        timeout=CONFIRM_TIMEOUT_SECONDS,
        confirm_timeout=CONFIRM_TIMEOUT_SECONDS,
    )


def attempt_of(name: object) -> AttemptId | None:
    """The attempt that the id of a Celery task names; None if it names none."""
    try:
        return AttemptId.parse(name)
    except MessageError:
        return None
