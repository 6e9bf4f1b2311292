"""What happens to messages that nobody of ours has sent, or that were sent before: nothing."""

from __future__ import annotations

import json

import pytest
from checkout import Checkout, at
from sets import MASTER, WORKERS, TaskSet
from testbed import HOST1, HOST2, wait_for

pytestmark = pytest.mark.usefixtures("infrastructure")

# Runs in the containers, with their addresses, certificates and passwords.
BEGIN = """
import bz2, glob, json, sqlite3, sys
from struct import pack
sys.path.insert(0, "/code/current")
from pathlib import Path
import amqp, kombu
from framework.broker import celery_app as broker
from framework.messages.identity import Identity

identity = Identity.of_container(sys.argv[1])
app = broker.make_app(identity)
connection = broker.connect(identity)
producer = kombu.Producer(connection, auto_declare=False)
sent = 0

def put(exchange, key, body, **options):
    global sent
    options["user_id"] = identity.broker_user
    producer.publish(body, exchange=exchange, routing_key=key, mandatory=True, **options)
    sent += 1

PACKED = bz2.compress(bytes(2**28))
GARBAGE = (
    (b"\\xff garbage", dict(content_type="application/json", content_encoding="utf-8")),
    (b"{", dict(content_type="application/json", content_encoding="utf-8")),
    (b"garbage", dict(content_type="text/plain", content_encoding="nonsense")),
    (b"cos\\nsystem\\n", dict(content_type="application/x-python-serialize", content_encoding="binary")),
    ({"x": 1}, {}),
    ({"x": 1}, dict(headers={"compression": "gzip"})),
    (PACKED, dict(headers={"compression": "bzip2"}, content_type="text/plain", content_encoding="binary")),
    (PACKED, dict(content_type="text/plain", content_encoding="bz2")),
    ({"x": "y" * 4_000_000}, {}),
)

class Raw(amqp.Message):
    "A message with properties as they are in no client."

    def _serialize_properties(self):
        return self.raw

def table(content):
    return pack(">I", len(content)) + content

def nested(depth):
    return table(b"" if depth == 0 else b"\\x01xF" + nested(depth - 1))

sys.setrecursionlimit(10_000)
HEADERS = pack(">H", 0x2000)
PROPERTIES = (
    HEADERS + nested(5000),
    HEADERS + nested(900),
    HEADERS + table(b"\\x01tT" + pack(">Q", 2**63)),
    pack(">H", 0x8000) + b"\\x02\\xff\\xfe",
    pack(">H", 0x0400) + b"\\x02\\xff\\xfe",
)

def put_raw(exchange, key, properties, body=b"{}"):
    global sent
    message = Raw(body)
    message.raw = properties
    channel = connection.default_channel
    channel.basic_publish(message, exchange=exchange, routing_key=key, confirm_timeout=20)
    sent += 1

def put_garbage(exchange, key):
    for body, options in GARBAGE:
        put(exchange, key, body, **options)
    for properties in PROPERTIES:
        put_raw(exchange, key, properties)
    # A header with other routing keys, so that the first one may be anything.
    put_raw(exchange, b"\\xff\\xfe", HEADERS + table(b"\\x02CCA" + table(b"S" + table(key.encode()))))
    try:
        with broker.connect(identity) as other:
            other.default_channel.basic_publish(
                amqp.Message("y" * 5_000_000), exchange=exchange, routing_key=key, confirm_timeout=20
            )
    except amqp.PreconditionFailed:
        pass
    else:
        sys.exit("the broker has taken a message of 5 MB")
"""

# To workers, as the master's user.
ASSIGNMENTS = """
TASK_HEADERS = {"task": broker.TASK_NAME, "id": "0123456789abcdef.1", "retries": 0, "timelimit": [None, None]}
journal = sqlite3.connect("file:/data/journal.sqlite?mode=ro", uri=True)
TASK, HOST = journal.execute("SELECT task, host FROM tasks WHERE number = 0").fetchone()
RIGHT = {
    "infrastructure": identity.infrastructure, "project": identity.project,
    "task": TASK, "attempt": 9, "parameters": {"n": 0},
}

def assign(assignment, **changed):
    headers = {name: value for name, value in (TASK_HEADERS | changed).items() if value != "left out"}
    put("tasks", HOST, [[assignment], {}, {}], headers=headers, serializer="json")

put_garbage("tasks", HOST)
for payload in (5, None, [], [1, 2, 3], [[RIGHT], {}, {"callbacks": [RIGHT]}], [[RIGHT], {"x": 1}, {}]):
    put("tasks", HOST, payload, headers=TASK_HEADERS, serializer="json")
for changed in (
    {"id": None}, {"id": "left out"}, {"id": "nonsense"}, {"task": "os.system"}, {"task": 5},
    {"eta": "nonsense"}, {"eta": "2999-01-01T00:00:00"}, {"expires": "2001-01-01T00:00:00"},
    {"retries": "x"}, {"timelimit": "x"},
):
    assign(RIGHT, **changed)
for changed in (
    {"infrastructure": "another"}, {"project": "another"}, {"task": "0123456789abcdef"}, {"attempt": 0},
    {"parameters": {"n": 99}}, {"parameters": {"n": "x" * 4_000_000}}, {"command": "rm -rf /"},
):
    assign(RIGHT | changed)
print(sent)
assign(RIGHT | {"attempt": 1})  # the message of an attempt that has ended, once more
"""

# To the master, as the user of a worker host.
FROM_WORKERS = """
result = json.loads(Path(sorted(glob.glob("/infrainit/tasks/*/1/result.json"))[0]).read_text())
beat = {
    "kind": "beat", "infrastructure": identity.infrastructure, "project": identity.project,
    "host": identity.host, "slots": 1, "incarnation": "x", "running": [], "reserved": [], "notice": "",
}
for key in ("results", "reports"):
    put_garbage("reports", key)
for changed in (
    {"infrastructure": "another"}, {"project": "another"}, {"task": "0123456789abcdef"}, {"attempt": 0},
    {"state": "fine"}, {"seconds": -1}, {"metrics": {"x": [1]}}, {"more": 1},
    {"started": 2**53 - 1}, {"seconds": 2**53 - 1}, {"metrics": {"x": 10**400}}, {"host": "\\x1b[2J"},
    {"metrics": dict.fromkeys(map(str, range(40_000)), 1)},
):
    put("reports", "results", result | changed)
for changed in (
    {"infrastructure": "another"}, {"kind": "nonsense"}, {"running": ["x"]}, {"slots": -1}, {"more": 1},
):
    put("reports", "reports", beat | changed)
print(sent)
put("reports", "results", result)  # once more
put("reports", "results", result | {"state": "failed", "exit_code": 1})  # it has ended
"""


def test_bad_and_repeated_messages_are_never_run_and_never_fatal(checkout: Checkout) -> None:
    tasks = TaskSet(checkout, "bad messages", 36, 3)
    tasks.start()
    tasks.wait("tasks have ended on every host", lambda status: status["done"] >= 6, 60)
    before = tasks.status()["quarantined"]
    bad = int(tasks.python(MASTER, "master", BEGIN + ASSIGNMENTS))
    bad += int(tasks.python(HOST2, "worker", BEGIN + FROM_WORKERS))
    outcome = tasks.finish()
    tasks.check(outcome, repeats=0)
    tasks.wait("all of them are counted", lambda status: status["quarantined"] - before == bad, 30)
    assert [row["attempts"] for row in outcome.rows] == tasks.tasks * ["1"]
    for role, host in (("master", MASTER), ("worker", HOST1), ("worker", HOST2)):
        restarts = at(checkout.bed, host, "inspect", "--format", "{{.RestartCount}}", tasks.role(role))
        assert int(restarts) == 0, f"{role} on {host.name}"


# A queue like those of the workers, and somebody who takes a message from it and does not acknowledge it.
DECLARE = """
cat >/tmp/control.json <<'DEFINITIONS'
{
  "queues": [{"name": "tasks.control", "vhost": "tasks", "durable": true, "auto_delete": false,
    "arguments": {"x-queue-type": "quorum"}}],
  "bindings": [{"source": "tasks", "vhost": "tasks", "destination": "tasks.control",
    "destination_type": "queue", "routing_key": "control", "arguments": {}}]
}
DEFINITIONS
rabbitmqctl --quiet import_definitions /tmp/control.json
"""
HOLD = """
import time
put("tasks", "control", {})
channel, held = connection.channel(), []
channel.basic_consume("tasks.control", callback=held.append)
deadline = time.monotonic() + 60
try:
    while time.monotonic() < deadline:
        try:
            connection.drain_events(timeout=1)
        except TimeoutError:
            pass
except connection.connection_errors as error:
    print(len(held), type(error).__name__)
"""


def test_a_task_that_takes_longer_than_the_broker_waits_for_an_acknowledgement_runs_once(
    checkout: Checkout, request: pytest.FixtureRequest
) -> None:
    tasks = TaskSet(checkout, "long", 6, 25)
    policies = json.loads(tasks.rabbitmqctl("list_policies", "--vhost", "tasks", "--formatter", "json"))
    (policy,) = [it for it in policies if it["name"] == "tasks"]
    definition = json.loads(policy["definition"])

    def set_policy(**changed: int) -> None:
        applies = "--priority", "1", "--apply-to", policy["apply-to"], policy["name"], policy["pattern"]
        tasks.rabbitmqctl("set_policy", "--vhost", "tasks", *applies, json.dumps(definition | changed))

    # Finalizers, as what fails in them is told besides the test's own error, not in its place.
    request.addfinalizer(set_policy)
    set_policy(**{"consumer-timeout": 3000})
    tasks.start()

    def are_acknowledged() -> bool:
        held = tasks.queues("messages_unacknowledged")
        return {held[f"tasks.{host.name}"] for host in WORKERS} == {0}

    # Not when they have ended, after 25 s; a quorum queue tells its numbers every 5 s.
    wait_for("tasks that are started are acknowledged", are_acknowledged, 15)
    at(checkout.bed, MASTER, "exec", tasks.role("broker"), "sh", "-c", DECLARE)
    request.addfinalizer(lambda: tasks.rabbitmqctl("delete_queue", "--vhost", "tasks", "tasks.control"))
    assert tasks.python(MASTER, "master", BEGIN + HOLD).split() == ["1", "ConsumerCancelled"]
    outcome = tasks.finish()
    tasks.check(outcome, repeats=0)
    assert [row["attempts"] for row in outcome.rows] == 6 * ["1"]
