"""The master with a messenger that delivers at once, repeats, or loses: one terminal record for each task."""

from __future__ import annotations

import csv
import json
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from framework import dispatch
from framework.broker import Identity
from framework.dispatch import Master
from framework.files import MasterFiles
from framework.journal import Journal
from framework.status import read_status
from framework.task import Assignment


class Message:
    def __init__(self, routing_key: str, content: Any) -> None:
        self.body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.delivery_info = {"routing_key": routing_key}
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

    def receive(self, timeout: float) -> list[Message]:
        messages, self.incoming = self.incoming, []
        return messages

    def send(self, host: str, assignment: Assignment) -> None:
        self.sent.append((host, assignment))

    def waiting_for(self, host: str) -> int:
        return 0

    def purge(self, host: str) -> int:
        self.purged.append(host)
        return 0

    def stop(self, host: str, attempts: Sequence[str]) -> None:
        self.stopped += [(host, attempt) for attempt in attempts]

    def close(self) -> None:
        pass

    def beat(
        self,
        host: str,
        slots: int = 1,
        running: Sequence[str] = (),
        incarnation: str = "first",
        reserved: Sequence[str] = (),
    ) -> None:
        held = {"running": list(running), "reserved": list(reserved)}
        self._news("beat", host, slots=slots, incarnation=incarnation, **held)

    def started(self, host: str, assignment: Assignment) -> None:
        self._news("started", host, task=assignment.task, attempt=assignment.attempt, started=time.time())

    def _news(self, kind: str, host: str, **content: Any) -> None:
        header = {"kind": kind, "infrastructure": "infra-1", "project": "p", "host": host}
        self.incoming.append(Message("reports", header | content))

    def result(
        self, host: str, assignment: Assignment, state: str = "done", seconds: float = 60.0
    ) -> Mapping[str, Any]:
        content = {
            "task": assignment.task, "attempt": assignment.attempt, "host": host, "state": state,
            "started": time.time(), "seconds": seconds, "exit_code": int(state != "done"), "reason": "",
            "metrics": {"loss": 0.5}, "code": "v1", "image": "i", "infrastructure": "infra-1", "project": "p",
        }  # fmt: skip
        self.incoming.append(Message("results", content))
        return content


class Clock:
    """Only as much of the module time as the master uses; it stands still until told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return time.time()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(dispatch, "time", clock)
    return clock


class Bench:
    """A project on disk and masters for it, one after the other."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.messenger = Messenger()
        self.write_project(x="[1, 2, 3, 4]")
        self.files = MasterFiles(path / "data")
        self.files.path.mkdir()
        self.master = self.start()

    def write_project(self, x: str, retries: int = 0) -> None:
        project = self.path / "code/v1/project"
        project.mkdir(parents=True, exist_ok=True)
        (project / "project.yml").write_text(f"command: train\nmetric: loss\nretries: {retries}\n")
        (project / "parameters.yml").write_text(f"x: {x}\n")
        (self.path / "code/v1/VERSION").write_text("framework=f1\nproject=p1\n")
        if not (self.path / "code/current").exists():
            (self.path / "code/current").symlink_to("v1")

    def start(self) -> Master:
        identity = Identity("master", "infra-1", "p", "local", "broker:5671", "sha256:1", self.path)
        return Master(identity, self.files, self.path / "code")

    def turn(self) -> list[tuple[str, Assignment]]:
        """One turn; what was sent in it."""
        self.messenger.sent = []
        self.master.turn(self.messenger)
        return self.messenger.sent

    def rows(self) -> list[dict[str, str]]:
        with self.files.results.open() as file:
            return list(csv.DictReader(file))


@pytest.fixture
def bench(tmp_path: Path, clock: Clock) -> Bench:
    return Bench(tmp_path)


def test_every_combination_is_sent_once_and_no_more_than_there_are_slots(bench: Bench) -> None:
    bench.messenger.beat("a", slots=2)
    bench.messenger.beat("b", slots=1)
    first = bench.turn()
    assert sorted(host for host, _ in first) == ["a", "a", "b"]
    assert bench.turn() == []
    for host, assignment in first:
        bench.messenger.result(host, assignment)
    (last,) = bench.turn()
    bench.messenger.result(*last)
    bench.turn()
    assert [row["x"] for row in bench.rows()] == ["1", "2", "3", "4"]
    assert {row["state"] for row in bench.rows()} == {"done"}
    status = read_status(bench.files.status)
    assert (status.finished, status.done, status.failed, status.waiting) == (True, 4, 0, 0)


def test_without_workers_a_set_that_has_all_its_results_is_finished(bench: Bench) -> None:
    bench.messenger.beat("a", slots=4)
    for host, assignment in bench.turn():
        bench.messenger.result(host, assignment)
    bench.turn()
    bench.master = bench.start()
    assert bench.turn() == []
    assert read_status(bench.files.status).finished


def test_a_result_that_comes_again_changes_nothing(bench: Bench) -> None:
    bench.write_project(x="[1, 2]", retries=1)
    bench.master = bench.start()
    bench.messenger.beat("a", slots=2)
    (host, assignment), _ = bench.turn()
    bench.messenger.result(host, assignment, "failed")
    bench.messenger.result(host, assignment, "failed")
    ((_, again),) = bench.turn()
    assert (again.task, again.attempt) == (assignment.task, 2)
    bench.messenger.result(host, assignment, "failed")
    assert bench.turn() == []
    bench.messenger.result(host, again)
    bench.messenger.result(host, again, "failed")
    bench.turn()
    with Journal(bench.files.journal, read_only=True) as journal:
        record = journal.get(assignment.task)
        assert record is not None
        assert (record.state, record.attempts) == ("done", 2)


def test_a_failed_task_is_tried_again_elsewhere_as_often_as_the_project_says(bench: Bench) -> None:
    bench.write_project(x="1", retries=1)
    bench.master = bench.start()
    bench.messenger.beat("a")
    bench.messenger.beat("b")
    ((first_host, first),) = bench.turn()
    bench.messenger.result(first_host, first, "failed")
    ((second_host, second),) = bench.turn()
    assert second_host != first_host
    assert second.attempt == 2
    bench.messenger.result(second_host, second, "timeout")
    assert bench.turn() == []
    assert [(row["state"], row["attempts"]) for row in bench.rows()] == [("failed", "2")]
    assert read_status(bench.files.status).finished


def test_a_stopped_attempt_is_no_failure(bench: Bench) -> None:
    bench.write_project(x="1")
    bench.master = bench.start()
    bench.messenger.beat("a")
    ((host, assignment),) = bench.turn()
    bench.messenger.result(host, assignment, "stopped")
    ((_, again),) = bench.turn()
    assert again.attempt == 2


def test_what_a_silent_worker_held_is_sent_to_another(bench: Bench, clock: Clock) -> None:
    bench.write_project(x="1")
    bench.master = bench.start()
    bench.messenger.beat("a")
    ((host, assignment),) = bench.turn()
    bench.messenger.started(host, assignment)
    bench.turn()
    for _ in range(4):
        clock.now += 10
        bench.messenger.beat("b")
        sent = bench.turn()
    ((host, again),) = sent
    assert (host, again.task, again.attempt) == ("b", assignment.task, 2)
    assert bench.messenger.purged == ["a"]
    # The lost one was alive after all, and is first: its result stays.
    bench.messenger.result("a", assignment)
    bench.turn()
    bench.messenger.result("b", again, "failed")
    bench.turn()
    assert [(row["state"], row["host"]) for row in bench.rows()] == [("done", "a")]


def test_a_task_that_loses_five_workers_has_failed(bench: Bench, clock: Clock) -> None:
    bench.write_project(x="1")
    bench.master = bench.start()
    attempts = []
    for incarnation in range(20):
        bench.messenger.beat("a", incarnation=str(incarnation))
        for host, assignment in bench.turn():
            attempts.append(assignment.attempt)
            bench.messenger.started(host, assignment)
        clock.now += 4
    assert attempts == [1, 2, 3, 4, 5]
    (row,) = bench.rows()
    assert (row["state"], row["attempts"]) == ("failed", "5")


def test_a_paused_master_does_not_take_its_own_silence_for_that_of_the_workers(
    bench: Bench, clock: Clock
) -> None:
    bench.messenger.beat("a", slots=4)
    assert len(bench.turn()) == 4
    receive = bench.messenger.receive

    def paused(timeout: float) -> list[Message]:
        clock.now += 300
        return receive(timeout)

    bench.messenger.receive = paused  # type: ignore[method-assign]
    assert bench.turn() == []


def test_a_new_master_goes_on_where_the_old_one_ended(bench: Bench) -> None:
    bench.messenger.beat("a", slots=2)
    (host, one), (_, two) = bench.turn()
    bench.messenger.result(host, one)
    bench.turn()
    bench.master = bench.start()
    bench.messenger.beat("a", slots=2, running=[f"{two.task}.1"])
    assert bench.turn() == [], "one is done, two and its successor were sent by the old master"
    bench.messenger.result(host, two)
    assert len(bench.turn()) == 1
    assert read_status(bench.files.status).done == 2


def test_a_task_of_an_older_set_is_not_counted_in_the_new_one(bench: Bench) -> None:
    bench.messenger.beat("a", slots=1)
    ((host, old),) = bench.turn()
    bench.write_project(x="[7, 8]")
    bench.master = bench.start()
    bench.messenger.beat("a", slots=2, running=[f"{old.task}.1"])
    bench.turn()
    bench.messenger.result(host, old)
    bench.turn()
    status = read_status(bench.files.status)
    assert (status.total, status.done) == (2, 0)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff not JSON",
        b"[]",
        {"infrastructure": "infra-2", "project": "p", "kind": "beat"},
        {"infrastructure": "infra-1", "project": "q", "kind": "beat"},
        {"infrastructure": "infra-1", "project": "p", "kind": "nonsense"},
        {"infrastructure": "infra-1", "project": "p", "kind": "beat", "host": "a"},
        {"infrastructure": "infra-1", "project": "p", "task": "0123456789abcdef"},
    ],
)
@pytest.mark.parametrize("routing_key", ["results", "reports"])
def test_a_message_that_makes_no_sense_is_set_aside(bench: Bench, routing_key: str, content: Any) -> None:
    message = Message(routing_key, content)
    bench.messenger.incoming.append(message)
    bench.messenger.beat("a", slots=4)
    assert len(bench.turn()) == 4
    assert message.acknowledged


def lose(bench: Bench, clock: Clock) -> Assignment:
    """Send the one task to host a, which falls silent for longer than a lease."""
    bench.write_project(x="1")
    bench.master = bench.start()
    bench.messenger.beat("a")
    ((_, assignment),) = bench.turn()
    bench.messenger.started("a", assignment)
    bench.turn()
    clock.now += 31
    return assignment


def attempts(bench: Bench, task: str) -> list[str]:
    with Journal(bench.files.journal, read_only=True) as journal:
        return [attempt.state for attempt in journal.attempts(task)]


def test_a_worker_that_returns_with_its_task_keeps_it_and_the_younger_attempt_is_stopped(
    bench: Bench, clock: Clock
) -> None:
    first = lose(bench, clock)
    bench.messenger.beat("b")
    ((_, second),) = bench.turn()
    bench.messenger.started("b", second)
    name, younger = f"{first.task}.1", f"{first.task}.2"
    for _ in range(2):
        clock.now += 3
        bench.messenger.beat("a", running=[name])
        bench.messenger.beat("b", running=[younger])
        assert bench.turn() == []
    assert bench.messenger.stopped == [("b", younger)]
    assert attempts(bench, first.task) == ["running", "stopped"]
    bench.messenger.result("b", second, "stopped")
    assert bench.turn() == []
    # The new owner is an owner like any other: its lease counts, and another attempt follows.
    clock.now += 31
    bench.messenger.beat("b")
    ((_, third),) = bench.turn()
    assert third.attempt == 3
    bench.messenger.result("b", third)
    bench.turn()
    assert [(row["state"], row["attempts"]) for row in bench.rows()] == [("done", "3")]


def test_a_worker_that_returns_before_the_task_was_sent_again_keeps_it(bench: Bench, clock: Clock) -> None:
    first = lose(bench, clock)
    assert bench.turn() == []
    bench.messenger.beat("a", running=[f"{first.task}.1"])
    bench.messenger.beat("b")
    assert bench.turn() == []
    bench.messenger.result("a", first)
    bench.turn()
    assert [(row["state"], row["attempts"]) for row in bench.rows()] == [("done", "1")]


def test_what_a_returned_worker_only_reserved_is_not_run_there(bench: Bench, clock: Clock) -> None:
    first = lose(bench, clock)
    bench.messenger.beat("b")
    assert len(bench.turn()) == 1
    for _ in range(2):
        bench.messenger.beat("a", reserved=[f"{first.task}.1"])
        bench.messenger.beat("b", running=[f"{first.task}.2"])
        bench.turn()
    assert bench.messenger.stopped == [("a", f"{first.task}.1")]
    assert attempts(bench, first.task) == ["lost", "sent"]


def test_an_attempt_of_a_task_that_has_ended_is_stopped_until_beats_name_it_no_more(
    bench: Bench, clock: Clock
) -> None:
    first = lose(bench, clock)
    bench.messenger.beat("b")
    ((_, second),) = bench.turn()
    bench.messenger.result("b", second)
    for _ in range(3):
        bench.messenger.beat("a", running=[f"{first.task}.1"])
        bench.turn()
    assert bench.messenger.stopped == [("a", f"{first.task}.1")] * 2
    bench.messenger.beat("a")
    bench.messenger.beat("a", running=[f"{first.task}.1"])
    bench.turn()
    assert len(bench.messenger.stopped) == 2, "one beat may be older than the result"


def test_a_restarted_master_knows_which_attempt_is_under_way(bench: Bench, clock: Clock) -> None:
    first = lose(bench, clock)
    bench.messenger.beat("b")
    bench.turn()
    bench.messenger.beat("a", running=[f"{first.task}.1"])
    bench.turn()
    bench.master = bench.start()
    bench.messenger.beat("a", running=[f"{first.task}.1"])
    bench.messenger.beat("b")
    assert bench.turn() == []
    assert attempts(bench, first.task) == ["running", "stopped"]


@pytest.mark.parametrize("seed", range(5))
def test_whatever_happens_each_task_ends_with_one_record(bench: Bench, clock: Clock, seed: int) -> None:
    """Results lost, repeated and late; workers silent, back, and restarted; masters killed."""
    rng = random.Random(seed)
    count = 60
    bench.write_project(x=str(list(range(count))), retries=2)
    bench.master = bench.start()
    held: dict[str, list[Assignment]] = {"a": [], "b": [], "c": []}
    incarnations = dict.fromkeys(held, 0)
    silent = dict.fromkeys(held, 0.0)  # out of reach until then: their tasks run on
    for _ in range(4000):
        clock.now += rng.choice([0.5, 1, 3])
        for host, assignments in held.items():
            event = rng.random()
            if event < 0.05:
                incarnations[host] += 1
                assignments.clear()
            elif event < 0.06:
                silent[host] = clock.now + rng.choice([5, 40, 100])
            elif silent[host] > clock.now:
                continue
            elif event < 0.4 and assignments:
                assignment = assignments.pop(rng.randrange(len(assignments)))
                for _ in range(rng.choice([1, 1, 1, 2])):
                    bench.messenger.result(
                        host, assignment, rng.choice(["done", "done", "failed", "stopped"])
                    )
            if rng.random() < 0.8:
                running = [f"{each.task}.{each.attempt}" for each in assignments]
                bench.messenger.beat(host, 3, running, str(incarnations[host]))
        if rng.random() < 0.02:
            bench.master = bench.start()
        for host, assignment in bench.turn():
            if rng.random() < 0.95:
                held[host].append(assignment)
        for host, name in bench.messenger.stopped:
            for assignment in [each for each in held[host] if f"{each.task}.{each.attempt}" == name]:
                if rng.random() < 0.9:
                    held[host].remove(assignment)
                    bench.messenger.result(host, assignment, rng.choice(["stopped", "stopped", "done"]))
        bench.messenger.stopped.clear()
        if read_status(bench.files.status).finished:
            break
    rows = bench.rows()
    assert [int(row["x"]) for row in rows] == list(range(count))
    assert len({row["task"] for row in rows}) == count
    status = read_status(bench.files.status)
    assert status.done + status.failed == count
