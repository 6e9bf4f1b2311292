"""The order of durability: a process is killed with SIGKILL at each step, and another one goes on after it.

A worker: the runner has the attempt → its message is acknowledged → it ran → the result is in the spool → the
runner is told to forget it → it is in the attempt's directory → the broker has it → it leaves the spool.
The master: the result is in the journal → it is acknowledged.

The same when the host loses power, and with it the runner, its tasks, and all that was not synced.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
from forgetful_disk import ForgetfulDisk, compile_shim
from forks import ForkServer
from worker_bench import kill_tasks, start_runner

from framework.files import WorkerFiles
from framework.journal.store import Journal
from framework.messages.assignment import Assignment, AttemptResult
from framework.messages.task_ids import task_id

pytestmark = pytest.mark.slow

TASK = task_id(("sh", "run.sh"), {"x": 1})

# Has the runner run the attempt in argv[1]/message, and dies at the step named in argv[2], before or after
# what is done there. It ends when the runner holds nothing any more.
WORKER = """
import json, os, signal, sys, time
from pathlib import Path
from framework.broker import worker_publisher
from framework.worker import results, waiting_attempts, worker
from framework.messages.identity import Identity
from worker_bench import Link

root, step = Path(sys.argv[1]), sys.argv[2]

def die_around(owner, name, place):
    call = getattr(owner, name)
    def replacement(*arguments, **options):
        kill(f"before {place}")
        result = call(*arguments, **options)
        kill(f"after {place}")
        return result
    setattr(owner, name, replacement)

def kill(here):
    if here == step:
        os.kill(os.getpid(), signal.SIGKILL)

def publish(producer, key, message, *, user, lasting):
    kill("before confirmed")
    with open(root / "broker", "a") as broker:
        broker.write(json.dumps(message) + chr(10))
    kill("after confirmed")

def acknowledge():
    kill("before acknowledged")
    (root / "message").unlink()
    kill("after acknowledged")

worker_publisher.publish = publish
die_around(waiting_attempts.WaitingAttempts, "_give", "given")
die_around(worker.Worker, "_on_taken", "taken")
die_around(worker_publisher, "write_atomically", "spooled")
die_around(worker.Worker, "_forget", "forgotten")
die_around(results, "write_atomically", "kept")
identity = Identity("worker", "infra-1", "p", "host1", "broker:5671", "", root)
files = worker.WorkerFiles(root / "data")
sender = worker_publisher.BrokerPublisher(identity, files.spool)
made = worker.Worker(identity, files, root / "code", 1, sender)
results.finish_earlier_results(files)
def send():
    for file in sorted((root / "data/spool").glob("*.json")):
        sender._send_result(None, file)
send()
link = Link(made, files)
link.start()
while not made.has_runner:
    time.sleep(0.01)
kill("in the midst" if made.heartbeat().running else "")
if (root / "message").exists():  # else it was acknowledged
    made.run(json.loads((root / "message").read_text()), acknowledge)
    (root / "message").unlink(missing_ok=True)
while not made.is_idle:
    time.sleep(0.01)
link.close()
send()
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    project = tmp_path / "code/v1/project"
    project.mkdir(parents=True)
    (project / "project.yml").write_text("command: sh run.sh\n")
    (project / "parameters.yml").write_text("x: 1\n")
    # It ends after its message was acknowledged, by another thread: then the order of the steps is certain.
    acknowledged = f"while [ -e '{tmp_path}/message' ]; do sleep 0.02; done"
    (project / "run.sh").write_text(f"echo ran >> '{tmp_path}/ran'\n{acknowledged}\necho loss=0.5\n")
    (tmp_path / "code/v1/VERSION").write_text("framework=f1\nproject=p1\n")
    (tmp_path / "code/current").symlink_to("v1")
    (tmp_path / "data/tasks").mkdir(parents=True)
    assignment = Assignment("infra-1", "p", TASK, 1, {"x": 1})
    (tmp_path / "message").write_text(json.dumps(assignment.to_message()))
    return tmp_path


@cache
def forks() -> ForkServer:
    modules = (
        *("framework.broker.worker_publisher", "framework.master.master", "framework.runner.__main__"),
        *("framework.worker.worker", "worker_bench"),
    )
    return ForkServer(*modules, options=["-S"], environment={"LD_PRELOAD": str(compile_shim())})


def run_program(program: str, root: Path, step: str, disk: ForgetfulDisk | None = None) -> int:
    environment = {"PATH": "/usr/bin:/bin", **(disk.environment if disk else {})}
    return forks().run(program, str(root), step, environment=environment)[0]


def run_worker(root: Path, step: str, disk: ForgetfulDisk | None = None) -> int:
    return run_program(WORKER, root, step, disk)


@pytest.fixture
def runner(root: Path) -> Iterator[None]:
    """A runner that outlives the workers."""
    files = WorkerFiles(root / "data")
    process = start_runner(files)
    yield
    process.kill()
    process.wait()
    kill_tasks(files)


def at_the_broker(root: Path) -> list[AttemptResult]:
    file = root / "broker"
    lines = file.read_text().splitlines() if file.exists() else []
    return [AttemptResult.from_message(json.loads(line)) for line in lines]


STEPS_OF_A_WORKER = [
    "never", "before given", "after given", "before taken", "before acknowledged", "after acknowledged",
    "before spooled", "after spooled", "after forgotten", "after kept", "before confirmed", "after confirmed",
]  # fmt: skip


@pytest.mark.parametrize("step", STEPS_OF_A_WORKER)
def test_a_worker_killed_at_any_step_runs_an_attempt_once_and_loses_no_result(
    root: Path, runner: None, step: str
) -> None:
    assert run_worker(root, step) == (0 if step == "never" else -signal.SIGKILL)
    assert run_worker(root, "never") == 0, "it goes on; the message comes again if it was not acknowledged"
    assert (root / "ran").read_text().splitlines() == ["ran"], "never twice"
    found = at_the_broker(root)
    assert [result.state for result in found] == ["done"] * len(found)
    assert all(result == found[0] for result in found)
    if step == "after confirmed":
        assert len(found) == 2, "it was not known that the broker has it"
    elif step in ("after spooled", "after forgotten", "after kept"):
        assert len(found) in (1, 2), "the publisher may have sent it by then"
    else:
        assert len(found) == 1
    assert list((root / "data/spool").glob("*.json")) == []
    assert not (root / "message").exists()
    assert (root / "data/tasks" / TASK / "1/result.json").exists()


def test_a_worker_that_is_killed_while_a_task_runs_delivers_its_result(root: Path, runner: None) -> None:
    script = root / "code/v1/project/run.sh"
    script.write_text(f"{script.read_text()}until [ -e '{root}/go' ]; do sleep 0.05; done\n")
    assert run_worker(root, "after acknowledged") == -signal.SIGKILL
    assert run_worker(root, "in the midst") == -signal.SIGKILL, "it is named at once"
    (root / "go").touch()
    assert run_worker(root, "never") == 0
    assert (root / "ran").read_text().splitlines() == ["ran"]
    assert [result.state for result in at_the_broker(root)] == ["done"]


@contextmanager
def runner_on(disk: ForgetfulDisk, root: Path) -> Iterator[None]:
    """A runner that ends with its tasks, as their host does."""
    files = WorkerFiles(root / "data")
    process = start_runner(files, os.environ | disk.environment, forks())
    try:
        yield
    finally:
        process.kill()
        process.wait()
        kill_tasks(files)


@pytest.mark.parametrize("step", STEPS_OF_A_WORKER)
def test_a_host_that_loses_power_at_any_step_loses_no_attempt_and_no_result(
    root: Path, tmp_path_factory: pytest.TempPathFactory, step: str
) -> None:
    (root / "data").mkdir(exist_ok=True)
    disk = ForgetfulDisk(root / "data", tmp_path_factory.mktemp("disk"))
    with runner_on(disk, root):
        assert run_worker(root, step, disk) == (0 if step == "never" else -signal.SIGKILL)
    told = at_the_broker(root)
    disk.cut_power()
    with runner_on(disk, root):
        assert run_worker(root, "never", disk) == 0, "it goes on; an unacknowledged message comes again"
    found = at_the_broker(root)
    assert found[: len(told)] == told
    assert found, "what was acknowledged has an end"
    assert all(result == found[0] for result in found), "the broker is never told otherwise"
    runs = len((root / "ran").read_text().splitlines())
    if STEPS_OF_A_WORKER.index(step) >= STEPS_OF_A_WORKER.index("after spooled") or step == "never":
        assert (found[0].state, runs) == ("done", 1)
    assert runs <= 2, "what ran when the power went may run again"
    assert list((root / "data/spool").glob("*.json")) == []
    assert not (root / "message").exists()
    assert (root / "data/tasks" / TASK / "1/result.json").exists() or found[0].state == "lost"


MASTER = """
import json, os, signal, sys, time
from pathlib import Path
from framework.messages.identity import Identity
from framework.master.master import Master
from framework.files import MasterFiles

root, step = Path(sys.argv[1]), sys.argv[2]

def kill(here):
    if here == step:
        os.kill(os.getpid(), signal.SIGKILL)

class Message:
    properties = {"user_id": "worker@host1"}
    def __init__(self, file, key):
        self.file, self.body, self.delivery_info = file, file.read_bytes(), {"routing_key": key}
    def ack(self):
        kill("before acknowledged")
        self.file.unlink(missing_ok=True)
        kill("after acknowledged")

class Link:
    def receive(self, timeout):
        return [Message(file, file.name.split("-")[0]) for file in sorted((root / "queue").iterdir())]
    def send(self, host, assignment):
        kill("before sent")
        with open(root / "sent", "a") as sent:
            sent.write(json.dumps(assignment.to_message()) + chr(10))
        kill("after sent")
    def waiting_for(self, host): return 0
    def purge(self, host): return 0
    def stop(self, host, names): pass
    def hand_back(self, host, names): pass
    def close(self): pass

identity = Identity("master", "infra-1", "p", "local", "broker:5671", "", root)
master = Master(identity, MasterFiles(root / "master"), root / "code")
execute = master._journal._execute
def traced(statement, *values):
    if statement == "COMMIT" and any((root / "queue").glob("results*")):
        kill("before committed")
    cursor = execute(statement, *values)
    if statement == "COMMIT" and any((root / "queue").glob("results*")):
        kill("after committed")
    return cursor
master._journal._execute = traced
for _ in range(3):
    master.turn(Link())
"""


def run_master(root: Path, step: str, disk: ForgetfulDisk | None = None) -> int:
    return run_program(MASTER, root, step, disk)


BEAT = {
    "infrastructure": "infra-1", "project": "p", "host": "host1",
    "kind": "beat", "incarnation": "x", "slots": 1, "running": [], "reserved": [],
}  # fmt: skip


@pytest.mark.parametrize("loses_power", [False, True], ids=["killed", "loses power"])
@pytest.mark.parametrize(
    "step",
    ["never", "before committed", "after committed", "before acknowledged", "after acknowledged"],
)
def test_a_master_that_dies_at_any_step_writes_each_result_once(
    root: Path, tmp_path_factory: pytest.TempPathFactory, step: str, loses_power: bool
) -> None:
    (root / "master").mkdir()
    (root / "queue").mkdir()
    disk = ForgetfulDisk(root / "master", tmp_path_factory.mktemp("disk")) if loses_power else None
    (root / "queue/reports-1").write_text(json.dumps(BEAT))
    assert run_master(root, "never", disk) == 0
    (sent,) = (root / "sent").read_text().splitlines()
    task = json.loads(sent)["task"]
    result = AttemptResult(task, 1, "host1", "done", 1.0, 1.0, 0, "", {}, "v1", "", "infra-1", "p")
    (root / "queue/results-1").write_text(json.dumps(result.to_message()))
    assert run_master(root, step, disk) == (0 if step == "never" else -signal.SIGKILL)
    if disk:
        disk.cut_power()
    (root / "queue/reports-2").write_text(json.dumps(BEAT))
    assert run_master(root, "never", disk) == 0
    assert list((root / "queue").iterdir()) == []
    assert len((root / "sent").read_text().splitlines()) == 1
    with Journal(root / "master/journal.sqlite", read_only=True) as journal:
        record = journal.get(task)
        assert record is not None
        assert (record.state, record.attempts) == ("done", 1)


@pytest.mark.parametrize("step", ["before sent", "after sent"])
def test_an_assignment_is_on_the_disk_before_it_is_sent(
    root: Path, tmp_path_factory: pytest.TempPathFactory, step: str
) -> None:
    (root / "master").mkdir()
    (root / "queue").mkdir()
    disk = ForgetfulDisk(root / "master", tmp_path_factory.mktemp("disk"))
    (root / "queue/reports-1").write_text(json.dumps(BEAT))
    assert run_master(root, step, disk) == -signal.SIGKILL
    assert (root / "sent").exists() == (step == "after sent")
    disk.cut_power()
    with Journal(root / "master/journal.sqlite", read_only=True) as journal:
        assert [attempt.attempt for attempt in journal.under_way()] == [1]
