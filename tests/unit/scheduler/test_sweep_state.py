"""Sweep: every transition of a task, and one terminal record for each."""

from __future__ import annotations

import json

import pytest
from master_bench import AdaptiveBench, Bench, Clock, Message

from framework.journal.store import Journal
from framework.messages import requests
from framework.messages.status import read_status
from framework.placement.hosts import FORGET_SECONDS
from framework.scheduler import pause as pause_module
from framework.scheduler import sweep_state


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
    first, second = bench.lose_and_send_again(clock)
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
    first, second = bench.lose_and_send_again(clock)
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


@pytest.mark.parametrize("state", ["failed", "timeout"])
def test_a_late_failure_of_a_lost_attempt_leaves_the_task_to_the_attempt_under_way(
    bench: Bench, clock: Clock, state: str
) -> None:
    bench.write_project(x="[1, 2]")
    bench.master = bench.start()
    bench.messenger.beat("a")
    bench.messenger.result(*bench.turn()[0])  # the host is healthy: nothing excuses a failure there
    ((_, first),) = bench.turn()
    bench.messenger.started("a", first)
    bench.let_leases_end(clock)
    bench.messenger.beat("b")
    ((_, second),) = bench.turn()
    assert (second.task, second.attempt) == (first.task, 2)
    bench.messenger.result("a", first, state)
    bench.messenger.beat("b", running=[f"{second.task}.2"])
    assert bench.turn() == []
    assert bench.record(first.task).state == "sent"
    assert bench.attempts(first.task) == [state, "sent"]
    assert bench.status().failed == 0
    bench.messenger.result("b", second)
    bench.turn()
    assert [(row["state"], row["host"], row["attempts"]) for row in bench.rows()] == [
        ("done", "a", "1"), ("done", "b", "2"),
    ]  # fmt: skip


def test_a_late_start_of_a_lost_attempt_is_not_taken_for_that_of_the_attempt_under_way(
    bench: Bench, clock: Clock
) -> None:
    first, second = bench.lose_and_send_again(clock)
    bench.messenger.started("a", first)
    bench.messenger.beat("b", reserved=[f"{second.task}.2"])
    bench.turn()
    assert bench.status().running == 0
    assert bench.record(first.task).state == "sent"
    bench.messenger.started("b", second)
    bench.turn()
    assert bench.status().running == 1
    assert bench.record(first.task).state == "running"


def test_a_start_renews_the_lease_of_its_own_attempt_only(bench: Bench, clock: Clock) -> None:
    first, second = bench.lose_and_send_again(clock)
    for _ in range(4):
        clock.now += 10
        bench.messenger.started("a", first)
        bench.messenger.beat("c", slots=0)
        bench.turn()
    assert bench.attempts(second.task) == ["lost", "lost"]


def test_a_cancellation_whose_number_belongs_to_another_task_by_now_does_nothing(bench: Bench) -> None:
    bench.write_project(x="[4, 3, 2, 1]")
    bench.master = bench.start()
    bench.ask("cancel", 0)  # x=1 was number 0 before
    bench.turn()
    assert bench.status().cancelled == 0
    assert sorted(bench.run_to_the_end()) == [1, 2, 3, 4]


def test_a_rerun_of_a_task_whose_number_belongs_to_another_by_now_does_nothing(bench: Bench) -> None:
    bench.run_to_the_end()
    bench.write_project(x="[4, 3, 2, 1]")
    bench.master = bench.start()
    bench.turn()
    bench.ask("again", 0)
    assert bench.run_to_the_end() == []


def test_a_pruned_task_that_runs_again_is_not_pruned_at_once(adaptive_bench: AdaptiveBench) -> None:
    bench = adaptive_bench
    bench.settings("[1, 2]", "goal: minimize\nearly_terminate: {type: asha, min_iter: 2, eta: 2}\n")
    bench.messenger.beat("a", slots=2)
    (_, good), (_, bad) = bench.turn()
    bench.reports("a", good, (2, 0.1))
    bench.turn()
    bench.reports("a", bad, (2, 0.9))
    bench.turn()
    assert bench.state_of(bad) == "pruned"
    bench.ends("a", good, 0.1)
    bench.turn()
    (bench.files.requests).mkdir(exist_ok=True)
    requests.hand_in(bench.files.requests, requests.ControlRequest("again", ((1, bad.task),)))
    bench.messenger.beat("a", slots=2)
    ((_, again),) = bench.turn()
    assert (again.task, again.attempt) == (bad.task, 2)
    for _ in range(2):
        bench.messenger.beat("a", slots=2, running=[f"{bad.task}.2"])
        bench.turn()
    assert bench.state_of(bad) in ("sent", "running")
    bench.ends("a", again, 0.05)
    bench.turn()
    assert bench.state_of(bad) == "done"


def test_a_heartbeat_of_an_unknown_task_is_left_alone(bench: Bench) -> None:
    for _ in range(3):
        bench.messenger.beat("a", slots=0, running=[f"{'f' * 16}.1"])
        bench.turn()
    assert bench.messenger.stopped == [], "its journal is gone; its result can be recovered"


def test_a_younger_attempt_than_the_one_under_way_is_stopped(bench: Bench) -> None:
    bench.messenger.beat("a")
    ((_, assignment),) = bench.turn()
    for _ in range(2):
        bench.messenger.beat("b", slots=0, running=[f"{assignment.task}.2"])
        bench.turn()
    assert bench.messenger.stopped == [("b", f"{assignment.task}.2")]
    assert bench.attempts(assignment.task) == ["sent"]


@pytest.mark.parametrize(("seconds", "sent"), [(0.1, 2), (1.9, 2), (2.0, 1), (60.0, 1)])
def test_only_short_tasks_are_sent_ahead(bench: Bench, seconds: float, sent: int) -> None:
    bench.messenger.beat("a", slots=1)
    ((host, assignment),) = bench.turn()
    bench.messenger.result(host, assignment, seconds=seconds)
    bench.messenger.beat("a", slots=1)
    assert len(bench.turn()) == sent


def test_the_pause_for_too_many_failures_is_tried_again_if_it_cannot_be_written(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.write_project(x="[1, 2, 3]", more="max_failures: 1\n")
    bench.master = bench.start()
    bench.messenger.beat("a")
    ((host, assignment),) = bench.turn()
    bench.messenger.result(host, assignment, "failed")

    def fail(*_: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(pause_module, "write_atomically", fail)
        bench.messenger.beat("a", slots=0)
        bench.turn()
        assert bench.status().paused == ""
    bench.turn()
    assert "max_failures: 1" in bench.status().paused


@pytest.mark.parametrize(("seconds", "sent"), [(0.001, 200), (0.01, 100), (0.05, 20), (0.25, 4), (2.0, 2)])
def test_a_host_has_half_a_second_of_work_for_each_slot(bench: Bench, seconds: float, sent: int) -> None:
    bench.write_project(x="{range: [1, 5001, 1]}")
    bench.master = bench.start()
    bench.messenger.beat("a", slots=2)
    for host, assignment in bench.turn():
        bench.messenger.result(host, assignment, seconds=seconds)
    assert len(bench.turn()) == sent


def test_the_fewer_tasks_are_left_the_fewer_are_sent_ahead(bench: Bench) -> None:
    bench.write_project(x="{range: [1, 41, 1]}")
    bench.master = bench.start()
    sent: list[int] = []
    while sum(sent) < 40:
        bench.messenger.beat("a", slots=1)
        turn = bench.turn()
        sent.append(len(turn))
        for host, assignment in turn:
            bench.messenger.result(host, assignment, seconds=0.001)
    assert sent == [1, 9, 7, 5, 4, 3, 2, 2, 2, 2, 2, 1]


def test_a_host_without_a_task_that_is_done_gets_no_more_than_two_for_each_slot(bench: Bench) -> None:
    bench.write_project(x="{range: [1, 5001, 1]}", retries=1)
    bench.master = bench.start()
    bench.messenger.beat("a", slots=1)
    bench.messenger.beat("b", slots=1)
    first = dict(bench.turn())
    bench.messenger.result("a", first["a"], seconds=0.001)
    hosts = [host for host, _ in bench.turn()]
    assert (hosts.count("a"), hosts.count("b")) == (100, 1), "b runs one already"
    bench.messenger.result("b", first["b"], "failed", seconds=0.001)
    sent = bench.turn()
    assert [host for host, _ in sent] == ["b"]
    bench.messenger.result(*sent[0], seconds=0.001)
    assert len(bench.turn()) == 99, "it has proven itself"


def test_an_adaptive_sweep_is_not_suggested_far_ahead(adaptive_bench: AdaptiveBench) -> None:
    bench = adaptive_bench
    bench.settings("{min: 0.0, max: 1.0}", "method: bayes\nrun_cap: 500\n")
    bench.messenger.beat("a", slots=1)
    ((host, assignment),) = bench.turn()
    bench.messenger.result(host, assignment, seconds=0.001)
    assert len(bench.turn()) == 2


def test_a_host_that_hands_back_one_attempt_is_asked_for_all_that_wait_there(
    bench: Bench, clock: Clock
) -> None:
    bench.write_project(x="{range: [1, 5001, 1]}")
    bench.master = bench.start()
    bench.messenger.beat("a", slots=1)
    ((host, assignment),) = bench.turn()
    bench.messenger.result(host, assignment, seconds=0.05)
    sent = bench.turn()
    assert len(sent) == 10
    bench.messenger.started(host, sent[0][1])
    bench.messenger.stopped.clear()
    bench.messenger.result(*sent[1], "stopped")
    bench.messenger.incoming[-1] = without_exit_code(bench.messenger.incoming[-1])
    bench.messenger.beat("a", slots=0, running=[f"{sent[0][1].task}.1"])
    assert bench.turn() == []
    waiting = [(host, f"{assignment.task}.1") for host, assignment in sent[2:]]
    assert sorted(bench.messenger.handed_back) == sorted(waiting)
    # They come back, and go elsewhere; this is no failure, and asked for once.
    bench.messenger.stopped.clear()
    for each in sent[2:]:
        bench.messenger.result(*each, "stopped")
        bench.messenger.incoming[-1] = without_exit_code(bench.messenger.incoming[-1])
    bench.messenger.beat("b", slots=20)
    again = bench.turn()
    assert bench.messenger.stopped == []
    assert {host for host, _ in again} == {"b"}
    assert [assignment.attempt for _, assignment in again].count(2) == 9
    # Until it has finished something, the host gets few.
    bench.messenger.beat("a", slots=3, running=[f"{sent[0][1].task}.1"])
    assert len([host for host, _ in bench.turn() if host == "a"]) == 5
    bench.messenger.result(*sent[0], seconds=0.05)
    assert len([host for host, _ in bench.turn() if host == "a"]) == 25


def without_exit_code(message: Message) -> Message:
    """The result of an attempt that has not begun."""
    return Message("results", json.loads(message.body) | {"exit_code": None})


def test_a_host_too_many_is_neither_known_nor_sent_anything(bench: Bench) -> None:
    bench.master._sweep._hosts.most = 2
    for host in "abc":
        bench.messenger.beat(host, slots=1)
    assert {host for host, _ in bench.turn()} == {"a", "b"}
    assert sorted(bench.status().hosts) == ["a", "b"]


def test_a_host_that_is_silent_for_a_day_is_forgotten(bench: Bench, clock: Clock) -> None:
    bench.messenger.beat("a", slots=0)
    bench.messenger.beat("b", slots=0)
    bench.turn()
    for host in bench.master._sweep._hosts:
        host.last_heartbeat -= FORGET_SECONDS
    for _ in range(4):
        clock.now += 10
        bench.messenger.beat("b", slots=0)
        bench.turn()
    assert list(bench.status().hosts) == ["b"]


def test_a_turn_sends_only_so_many_and_the_next_one_comes_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_state, "MOST_IN_TURN", 5)
    bench.write_project(x="{range: [1, 13, 1]}")
    bench.master = bench.start()
    for host in "abc":
        bench.messenger.beat(host, slots=4)
    sent, idle = [], []
    for _ in range(4):
        sent.append([host for host, _ in bench.turn()])
        idle.append(bench.master._sweep.is_idle)
    assert [len(hosts) for hosts in sent] == [5, 5, 2, 0]
    assert sent[0] == ["a", "b", "c", "a", "b"], "no host has to wait for the next turn"
    assert idle == [False, False, True, True]
