"""A broker of its own on this machine, and what somebody can do with the credentials of one worker host."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import amqp
import kombu
import pytest
from celery import Celery
from celery.events import EventReceiver
from fixtures import cannot
from testbed import CHECKOUT, execute, wait_for

from framework.broker import celery_app
from framework.broker.celery_app import BROKER_ERRORS, TASK_NAME, connect, make_app, publish
from framework.broker.master_connection import MasterConnection
from framework.files import MasterFiles
from framework.master.master import Master
from framework.messages.assignment import Assignment
from framework.messages.identity import Identity
from framework.messages.status import Status, read_status

NAME = "infrainit-test-broker-users"


class Broker:
    """A broker that was started as infrainit.sh does, and the secrets of its users."""

    def __init__(self, path: Path) -> None:
        self.tool = path / "tool"
        for each in ("framework/shell", "docker/broker"):
            shutil.copytree(CHECKOUT / each, self.tool / each)
        self.secrets = self.tool / ".infra/secrets"
        self.make_secrets("w1", "w2")
        image = self.shell("make_broker_image", CHECKOUT).splitlines()[-1]
        execute(["docker", "rm", "--force", "--volumes", NAME], check=False)
        execute([
            "docker", "run", "--detach", "--init", "--name", NAME, "--hostname", "broker", "--memory", "512m",
            "--user", f"{os.getuid()}:{os.getgid()}", "--cap-drop", "ALL", "--env", "HOME=/var/lib/rabbitmq",
            "--env", "RABBITMQ_NODENAME=rabbit@localhost", "--env", "ERL_EPMD_ADDRESS=127.0.0.1",
            "--mount", f"type=bind,source={self.secrets}/broker,target=/secrets,readonly",
            "--publish", "127.0.0.1::5671", "--entrypoint", "/bin/sh", image, "/secrets/start",
        ])  # fmt: skip
        wait_for("the broker listens", self.listens, seconds=120)
        port = execute(["docker", "port", NAME, "5671/tcp"]).stdout.rpartition(":")[2].strip()
        self.address = f"127.0.0.1:{port}"

    def shell(self, command: str, checkout: Path | None = None) -> str:
        """What functions of the tool print."""
        source = (checkout or self.tool) / "framework/shell/all.sh"
        script = f"set -euo pipefail; source {str(source)!r}; {command}"
        return execute(["bash", "-c", script]).stdout

    def make_secrets(self, *hosts: str) -> None:
        self.shell(f"make_secrets localhost 127.0.0.1 -- {' '.join(hosts)}")

    def listens(self) -> bool:
        port = ["rabbitmq-diagnostics", "-q", "check_port_listener", "5671"]
        return execute(["docker", "exec", NAME, *port], check=False).returncode == 0

    def set_users(self, *hosts: str) -> str:
        """Do what infrainit.sh does when the worker hosts change."""
        self.make_secrets(*hosts)
        users = ["master", "flower", *(f"worker@{host}" for host in hosts)]
        with (self.secrets / "hashes/users.json").open() as definitions:
            return subprocess.run(
                ["docker", "exec", "--interactive", NAME, "sh", "/secrets/set_users", *users],
                stdin=definitions, capture_output=True, text=True, check=True,
            ).stdout  # fmt: skip

    def rabbitmqctl(self, *words: str) -> str:
        return execute(["docker", "exec", NAME, "rabbitmqctl", "--quiet", *words]).stdout

    def identity(self, role: str, host: str = "local") -> Identity:
        directory = f"worker@{host}" if role == "worker" else role
        return Identity(role, "infra-1", "p", host, self.address, "i", self.secrets / directory)

    @contextmanager
    def channel(self, role: str, host: str = "local") -> Iterator[amqp.Channel]:
        with connect(self.identity(role, host)) as connection:
            yield connection.default_channel


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    if shutil.which("docker") is None or execute(["docker", "info"], check=False).returncode != 0:
        cannot("no Docker engine answers this user, so there is no broker to test")
    broker = Broker(tmp_path_factory.mktemp("broker"))
    assert broker.rabbitmqctl("list_users", "--no-table-headers").split() == [], "no guest, and nobody else"
    broker.set_users("w1", "w2")
    yield broker
    execute(["docker", "rm", "--force", "--volumes", NAME])


# What the credentials of a host are good for


OWN = ("tasks.w1", "worker@w1.control.pidbox")
QUEUES = ("results", "reports", "dead", "tasks.w2", "worker@w2.control.pidbox", *OWN)
EXCHANGES = ("tasks", "reports", "control.pidbox", "reply.control.pidbox", "celeryev")
DURABLE: dict[str, Any] = {"durable": True, "auto_delete": False}
QUORUM = {"x-queue-type": "quorum"}

Attack: TypeAlias = Callable[[amqp.Channel], Any]

ATTACKS: dict[str, Attack] = {
    "declare an exchange": lambda it: it.exchange_declare("mine", "fanout", **DURABLE),
    "declare a queue": lambda it: it.queue_declare("mine", **DURABLE),
    "declare an exclusive queue": lambda it: it.queue_declare("", exclusive=True),
    "declare the queue of a host to come": lambda it: it.queue_declare(
        "tasks.w3", arguments=QUORUM, **DURABLE
    ),
    "declare queues for delays": lambda it: it.queue_declare("celery_delayed_0", **DURABLE),
    "get the tasks of another host, too": lambda it: it.queue_bind("tasks.w1", "tasks", "w2"),
    "get what workers report": lambda it: it.queue_bind("tasks.w1", "reports", "results"),
    "get what others are asked": lambda it: it.queue_bind("tasks.w1", "control.pidbox"),
    "get the answers of others": lambda it: it.queue_bind("tasks.w1", "reply.control.pidbox", "x"),
    "stop the tasks of another host": lambda it: it.queue_unbind("tasks.w2", "tasks", "w2"),
    "send replies as tasks": lambda it: it.queue_bind("tasks.w2", "reply.control.pidbox", "x"),
    "send events as orders": lambda it: it.queue_bind("worker@w2.control.pidbox", "celeryev", "#"),
    "send reports as orders": lambda it: it.exchange_bind("control.pidbox", "reports", "x"),
    "send reports as tasks": lambda it: it.exchange_bind("tasks", "reports", "w2"),
}


def on_queue(method: str, name: str) -> Attack:
    return lambda it: getattr(it, method)(name)


def publication(exchange: str, key: str) -> Attack:
    return lambda it: it.basic_publish_confirm(
        amqp.Message("{}"), exchange=exchange, routing_key=key, confirm_timeout=10
    )


for name in EXCHANGES:
    ATTACKS[f"delete the exchange {name}"] = on_queue("exchange_delete", name)
for name in QUEUES:
    ATTACKS[f"delete the queue {name}"] = on_queue("queue_delete", name)
    if name not in OWN:
        ATTACKS[f"purge the queue {name}"] = on_queue("queue_purge", name)
        ATTACKS[f"consume the queue {name}"] = on_queue("basic_consume", name)
        ATTACKS[f"read the queue {name}"] = on_queue("basic_get", name)
    ATTACKS[f"publish to the queue {name}"] = publication("", name)
for host in ("w1", "w2"):
    ATTACKS[f"publish a task for {host}"] = publication("tasks", host)
ATTACKS["publish an order"] = publication("control.pidbox", "")
for name in ("amq.direct", "amq.topic", "amq.fanout", "amq.headers"):
    ATTACKS[f"publish to {name}"] = publication(name, "x")


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_the_credentials_of_a_host_do_no_harm_to_others(broker: Broker, attack: Attack) -> None:
    with broker.channel("worker", "w1") as channel, pytest.raises(amqp.AccessRefused):
        attack(channel)


@pytest.mark.parametrize("user", ["worker@w2", "master", "w2"])
def test_a_message_cannot_name_another_user(broker: Broker, user: str) -> None:
    with broker.channel("worker", "w1") as channel:
        producer = kombu.Producer(channel, celery_app.FROM_WORKERS, auto_declare=False)
        with pytest.raises(amqp.PreconditionFailed, match="user_id"):
            publish(producer, "results", {}, user=user, lasting=True)


def test_the_password_of_a_host_is_no_good_for_another_user(broker: Broker, tmp_path: Path) -> None:
    for name in ("ca.pem", "cert.pem", "key.pem"):
        shutil.copy(broker.secrets / "worker@w2" / name, tmp_path)
    shutil.copy(broker.secrets / "worker@w1/password", tmp_path)
    identity = Identity("worker", "infra-1", "p", "w2", broker.address, "i", tmp_path)
    with pytest.raises(amqp.AccessRefused), connect(identity) as connection:
        connection.connect()


# What the master takes


class Sweep:
    """A master of a small sweep, on a connection to the broker, and what workers say to it."""

    def __init__(self, broker: Broker, path: Path) -> None:
        self.broker = broker
        project = path / "code/v1/project"
        project.mkdir(parents=True)
        (project / "project.yml").write_text("command: train\nmetric: loss\ngoal: maximize\n")
        (project / "parameters.yml").write_text("x: [1, 2, 3, 4]\n")
        (path / "code/v1/VERSION").write_text("framework=f1\nproject=p1\nimage=i\n")
        (path / "code/current").symlink_to("v1")
        self.files = MasterFiles(path / "data")
        self.files.path.mkdir()
        identity = broker.identity("master")
        self.app = make_app(identity)
        self.sent: list[tuple[str, Assignment]] = []
        self.connection = self.connect()
        self.master = Master(identity, self.files, path / "code")

    def connect(self) -> MasterConnection:
        connection = MasterConnection(self.app, connect(self.broker.identity("master")))
        connection.open()
        send = connection.send

        def note(host: str, assignment: Assignment) -> None:
            send(host, assignment)
            self.sent.append((host, assignment))

        connection.send = note  # type: ignore[method-assign]
        return connection

    def close(self) -> None:
        self.connection.close()
        self.master.close()

    @property
    def status(self) -> Status:
        return read_status(self.files.status)

    def turn(self, until: Callable[[], bool]) -> None:
        def turns() -> bool:
            self.master.turn(self.connection)
            return until()

        wait_for("the master has taken what was sent", turns, seconds=20)

    def say(self, host: str, queue: str, content: dict[str, Any], user: str | None = None) -> None:
        """Publish with the credentials of a host."""
        content = {"infrastructure": "infra-1", "project": "p"} | content
        with self.broker.channel("worker", host) as channel:
            producer = kombu.Producer(channel, celery_app.FROM_WORKERS, serializer="json", auto_declare=False)
            options = {} if user == "" else {"user_id": user or f"worker@{host}"}
            producer.publish(content, routing_key=queue, mandatory=True, **options)

    def beat(self, host: str, **more: Any) -> None:
        beat = {
            "kind": "beat", "host": host, "incarnation": "x", "slots": 1, "running": [], "reserved": [],
            "notice": "", "unfit": False,
        }  # fmt: skip
        self.say(host, "reports", beat | more)

    def reasons(self) -> list[str]:
        return [json.loads(line)["reason"] for line in self.files.quarantine.read_text().splitlines()]


@pytest.fixture
def sweep(broker: Broker, tmp_path: Path) -> Iterator[Sweep]:
    for queue in ("results", "reports", "dead", "tasks.w1", "tasks.w2"):
        broker.rabbitmqctl("purge_queue", "--vhost", "tasks", queue)
    sweep = Sweep(broker, tmp_path)
    yield sweep
    sweep.close()


def result(host: str, assignment: Assignment, **changed: Any) -> dict[str, Any]:
    return {
        "task": assignment.task, "attempt": assignment.attempt, "host": host, "state": "done",
        "started": time.time(),
        "seconds": 1.0, "exit_code": 0, "reason": "", "metrics": {"loss": 0.5}, "code": "v1", "image": "i",
    } | changed  # fmt: skip


def test_only_the_host_itself_can_say_what_it_says(sweep: Sweep) -> None:
    sweep.beat("w1")
    sweep.beat("w2")
    sweep.turn(lambda: len(sweep.sent) == 2)
    mine, others = dict(sweep.sent)["w1"], dict(sweep.sent)["w2"]
    of_others = {"task": others.task, "attempt": others.attempt}
    forged: list[tuple[str, dict[str, Any], str | None]] = [
        ("results", result("w2", others), None),  # in another host's name
        ("results", result("w2", others), ""),  # without saying whose message it is
        ("results", result("w1", others), None),  # what another host was sent
        ("results", result("w1", mine, attempt=2), None),  # what nobody was sent
        ("results", result("w1", mine, attempt=2**31 - 1), None),
        ("results", result("w1", mine, task="0" * 16), None),
        ("reports", {"kind": "started", "host": "w2", "started": 1.0} | of_others, None),
        ("reports", {"kind": "started", "host": "w1", "started": 1.0} | of_others, None),
        (
            "reports",
            {"kind": "metrics", "host": "w1", "metrics": {"loss": 9}, "reports": []} | of_others,
            None,
        ),
    ]
    for number, (queue, content, user) in enumerate(forged, 1):
        sweep.say("w1", queue, content, user)
        sweep.turn(lambda number=number: sweep.status.quarantined == number)  # type: ignore[misc]
    assert sweep.status.done == 0
    assert sum("sent with the credentials of" in reason for reason in sweep.reasons()) == 3
    for host, assignment in (("w1", mine), ("w2", others)):
        sweep.say(host, "results", result(host, assignment))
    sweep.turn(lambda: sweep.status.done == 2)
    assert sweep.status.quarantined == len(forged)
    assert all(assignment.attempt == 1 for _, assignment in sweep.sent)


def test_a_dead_letter_keeps_the_name_of_its_user(broker: Broker, sweep: Sweep) -> None:
    sweep.beat("w1")
    sweep.turn(lambda: len(sweep.sent) == 1)
    ((host, assignment),) = sweep.sent
    sweep.connection.close()  # or it would take the result
    sweep.say(host, "results", result(host, assignment))
    with broker.channel("master") as channel:
        message = channel.basic_get("results")
        channel.basic_reject(message.delivery_tag, requeue=False)
    sweep.connection = sweep.connect()
    sweep.turn(lambda: sweep.status.done == 1)


def test_a_heartbeat_in_another_hosts_name_renews_nothing(sweep: Sweep) -> None:
    sweep.beat("w1")
    sweep.turn(lambda: len(sweep.sent) == 1)
    beat = {"kind": "beat", "host": "w2", "incarnation": "x", "slots": 9, "running": [], "reserved": []}
    sweep.say("w1", "reports", beat | {"notice": "", "unfit": False})
    sweep.turn(lambda: sweep.status.quarantined == 1)
    assert list(sweep.status.hosts) == ["w1"]


# A worker's Celery

WORKER = """
import sys, threading, time
from types import SimpleNamespace
from framework.broker.worker_app import make_worker_app
from framework.messages.identity import Identity
from pathlib import Path

address, secrets = sys.argv[1:]
leaving = threading.Event()

def run(message, acknowledge):
    print("RUN", message["task"], flush=True)
    acknowledge()
    leaving.wait()  # a long task

def leave(stopped):
    print("LEAVE", stopped, flush=True)
    leaving.set()

worker = SimpleNamespace(
    identity=Identity("worker", "infra-1", "p", "w1", address, "i", Path(secrets)),
    run=run, reserve=lambda attempt: None, release=lambda attempt: None,
    stop_attempts=lambda attempts: print("STOP", *attempts, flush=True),
    hand_back=lambda attempts: print("HAND BACK", *attempts, flush=True),
)
make_worker_app(worker, leave).worker_main([
    "worker", "--hostname=worker@w1", "--pool=threads", "--concurrency=2", "--without-mingle",
    "--without-gossip", "--loglevel=INFO",
])
"""


@contextmanager
def worker(broker: Broker, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER, broker.address, str(broker.secrets / "worker@w1")],
            stdout=output, stderr=subprocess.STDOUT, env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
        )  # fmt: skip
    try:
        wait_for("the worker is ready", lambda: " ready." in log.read_text(), seconds=60)
        yield process
    finally:
        process.kill()
        process.wait()


def ping(app: Celery) -> list[Any]:
    return list(app.control.ping(destination=["worker@w1"], timeout=5, limit=1))


def test_a_worker_needs_no_more_than_it_may(broker: Broker, sweep: Sweep, tmp_path: Path) -> None:
    log = tmp_path / "log"
    before = broker.rabbitmqctl("list_queues", "--vhost", "tasks", "name")
    with worker(broker, log) as process:
        assert ping(sweep.app) == [{"worker@w1": {"ok": "pong"}}]
        sweep.beat("w1")
        sweep.turn(lambda: len(sweep.sent) == 1)
        ((host, assignment),) = sweep.sent
        wait_for("it runs", lambda: f"RUN {assignment.task}" in log.read_text(), seconds=20)
        sweep.connection.stop(host, [assignment.id])
        wait_for("it is told to stop", lambda: f"STOP {assignment.id}" in log.read_text(), seconds=20)
        flower = make_app(broker.identity("flower"))
        assert flower.control.inspect(timeout=5, limit=1).registered() == {"worker@w1": [TASK_NAME]}
        events: list[str] = []
        with flower.connection() as connection:
            note = {"*": lambda event: events.append(event["type"])}
            receiver = EventReceiver(connection, note, app=flower)  # as Flower makes it
            receiver.capture(limit=1, timeout=20, wakeup=True)
        assert events == ["worker-heartbeat"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert "LEAVE True" in log.read_text()
    assert "ACCESS_REFUSED" not in log.read_text(), log.read_text()
    wait_for(
        "queues of their own are gone",
        lambda: broker.rabbitmqctl("list_queues", "--vhost", "tasks", "name") == before,
        seconds=30,
    )


def test_a_worker_whose_control_queue_is_gone_ends_and_what_runs_goes_on(
    broker: Broker, sweep: Sweep, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    try:
        with worker(broker, log) as process:
            sweep.beat("w1")
            sweep.turn(lambda: len(sweep.sent) == 1)
            wait_for("it runs", lambda: "RUN" in log.read_text(), seconds=20)
            broker.rabbitmqctl("delete_queue", "--vhost", "tasks", "worker@w1.control.pidbox")
            process.wait(30)
        assert "LEAVE False" in log.read_text(), "the runner is not told to stop what runs"
        assert "the broker refuses what this worker needs" in log.read_text()
        assert log.read_text().count("Connection to broker lost") <= 1
    finally:
        broker.set_users("w1", "w2")
    with worker(broker, tmp_path / "again"):
        assert ping(sweep.app) == [{"worker@w1": {"ok": "pong"}}]


# When the hosts change


def test_a_host_that_is_taken_out_is_cut_off_at_once_and_nobody_else(broker: Broker) -> None:
    started = execute(["docker", "inspect", "--format", "{{.State.StartedAt}}", NAME]).stdout
    first, second = connect(broker.identity("worker", "w1")), connect(broker.identity("worker", "w2"))
    with first, second:
        first.connect()
        second.connect()
        assert broker.set_users("w1", "w3") == "worker@w2 may not use the broker any more\n"
        with pytest.raises(amqp.ConnectionForced), pytest.raises(TimeoutError):
            second.drain_events(timeout=5)
        with pytest.raises(TimeoutError):
            first.drain_events(timeout=1)
        assert first.connected
    with pytest.raises(BROKER_ERRORS), connect(broker.identity("worker", "w2")) as connection:
        connection.connect()
    with broker.channel("worker", "w3") as channel:  # a new one
        channel.basic_get("tasks.w3")
    earlier = (broker.secrets / "worker@w2/password").read_text()
    broker.shell("forget_workers w1 w3")
    broker.set_users("w1", "w2", "w3")
    assert (broker.secrets / "worker@w2/password").read_text() != earlier
    with broker.channel("worker", "w2") as channel:
        channel.basic_get("tasks.w2")
    assert execute(["docker", "inspect", "--format", "{{.State.StartedAt}}", NAME]).stdout == started


def test_a_restart_brings_no_user_back(broker: Broker) -> None:
    broker.set_users("w1")
    execute(["docker", "restart", NAME])
    wait_for("the broker listens", broker.listens, seconds=120)
    users = broker.rabbitmqctl("list_users", "--no-table-headers").split()[::2]
    assert sorted(users) == ["flower", "master", "worker@w1"]
    broker.set_users("w1", "w2")
