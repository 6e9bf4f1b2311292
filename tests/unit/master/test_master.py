"""Master: its loop, with a messenger that delivers at once, repeats, or loses."""

from __future__ import annotations

import os
import random
import signal
import sys
from itertools import pairwise
from typing import Any, get_args

import pytest
from hypothesis import settings
from master_bench import Bench, Clock, Message, Messenger

from framework.configuration.load import load_code
from framework.errors import BrokerBlocked, FrameworkError, JournalError
from framework.files import Code
from framework.journal.records import AttemptEnd
from framework.journal.store import Journal
from framework.master import master
from framework.messages.assignment import Assignment
from framework.messages.status import read_status
from framework.project.project import Project
from framework.scheduler import copies


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


THOROUGH = settings.get_current_profile_name() == "thorough"
OF_A_MINUTE, SHORT = (range(5), range(5, 8)) if THOROUGH else (range(3), range(5, 6))


@pytest.mark.parametrize(
    ("seed", "count", "seconds", "at_once"),
    [*((seed, 60, 60.0, 1) for seed in OF_A_MINUTE), *((seed, 240, 0.01, 40) for seed in SHORT)],
)
@pytest.mark.slow
def test_each_task_ends_with_one_record_whatever_happens(
    bench: Bench, clock: Clock, seed: int, count: int, seconds: float, at_once: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Results lost, repeated and late; workers silent, back, and restarted; masters killed; tasks
    cancelled, and the set stopped. Short tasks wait at a host, and end `at_once`; at the end of the set,
    whatever runs is copied as soon as a slot is idle."""
    monkeypatch.setattr(copies, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(copies, "TIMES_AS_LONG", 0.0)
    rng = random.Random(seed)
    bench.write_project(x=str(list(range(1, count + 1))), retries=2)
    bench.master = bench.start()
    held: dict[str, list[Assignment]] = {"a": [], "b": [], "c": []}
    incarnations = dict.fromkeys(held, 0)
    cancelled: set[int] = set()
    were_copied: set[tuple[str, int, str]] = set()
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
                for _ in range(min(at_once, len(assignments))):
                    assignment = assignments.pop(rng.randrange(len(assignments)))
                    for _ in range(rng.choice([1, 1, 1, 2])):
                        bench.messenger.result(
                            host, assignment, rng.choice(["done", "done", "failed", "stopped"]), seconds
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
        journal, hosts = bench.master._journal, bench.master._sweep._hosts
        copied = {(each.task, each.attempt, each.host) for each in journal.copied()}
        under_way = {(each.task, each.attempt, each.host) for each in journal.under_way()}
        assert {(each.id.task, each.id.number, each.host) for each in hosts.attempts} == under_way | copied
        assert {(each.id.task, each.id.number, each.host) for each in hosts.under_way} == under_way
        were_copied |= copied
        if read_status(bench.files.status).finished:
            break
    assert were_copied
    assert {each.state for each in journal.member_attempts()} <= {*get_args(AttemptEnd)}
    rows = bench.rows()
    assert [int(row["x"]) for row in rows] == list(range(1, count + 1))
    assert len({row["task"] for row in rows}) == count
    assert {int(row["x"]) for row in rows if row["state"] == "cancelled"} <= cancelled
    status = bench.status()
    assert status.ended == count


def test_results_are_acknowledged_when_they_are_in_the_journal(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.messenger.beat("a")
    ((host, assignment),) = bench.turn()
    bench.messenger.result(host, assignment)
    (message,) = bench.messenger.incoming
    states: list[str] = []
    monkeypatch.setattr(message, "ack", lambda: states.append(bench.record(assignment.task).state))
    bench.turn()
    assert states == ["done"], "another connection to the journal sees what was committed"


def with_results(bench: Bench) -> list[Message]:
    """Messages of short tasks that wait for the next turn; results.csv is not due in it."""
    bench.write_project(x=str(list(range(1, 31))), retries=1)
    bench.master = bench.start()
    bench.messenger.beat("a", slots=4)
    for host, assignment in bench.turn():
        bench.messenger.result(host, assignment)
    for index, (host, assignment) in enumerate(bench.turn()):
        bench.messenger.started(host, assignment)
        if index:
            bench.messenger.result(host, assignment, "failed" if index == 1 else "done")
    bench.messenger.beat("a", slots=4)
    return list(bench.messenger.incoming)


def test_a_turn_commits_once_then_acknowledges_then_sends(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = with_results(bench)
    events: list[str] = []
    for message in messages:
        monkeypatch.setattr(message, "ack", lambda: events.append("ack"))
    monkeypatch.setattr(bench.messenger, "send", lambda *_: events.append("send"))

    def note(statement: str) -> None:
        if statement in ("COMMIT", "ROLLBACK"):
            events.append(statement)

    bench.master._journal._connection.set_trace_callback(note)
    bench.turn()
    assert events == ["COMMIT", *["ack"] * len(messages), *["send"] * 3]


def test_nothing_is_acknowledged_or_sent_if_the_journal_has_not_committed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = with_results(bench)
    journal = bench.master._journal
    execute = journal._execute

    def fail(statement: str, *values: object) -> Any:
        if statement == "COMMIT":
            raise JournalError("no room")
        return execute(statement, *values)

    with monkeypatch.context() as patch:
        patch.setattr(journal, "_execute", fail)
        with pytest.raises(JournalError):
            bench.turn()
    assert bench.messenger.sent == []
    assert not any(message.acknowledged for message in messages)
    bench.master._sweep.load()  # as a master does with its next connection, which delivers them again
    bench.messenger.incoming = messages
    assert len(bench.turn()) == 3
    assert all(message.acknowledged for message in messages)
    assert bench.status().done == 6


def test_a_turn_without_news_writes_nothing_into_the_journal(bench: Bench, clock: Clock) -> None:
    bench.messenger.beat("a", slots=2)
    bench.turn()
    changes = bench.master._journal._connection.total_changes
    for _ in range(3):
        clock.now += 1
        bench.messenger.beat("a", slots=2)
        bench.turn()
    assert bench.master._journal._connection.total_changes == changes


def test_turns_keep_a_distance_only_while_hosts_have_enough_to_do(bench: Bench, clock: Clock) -> None:
    bench.write_project(x="{range: [1, 401, 1]}")
    bench.master = bench.start()

    def waits(seconds: float) -> float:
        """Let some time pass; returns how long the next turn waits after that."""
        clock.now += seconds
        before = clock.now
        sent.extend(bench.turn())
        return clock.now - before

    sent: list[tuple[str, Assignment]] = []
    bench.messenger.beat("a", slots=2)
    assert waits(1) == 0
    assert waits(0) == 0
    for host, assignment in sent:
        bench.messenger.result(host, assignment, seconds=0.001)
    assert waits(0) == 0
    assert len(sent) > 50
    assert waits(0) == pytest.approx(master.GATHER_SECONDS)
    assert waits(master.GATHER_SECONDS / 2) == pytest.approx(master.GATHER_SECONDS / 2)
    assert waits(master.GATHER_SECONDS) == pytest.approx(0)
    bench.ask("pause")
    waits(1)
    assert waits(0) == 0


# Leases.


def test_a_task_that_waits_in_the_queue_of_a_live_host_is_not_lost(bench: Bench, clock: Clock) -> None:
    bench.write_project(x="1")
    bench.master = bench.start()
    bench.messenger.beat("a")
    ((_, assignment),) = bench.turn()
    bench.messenger.waiting["a"] = 1
    for _ in range(20):
        clock.now += 5
        bench.messenger.beat("a")
        assert bench.turn() == []
    assert bench.attempts(assignment.task) == ["sent"]
    bench.messenger.waiting["a"] = 0
    bench.messenger.beat("a")
    ((_, again),) = bench.turn()
    assert again.attempt == 2
    assert bench.attempts(assignment.task) == ["lost", "sent"]
    assert bench.messenger.purged == []


def test_attempts_that_died_with_their_worker_are_lost_although_others_wait_in_its_queue(
    bench: Bench, clock: Clock
) -> None:
    bench.messenger.beat("a", slots=2)
    (host, started), (_, queued) = bench.turn()
    bench.messenger.started(host, started)
    bench.turn()
    bench.messenger.waiting["a"] = 1
    for _ in range(12):
        clock.now += 3
        bench.messenger.beat("a", slots=2, incarnation="second")
        bench.turn()
    assert bench.attempts(started.task)[0] == "lost"
    assert bench.status().hosts["a"].lost == 1
    assert bench.attempts(queued.task) == ["sent"]


def test_the_queue_of_a_silent_host_is_emptied_before_its_tasks_are_sent_elsewhere(
    bench: Bench, clock: Clock
) -> None:
    bench.messenger.beat("a", slots=4)
    sent = bench.turn()
    bench.messenger.waiting["a"] = 4
    for _ in range(4):
        clock.now += 10
        bench.messenger.beat("b", slots=4)
        again = bench.turn()
    assert bench.messenger.purged == ["a"]
    assert [(host, each.attempt) for host, each in again] == [("b", 2)] * 4
    with Journal(bench.files.journal, read_only=True) as journal:
        reason = journal.attempts(sent[0][1].task)[0].reason
    assert reason == "no sign of its worker on a for 30 s"


def test_the_broker_is_asked_something_every_few_seconds(
    bench: Bench, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    def waiting_for(_: str) -> int:
        asked.append(clock.now)
        return 0

    monkeypatch.setattr(bench.messenger, "waiting_for", waiting_for)
    bench.turn()
    assert asked == [], "there is no host yet"
    bench.messenger.beat("a", slots=0)
    for _ in range(12):
        bench.turn()
        clock.now += 1
    assert [later - earlier for earlier, later in pairwise(asked)] == [master.BROKER_CHECK_SECONDS] * 2


# Connections.


class Broker:
    """Connections that fail as often as they are told to; then the master is stopped."""

    errors: tuple[type[Exception], ...] = (OSError,)

    def __init__(self, bench: Bench, clock: Clock, failures: int) -> None:
        self.bench, self.clock, self.failures = bench, clock, failures
        self.opened: list[float] = []
        self.closed = 0
        self.notices: list[str] = []

    def __call__(self) -> Any:
        broker = self

        class Link(Messenger):
            errors = broker.errors

            def open(self) -> None:
                broker.opened.append(broker.clock.now)
                if len(broker.opened) <= broker.failures:
                    raise ConnectionResetError
                broker.bench.master._stopping = True

            def close(self) -> None:
                broker.closed += 1

        return Link()


def test_the_pause_between_two_connections_grows_up_to_a_limit(
    bench: Bench, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)
    broker = Broker(bench, clock, failures=7)
    bench.master.run(broker)
    pauses = [later - earlier for earlier, later in pairwise(broker.opened)]
    assert pauses == [1, 2, 4, 8, 15, 15, 15]
    assert broker.closed == 8, "each connection is closed"


def test_the_pause_begins_anew_after_a_connection_and_the_notice_is_over(
    bench: Bench, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)
    opened: list[float] = []
    notices: list[list[str]] = []

    class Link(Messenger):
        errors: tuple[type[Exception], ...] = (OSError,)

        def open(self) -> None:
            opened.append(clock.now)
            if len(opened) in (1, 2):
                raise ConnectionResetError

        def receive(self, timeout: float) -> list[Message]:
            if len(opened) == 3 and notices:
                raise ConnectionResetError
            bench.master._stopping = len(opened) == 4
            return []

        def close(self) -> None:
            notices.append(bench.status().notices if bench.files.status.exists() else [])

    publish = bench.master._publisher.publish

    def publish_and_look(**options: bool) -> None:
        publish(**options)
        notices.append(bench.status().notices)

    monkeypatch.setattr(bench.master._publisher, "publish", publish_and_look)
    bench.master.run(Link)
    assert [later - earlier for earlier, later in pairwise(opened)] == [1, 2, 1]
    assert any(
        "the broker does not answer (ConnectionResetError())" in each for text in notices for each in text
    )
    assert notices[-1] == []


def test_requests_are_executed_while_there_is_no_connection(
    bench: Bench, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)
    bench.ask("pause")
    bench.master.run(Broker(bench, clock, failures=1))
    assert bench.status().paused
    assert list(bench.files.requests.iterdir()) == []


def test_a_signal_ends_the_master_while_it_waits_for_the_broker(
    bench: Bench, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    handlers: dict[int, Any] = {}
    monkeypatch.setattr("signal.signal", handlers.__setitem__)

    def sleep(seconds: float) -> None:
        clock.now += seconds
        handlers[signal.SIGTERM](signal.SIGTERM, None)

    monkeypatch.setattr(clock, "sleep", sleep)
    broker = Broker(bench, clock, failures=100)
    bench.master.run(broker)
    assert len(broker.opened) == 1
    assert set(handlers) == {signal.SIGTERM, signal.SIGINT}
    with pytest.raises(FrameworkError):
        bench.master.turn(bench.messenger)  # its journal is closed


# New code.


def test_a_master_restarts_for_new_code_that_is_valid_and_refuses_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Restarted(BaseException):
        pass

    commands: list[tuple[str, list[str], str]] = []
    closed: list[bool] = []

    def execv(program: str, command: list[str]) -> None:
        commands.append((program, command, os.environ["PYTHONPATH"]))
        raise Restarted

    monkeypatch.setattr(os, "execv", execv)
    monkeypatch.setenv("PYTHONPATH", "old")
    monkeypatch.setattr(bench.messenger, "close", lambda: closed.append(True))
    loaded: list[Code] = []

    def load_and_note(code: Code, name: str) -> Project:
        loaded.append(code)
        return load_code(code, name)

    monkeypatch.setattr(master, "load_code", load_and_note)
    bench.write_project(x="[", version="v2")
    for _ in range(3):
        bench.messenger.beat("a", slots=0)
        bench.turn()
    assert len(loaded) == 1, "what was refused is not read again in each turn"
    assert (bench.status().refused_version, bench.status().version) == ("v2", "v1")
    assert "code v2 was pushed but not taken up: " in bench.status().notices[0]
    assert len(bench.status().notices) == 1
    assert (commands, closed) == ([], [])
    bench.write_project(x="[1, 2]", version="v3")
    with pytest.raises(Restarted):
        bench.turn()
    expected = [sys.executable, "-m", "framework", "master"]
    assert commands == [(sys.executable, expected, str(bench.path / "code/v3"))]
    assert closed == [True]
    with pytest.raises(FrameworkError, match="closed database"):
        bench.master._journal.counts()


def test_attempts_under_way_are_sent_again_as_they_are(bench: Bench) -> None:
    bench.messenger.beat("a", slots=2)
    sent = bench.turn()
    bench.master = bench.start()
    bench.messenger.sent.clear()
    bench.master.send_again(bench.messenger)
    assert sorted(bench.messenger.sent, key=str) == sorted(sent, key=str)


def test_refused_code_is_forgotten_when_the_code_that_runs_is_current_again(bench: Bench) -> None:
    bench.write_project(x="[", version="v2")
    for _ in range(2):
        bench.turn()
    assert bench.status().refused_version == "v2"
    assert len(bench.status().notices) == 1
    bench.write_project(x="[1, 2, 3, 4]", version="v1")
    for _ in range(2):
        bench.turn()
    assert (bench.status().refused_version, bench.status().notices) == ("", [])
    bench.write_project(x="[", version="v2")
    for _ in range(2):
        bench.turn()
    assert bench.status().refused_version == "v2"
