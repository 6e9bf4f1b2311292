"""Master: its loop, with a messenger that delivers at once, repeats, or loses."""

from __future__ import annotations

import random

import pytest
from master_bench import Bench, Clock, Message, Messenger

from framework.errors import BrokerBlocked
from framework.messages.assignment import Assignment
from framework.messages.status import read_status


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


def test_a_sweep_that_has_all_its_results_is_finished_without_workers(bench: Bench) -> None:
    bench.messenger.beat("a", slots=4)
    for host, assignment in bench.turn():
        bench.messenger.result(host, assignment)
    bench.turn()
    bench.master = bench.start()
    assert bench.turn() == []
    assert read_status(bench.files.status).finished


def test_a_suspended_master_does_not_take_its_own_silence_for_that_of_the_workers(
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


def test_a_broker_that_hangs_does_not_cost_the_workers_their_leases(bench: Bench, clock: Clock) -> None:
    bench.messenger.beat("a", slots=4)
    assert len(bench.turn()) == 4

    def hang(host: str) -> int:
        clock.now += 40
        return 0

    bench.messenger.waiting_for = hang  # type: ignore[method-assign]
    clock.now += 10
    assert bench.turn() == []
    assert bench.messenger.purged == []


def test_a_new_master_continues_where_the_old_one_ended(bench: Bench) -> None:
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


def test_a_master_without_room_for_its_journal_waits_and_continues(
    bench: Bench, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = bench.master._journal
    bench.messenger.beat("a", slots=4)
    assigned = bench.turn()
    pages = journal._value("PRAGMA page_count")
    journal._connection.execute(f"PRAGMA max_page_count = {pages}")
    events: list[str] = []

    class Link(Messenger):
        errors: tuple[type[Exception], ...] = (OSError,)

        def __init__(self, *_: object) -> None:
            super().__init__()

        def open(self) -> None:
            events.append("open")
            for host, assignment in assigned:
                self.result(host, assignment)

        def receive(self, timeout: float) -> list[Message]:
            bench.master._stopping = not self.incoming
            return super().receive(timeout)

    def sleep(seconds: float) -> None:
        clock.now += seconds
        if clock.now > 1060:
            journal._connection.execute("PRAGMA max_page_count = 1000000")
            events.append("room")
        elif clock.now > 1030:
            events.append(" ".join(bench.status().notices))

    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(clock, "sleep", sleep, raising=False)
    bench.master.run(Link)
    assert events[-1] == "open"
    assert "room" in events
    assert "the master waits for room" in events[0]
    assert events.count("open") == 1, "results are not fetched before they can be written"
    assert bench.status().done == 4


def test_a_blocked_broker_is_waited_for_and_costs_no_attempt(
    bench: Bench, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.messenger.beat("a", slots=4)
    assigned = bench.turn()
    links: list[Messenger] = []
    said: list[list[str]] = []

    def lasts() -> bool:
        clock.now += 60  # the workers cannot be heard for as long
        said.append(bench.status().notices)
        return len(said) < 3

    class Link(Messenger):
        errors: tuple[type[Exception], ...] = (OSError,)

        def __init__(self, *_: object) -> None:
            super().__init__()
            links.append(self)

        def open(self) -> None:
            if len(links) > 1:
                self.beat("a", slots=4, running=[f"{sent.task}.{sent.attempt}" for _, sent in assigned])

        def receive(self, timeout: float) -> list[Message]:
            if len(links) == 1:
                raise BrokerBlocked(lasts)
            bench.master._stopping = not self.incoming
            return super().receive(timeout)

    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(
        clock, "sleep", lambda seconds: setattr(clock, "now", clock.now + seconds), raising=False
    )
    bench.master.run(Link)
    assert "its memory or its disk is running out" in said[1][0]
    assert (len(links), links[0].sent, links[1].sent) == (2, [], [])
    assert {state for _, sent in assigned for state in bench.attempts(sent.task)} <= {"sent", "running"}
    assert bench.status().notices == []


@pytest.mark.parametrize("seed", range(5))
def test_each_task_ends_with_one_record_whatever_happens(bench: Bench, clock: Clock, seed: int) -> None:
    """Results lost, repeated and late; workers silent, back, and restarted; masters killed; tasks
    cancelled, and the set stopped."""
    rng = random.Random(seed)
    count = 60
    bench.write_project(x=str(list(range(1, count + 1))), retries=2)
    bench.master = bench.start()
    held: dict[str, list[Assignment]] = {"a": [], "b": [], "c": []}
    incarnations = dict.fromkeys(held, 0)
    cancelled: set[int] = set()
    silent = dict.fromkeys(held, 0.0)  # out of reach until then: their tasks run on
    for turn in range(4000):
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
        match rng.random():
            case chance if chance < 0.01:
                number = rng.randrange(count)
                bench.ask("cancel", number)
                cancelled.add(number + 1)
            case chance if chance < 0.02:
                bench.ask("pause")
            case chance if chance < 0.1 and bench.files.pause.exists():
                bench.ask("resume")
            case chance if chance > 0.97 and turn < 200:
                bench.ask("again", which=rng.choice(["failed", "outdated", "failed", "all"]))
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
    assert [int(row["x"]) for row in rows] == list(range(1, count + 1))
    assert len({row["task"] for row in rows}) == count
    assert {int(row["x"]) for row in rows if row["state"] == "cancelled"} <= cancelled
    status = bench.status()
    assert status.ended == count
