"""Sweep: every transition of a task, and one terminal record for each."""

from __future__ import annotations

from master_bench import Bench, Clock

from framework.journal.store import Journal
from framework.messages.status import read_status


def test_a_repeated_result_changes_nothing(bench: Bench) -> None:
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


def test_tasks_of_a_silent_worker_are_sent_to_another(bench: Bench, clock: Clock) -> None:
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


def test_a_task_of_an_older_sweep_is_not_counted_in_the_new_one(bench: Bench) -> None:
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


def test_too_many_failures_pause_the_sweep(bench: Bench) -> None:
    bench.write_project(x="[1, 2, 3, 4, 5]", more="max_failures: 2\n")
    bench.master = bench.start()
    bench.messenger.beat("a")
    for number in range(2):
        ((host, assignment),) = bench.turn()
        assert number == bench.status().failed
        bench.messenger.result(host, assignment, "failed")
    assert bench.turn() == []
    assert "2 tasks have failed, with max_failures: 2" in bench.status().paused
    bench.ask("resume")
    ((host, assignment),) = bench.turn()
    bench.messenger.result(host, assignment)
    ((host, assignment),) = bench.turn()
    bench.messenger.result(host, assignment, "failed")
    assert bench.turn() == []
    assert bench.status().paused


def test_a_worker_that_returns_with_its_task_keeps_it_and_the_younger_attempt_is_stopped(
    bench: Bench, clock: Clock
) -> None:
    first = bench.lose(clock)
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
    assert bench.attempts(first.task) == ["running", "stopped"]
    bench.messenger.result("b", second, "stopped")
    assert bench.turn() == []
    # The new owner is an owner like any other: its lease counts, and another attempt follows.
    bench.let_leases_end(clock)
    bench.messenger.beat("b")
    ((_, third),) = bench.turn()
    assert third.attempt == 3
    bench.messenger.result("b", third)
    bench.turn()
    assert [(row["state"], row["attempts"]) for row in bench.rows()] == [("done", "3")]


def test_a_worker_that_returns_before_the_task_was_sent_again_keeps_it(bench: Bench, clock: Clock) -> None:
    first = bench.lose(clock)
    assert bench.turn() == []
    bench.messenger.beat("a", running=[f"{first.task}.1"])
    bench.messenger.beat("b")
    assert bench.turn() == []
    bench.messenger.result("a", first)
    bench.turn()
    assert [(row["state"], row["attempts"]) for row in bench.rows()] == [("done", "1")]


def test_an_attempt_that_a_returned_worker_only_reserved_is_stopped(bench: Bench, clock: Clock) -> None:
    first = bench.lose(clock)
    bench.messenger.beat("b")
    assert len(bench.turn()) == 1
    for _ in range(2):
        bench.messenger.beat("a", reserved=[f"{first.task}.1"])
        bench.messenger.beat("b", running=[f"{first.task}.2"])
        bench.turn()
    assert bench.messenger.stopped == [("a", f"{first.task}.1")]
    assert bench.attempts(first.task) == ["lost", "sent"]


def test_an_attempt_of_an_ended_task_is_stopped_until_heartbeats_name_it_no_more(
    bench: Bench, clock: Clock
) -> None:
    first = bench.lose(clock)
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
    first = bench.lose(clock)
    bench.messenger.beat("b")
    bench.turn()
    bench.messenger.beat("a", running=[f"{first.task}.1"])
    bench.turn()
    bench.master = bench.start()
    bench.messenger.beat("a", running=[f"{first.task}.1"])
    bench.messenger.beat("b")
    assert bench.turn() == []
    assert bench.attempts(first.task) == ["running", "stopped"]
