"""A master with a messenger that delivers at once, repeats or loses, as the tests tell it to."""

from __future__ import annotations

import csv
import dataclasses
import json
import time
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from framework.files import MasterFiles
from framework.journal.records import TaskRecord
from framework.journal.store import Journal
from framework.master import incoming, master, publisher
from framework.master.master import Master
from framework.messages import requests
from framework.messages.assignment import Assignment
from framework.messages.identity import Identity, worker_user
from framework.messages.metrics import Metric
from framework.messages.requests import Which
from framework.messages.status import Status, read_status
from framework.messages.task_ids import AttemptId, task_id
from framework.scheduler import sweep_state


class Message:
    headers: Mapping[str, Any] = {}

    def __init__(self, routing_key: str, content: Any) -> None:
        self.body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.delivery_info = {"routing_key": routing_key}
        host = content.get("host") if isinstance(content, dict) else None
        self.properties = {"user_id": worker_user(str(host))} if host else {}
        self.acknowledged = False

    def ack(self) -> None:
        self.acknowledged = True


class Messenger:
    """Stands for broker and workers: the test looks at what was sent, and says what comes back."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Assignment]] = []
        self.incoming: list[Message] = []
        self.purged: list[str] = []
        self.stopped: list[tuple[str, str]] = []  # host, attempt
        self.handed_back: list[tuple[str, str]] = []  # the same
        self.waiting: dict[str, int] = {}  # by host: messages in its queue that no worker has taken

    def receive(self, timeout: float) -> list[Message]:
        messages, self.incoming = self.incoming, []
        return messages

    def send(self, host: str, assignment: Assignment) -> None:
        self.sent.append((host, assignment))

    def waiting_for(self, host: str) -> int:
        return self.waiting.get(host, 0)

    def pause(self, seconds: float) -> None:
        master.time.sleep(seconds)  # type: ignore[attr-defined]  # the clock of a test

    def purge(self, host: str) -> int:
        self.purged.append(host)
        return self.waiting.pop(host, 0)

    def stop(self, host: str, attempts: Sequence[AttemptId]) -> None:
        self.stopped += [(host, str(attempt)) for attempt in attempts]

    def hand_back(self, host: str, attempts: Sequence[AttemptId]) -> None:
        self.handed_back += [(host, str(attempt)) for attempt in attempts]

    def close(self) -> None:
        pass

    def beat(
        self,
        host: str,
        slots: int = 1,
        running: Sequence[str] = (),
        incarnation: str = "first",
        reserved: Sequence[str] = (),
        **more: Any,
    ) -> None:
        held = {"running": list(running), "reserved": list(reserved)}
        self.event("beat", host, slots=slots, incarnation=incarnation, **held, **more)

    def started(self, host: str, assignment: Assignment) -> None:
        self.event("started", host, task=assignment.task, attempt=assignment.attempt, started=time.time())

    def event(self, kind: str, host: str, **content: Any) -> None:
        header = {"kind": kind, "infrastructure": "infra-1", "project": "p", "host": host}
        self.incoming.append(Message("reports", header | content))

    def result(
        self,
        host: str,
        assignment: Assignment,
        state: str = "done",
        seconds: float = 60.0,
        code: str = "v1",
        metrics: Mapping[str, Any] = types.MappingProxyType({"loss": 0.5}),
    ) -> Mapping[str, Any]:
        content = {
            "task": assignment.task, "attempt": assignment.attempt, "host": host, "state": state,
            "started": time.time(), "seconds": seconds, "exit_code": int(state != "done"), "reason": "",
            "metrics": dict(metrics), "code": code, "image": "i", "infrastructure": "infra-1", "project": "p",
        }  # fmt: skip
        self.incoming.append(Message("results", content))
        return content


class Clock:
    """Only as much of the module time as the master uses; it stands still but for sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def stand_still(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that the master looks at from now on."""
    clock = Clock()
    for module in (master, sweep_state, incoming, publisher):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(publisher, "STATUS_SECONDS", 0.0)  # a test sees what each turn has done
    return clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return stand_still(monkeypatch)


class Bench:
    """A project on disk and masters for it, one after the other."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.messenger = Messenger()
        self.write_project(x="[1, 2, 3, 4]")
        self.files = MasterFiles(path / "data")
        self.files.path.mkdir()
        self.version_lines = ""  # in VERSION, of a sweep file
        self.master = self.start()

    def write_project(self, x: str, retries: int = 0, more: str = "", version: str = "v1") -> None:
        project = self.path / "code" / version / "project"
        project.mkdir(parents=True, exist_ok=True)
        goal = "" if "goal:" in more else "goal: maximize\n"
        (project / "project.yml").write_text(
            f"command: train\nmetric: loss\n{goal}retries: {retries}\n{more}"
        )
        (project / "parameters.yml").write_text(f"x: {x}\n")
        (project.parent / "VERSION").write_text("framework=f1\nproject=p1\n")
        (self.path / "code/current").unlink(missing_ok=True)
        (self.path / "code/current").symlink_to(version)

    def start(self, image: str = "i") -> Master:
        """A master; the tasks of the current version run in `image`."""
        lines = f"framework=f1\nproject=p1\n{self.version_lines}image={image}\n"
        (self.path / "code/current/VERSION").write_text(lines)
        identity = Identity("master", "infra-1", "p", "local", "broker:5671", "", self.path)
        return Master(identity, self.files, self.path / "code")

    def turn(self) -> list[tuple[str, Assignment]]:
        """One turn; what was sent in it."""
        self.messenger.sent = []
        self.master.turn(self.messenger)
        return self.messenger.sent

    def run_to_the_end(self, states: Mapping[int, str] | None = None, code: str = "v1") -> list[int]:
        """One host runs all there is; values of x that ran, in order, and `states` of those not done."""
        ran = []
        for _ in range(100):
            self.messenger.beat("a", slots=2)
            for host, assignment in self.turn():
                x = assignment.parameters["x"]
                assert isinstance(x, int)
                ran.append(x)
                self.messenger.result(host, assignment, (states or {}).get(x, "done"), code=code)
            if self.status().finished:
                return ran
        raise AssertionError(f"not finished: {self.status()}")

    def ask(self, action: requests.Action, *numbers: int, which: Which | None = None) -> None:
        """What `framework cancel` and so on write, without waiting."""
        tasks = tuple((number, task_id(("train",), {"x": number + 1})) for number in numbers)
        self.files.requests.mkdir(exist_ok=True)
        request = dataclasses.asdict(requests.ControlRequest(action, tasks, which))
        (self.files.requests / "1.json").write_text(json.dumps(request))

    def drain(self, *hosts: str, seconds: float = 60.0) -> None:
        """What `framework drain` writes, without waiting."""
        requests.hand_in(self.files.requests, requests.ControlRequest("drain", hosts=hosts, seconds=seconds))

    def status(self) -> Status:
        return read_status(self.files.status)

    def attempts(self, task: str) -> list[str]:
        """The states of all attempts of a task."""
        with Journal(self.files.journal, read_only=True) as journal:
            return [attempt.state for attempt in journal.attempts(task)]

    def record(self, task: str) -> TaskRecord:
        """What the journal knows of a task."""
        with Journal(self.files.journal, read_only=True) as journal:
            record = journal.get(task)
        assert record is not None
        return record

    def lose(self, clock: Clock) -> Assignment:
        """Send the only task to host a, which falls silent for longer than a lease."""
        self.write_project(x="1")
        self.master = self.start()
        self.messenger.beat("a")
        ((_, assignment),) = self.turn()
        self.messenger.started("a", assignment)
        self.let_leases_end(clock)
        return assignment

    def lose_and_send_again(self, clock: Clock) -> tuple[Assignment, Assignment]:
        """The first attempt of the only task, which is lost with host a, and the second one, on host b."""
        first = self.lose(clock)
        self.messenger.beat("b")
        ((_, second),) = self.turn()
        return first, second

    def let_leases_end(self, clock: Clock) -> None:
        """No worker says anything for longer than a lease, and the master listens all the time."""
        for _ in range(3):
            self.turn()
            clock.now += 10.5

    def rows(self) -> list[dict[str, str]]:
        with self.files.results.open() as file:
            return list(csv.DictReader(file))


@pytest.fixture
def bench(tmp_path: Path, clock: Clock) -> Bench:
    return Bench(tmp_path)


class AdaptiveBench(Bench):
    """A bench whose tasks report their loss."""

    def settings(self, x: str, more: str) -> None:
        self.write_project(x=x, more=more)
        self.master = self.start()

    def reports(self, host: str, assignment: Assignment, *reports: tuple[int, Metric]) -> None:
        content = {
            "kind": "metrics", "infrastructure": "infra-1", "project": "p", "host": host,
            "task": assignment.task, "attempt": assignment.attempt, "metrics": {"loss": reports[-1][1]},
            "reports": [list(report) for report in reports],
        }  # fmt: skip
        self.messenger.incoming.append(Message("reports", content))

    def ends(self, host: str, assignment: Assignment, loss: Metric, state: str = "done") -> None:
        content = dict(self.messenger.result(host, assignment, state, seconds=7.0))
        self.messenger.incoming[-1] = Message("results", content | {"metrics": {"loss": loss}})

    def state_of(self, assignment: Assignment) -> str:
        return self.record(assignment.task).state


@pytest.fixture
def adaptive_bench(tmp_path: Path, clock: Clock) -> AdaptiveBench:
    return AdaptiveBench(tmp_path)
