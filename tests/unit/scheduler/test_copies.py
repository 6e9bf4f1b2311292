"""Copies of stragglers: when they are sent, and every way in which the two attempts end."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from journal_bench import FAILED, project_of
from master_bench import AdaptiveBench, Bench, Clock, Message
from straggler_bench import SECONDS, Straggler

from framework.journal.store import Journal
from framework.messages.task_ids import AttemptId
from framework.messages.worker_events import Heartbeat, Source
from framework.placement.hosts import SentAttempt, WorkerHosts
from framework.placement.retry_policy import RetryPolicy
from framework.scheduler import copies
from framework.scheduler.copies import Copies
from framework.scheduler.estimate import Durations
from framework.scheduler.sweep_events import SweepEvents

ENDS = ("failed", "timeout", "stopped", "lost")


@pytest.fixture(params=[False, True], ids=["", "with a new master before each turn"])
def copied(bench: Bench, clock: Clock, request: pytest.FixtureRequest) -> Straggler:
    """The straggler runs, and so does its copy."""
    return Straggler(bench, clock, request.param).is_copied()


# When a copy is sent.


def test_a_straggler_is_copied_once_and_both_run_on(bench: Bench, clock: Clock) -> None:
    straggler = Straggler(bench, clock)
    assert straggler.turn(waited=2 * SECONDS - 10) == []
    ((host, _),) = straggler.turn(waited=10)
    assert host == "b"
    bench.messenger.started("b", straggler.copy)
    assert bench.record(straggler.first.task).parameters == straggler.copy.parameters == {"x": 1}
    assert straggler.events() == [
        "x=1 has run for 2 min on a; such tasks take 60 s on b: a copy of it runs there, and the first "
        "result counts"
    ]
    for _ in range(5):
        assert straggler.turn(waited=50.0) == [], "and no further copy"
    assert (straggler.states, straggler.stopped) == (["copied", "running"], [])
    status = bench.status()
    assert (status.running, status.waiting) == (1, 0), "it is one task"
    assert [status.hosts[host].running for host in "ab"] == [1, 1], "in two slots"


@pytest.mark.parametrize(
    "more",
    [
        "copies: false\n",
        "mounts: [{source: /data, target: /data, mode: rw}]\n",
        "early_terminate: {type: asha, min_iter: 2}\n",
    ],
)
def test_projects_without_copies(bench: Bench, clock: Clock, more: str) -> None:
    straggler = Straggler(bench, clock, more=more)
    assert straggler.turn(waited=20 * SECONDS) == []


def test_an_adaptive_sweep_has_no_copies(adaptive_bench: AdaptiveBench, clock: Clock) -> None:
    straggler = Straggler(adaptive_bench, clock, more="method: tpe\nrun_cap: 6\n")
    assert straggler.turn(waited=20 * SECONDS) == []


def test_a_mount_that_is_read_only_does_not_matter(bench: Bench, clock: Clock) -> None:
    Straggler(bench, clock, more="mounts: [{source: /data, target: /data}]\n").is_copied()


def test_few_durations_are_not_enough(bench: Bench, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "LEAST_DONE", 6)
    assert Straggler(bench, clock).turn(waited=20 * SECONDS) == []


def test_what_has_run_for_seconds_is_no_straggler(
    bench: Bench, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "LEAST_SECONDS", 1000.0)
    straggler = Straggler(bench, clock)
    assert straggler.turn(waited=900.0) == []
    assert len(straggler.turn(waited=100.0)) == 1


@pytest.mark.parametrize("reason", ["busy", "silent", "drained", "unfit", "paused", "own"])
def test_a_copy_needs_an_idle_slot_of_another_host_in_use(bench: Bench, clock: Clock, reason: str) -> None:
    straggler = Straggler(bench, clock)
    if reason in ("busy", "unfit"):
        straggler.slots["b"] = 0
    if reason == "drained":
        bench.drain("b", seconds=3000.0)
        straggler.turn()
    if reason == "paused":
        bench.ask("pause")
        straggler.turn()
    if reason == "own":
        straggler.slots.update(a=4, b=0)
    for _ in range(15):
        assert straggler.turn(*(["b"] if reason == "silent" else []), waited=10.0) == []


def test_no_copy_is_sent_while_a_task_is_left_to_be_sent(bench: Bench, clock: Clock) -> None:
    straggler = Straggler(bench, clock)
    bench.ask("again", 1)
    ((_, again),) = straggler.turn(waited=2 * SECONDS)
    assert again.parameters == {"x": 2}
    ((_, copy),) = straggler.turn()
    assert copy.parameters == {"x": 1}


def test_what_heartbeats_do_not_name_may_have_ended_and_is_not_copied(bench: Bench, clock: Clock) -> None:
    straggler = Straggler(bench, clock)
    assert straggler.turn(waited=110.0) == []
    straggler.held["a"].clear()
    assert straggler.turn(waited=10.0) == []
    straggler.held["a"].append(straggler.first)
    assert len(straggler.turn()) == 1


class Running:
    """Tasks that run on host a, and Copies that look at them; tasks of size 1 take 60 s."""

    def __init__(self, path: Path) -> None:
        project = project_of({"n": [*range(9)]})
        self.journal = Journal(path / "journal.sqlite")
        self.hosts = WorkerHosts()
        self.durations = Durations()
        self.ended: set[str] = set()
        for host in "aaaabbbb":
            self.durations.add(host, 60.0)
        policy = RetryPolicy(project, self.journal, self.hosts)
        events = SweepEvents(path / "events.jsonl", lambda _: "")
        self.copies = Copies(project, self.journal, self.hosts, policy, events)

    def runs(self, number: int, seconds: float, size: float = 1.0, failed_on: str = "") -> str:
        """Have one more task run at 1000 s, since so many seconds; returns its id."""
        task = f"{number:016x}"
        if failed_on:
            self.journal.assign(task, number, {"n": number}, failed_on, 0.0)
            self.journal.finish(dataclasses.replace(FAILED, task=task, host=failed_on), final=False)
        attempt = AttemptId(task, self.journal.assign(task, number, {"n": number}, "a", 0.0))
        self.hosts.add(SentAttempt(attempt, "a", 1000.0, True, 1000.0 - seconds, size))
        return task

    def copied_to(self, **slots: int) -> list[tuple[str, str]]:
        """The tasks that are copied, with their hosts, to hosts that have so many slots."""
        for host, number in slots.items():
            beat = Heartbeat(Source("infra-1", "p", host), "first", number, frozenset(), frozenset())
            self.hosts.take_heartbeat(beat, 1000.0)
        sent = self.copies.assign(self.durations, lambda task: task not in self.ended, 1000.0, 0.0)
        return [(copy.id.task, copy.host) for copy, _ in sent]


@pytest.fixture
def running(tmp_path: Path) -> Running:
    return Running(tmp_path)


def test_the_longest_overdue_for_its_size_is_copied_first(running: Running) -> None:
    long, short, late = running.runs(0, 400.0, 3.0), running.runs(1, 200.0, 0.5), running.runs(2, 300.0)
    assert running.copied_to(b=2) == [(short, "b"), (late, "b")]
    running.copies._look_at = 0.0
    assert running.copied_to(b=3) == [(long, "b")]


def test_a_task_that_has_ended_is_not_copied_while_its_attempt_stops(running: Running) -> None:
    running.ended.add(running.runs(0, 300.0))
    assert running.copied_to(b=1) == []


def test_a_task_is_copied_to_the_fastest_host(running: Running) -> None:
    for _ in range(20):
        running.durations.add("c", 20.0)
    tasks = [running.runs(number, 100.0) for number in range(3)]
    assert running.copied_to(b=2, c=2) == [(tasks[0], "c"), (tasks[1], "c")], "b is too slow to be worth it"


def test_a_task_is_not_copied_to_where_it_has_failed(running: Running) -> None:
    task = running.runs(0, 300.0, failed_on="b")
    assert running.copied_to(b=2) == []
    running.copies._look_at = 0.0
    assert running.copied_to(c=1) == [(task, "c")]


def test_a_few_long_tasks_do_not_make_others_wait(running: Running) -> None:
    running.durations.add("b", 6000.0)
    task = running.runs(0, 1300.0)
    assert running.copied_to(c=1) == [(task, "c")]


# The first result counts.


def test_the_result_of_the_copy_counts_and_the_straggler_is_stopped_at_once(copied: Straggler) -> None:
    copied.end("b", copied.copy, seconds=50.0)
    assert copied.turn() == []
    assert copied.stopped == [("a", 1)]
    assert copied.states == ["stopped", "done"]
    assert copied.row() == ("done", "b")
    assert copied.events()[1:] == ["x=1 is done on b: its copy took 50 s; the one on a is stopped"]
    assert copied.bench.status().finished
    copied.restarts = False
    copied.turn()
    copied.turn()
    assert set(copied.stopped) == {("a", 1)}, "heartbeats name it: the order was lost"
    copied.end("a", copied.first, "stopped")
    copied.turn()
    copied.turn()
    assert (copied.states, copied.stopped) == (["stopped", "done"], [])
    assert copied.row() == ("done", "b")


def test_the_result_of_the_straggler_counts_and_the_copy_is_stopped_at_once(copied: Straggler) -> None:
    copied.end("a", copied.first, seconds=200.0)
    assert copied.turn() == []
    assert copied.stopped == [("b", 2)]
    assert copied.states == ["done", "stopped"]
    assert copied.row() == ("done", "a")
    assert copied.events()[1:] == ["x=1 is done on a: it took 3 min; its copy on b is stopped"]
    copied.end("b", copied.copy, "stopped")
    copied.turn()
    copied.turn()
    assert (copied.states, copied.stopped, copied.row()) == (["done", "stopped"], [], ("done", "a"))


@pytest.mark.parametrize("order", ["ab", "ba"])
@pytest.mark.parametrize("turns", [1, 2])
def test_of_two_results_the_first_counts(copied: Straggler, order: str, turns: int) -> None:
    attempts = {"a": copied.first, "b": copied.copy}
    for host in order:
        for _ in range(2):  # each comes twice
            copied.end(host, attempts[host])
        if turns == 2:
            copied.turn()
    copied.turn()
    assert copied.states == ["done", "done"]
    assert copied.row() == ("done", order[0])
    assert copied.bench.status().done == 6


@pytest.mark.parametrize("state", ENDS)
def test_a_result_after_the_end_changes_nothing(copied: Straggler, state: str) -> None:
    copied.end("b", copied.copy)
    copied.turn()
    copied.end("a", copied.first, state)
    assert copied.turn() == []
    assert (copied.states, copied.row()) == (["stopped", "done"], ("done", "b"))
    assert copied.bench.status().failed == 0


# One of the two ends without a result.


@pytest.mark.parametrize("state", ENDS)
def test_a_copy_that_ends_without_result_leaves_the_task_to_the_straggler(
    copied: Straggler, state: str
) -> None:
    copied.end("b", copied.copy, state)
    assert copied.turn() == []
    assert copied.turn(waited=10 * SECONDS) == [], "it is not copied again"
    assert (copied.states, copied.stopped) == (["running", state], [])
    record = copied.bench.record(copied.first.task)
    assert (record.state, record.host) == ("running", "a")
    copied.end("a", copied.first)
    copied.turn()
    assert (copied.states, copied.row()) == (["done", state], ("done", "a"))


@pytest.mark.parametrize("state", ENDS)
def test_a_straggler_that_ends_without_result_leaves_the_task_to_its_copy(
    copied: Straggler, state: str
) -> None:
    copied.end("a", copied.first, state)
    assert copied.turn() == []
    assert (copied.states, copied.stopped) == ([state, "running"], [])
    assert copied.bench.record(copied.first.task).host == "b"
    copied.end("b", copied.copy)
    copied.turn()
    assert (copied.states, copied.row()) == ([state, "done"], ("done", "b"))


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_a_task_of_which_both_attempts_fail_has_failed_twice(copied: Straggler, order: str) -> None:
    attempts = {"a": copied.first, "b": copied.copy}
    for host in order:
        assert copied.bench.status().failed == 0
        copied.end(host, attempts[host], "failed")
        assert copied.turn() == []
    assert (copied.states, copied.row()[0]) == (["failed", "failed"], "failed")


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_a_task_of_which_both_attempts_are_stopped_is_sent_again(copied: Straggler, order: str) -> None:
    attempts = {"a": copied.first, "b": copied.copy}
    for host in order:
        copied.end(host, attempts[host], "stopped")
    ((_, again),) = copied.turn()
    assert (again.task, again.attempt) == (copied.first.task, 3)


def test_a_copy_whose_host_is_silent_is_lost(bench: Bench, clock: Clock) -> None:
    straggler = Straggler(bench, clock).is_copied()
    for _ in range(4):
        assert straggler.turn("b", waited=10.0) == []
    assert straggler.states == ["running", "lost"]
    for _ in range(2):
        straggler.turn()
    assert (straggler.states, straggler.stopped) == (["running", "lost"], [("b", 2)]), "the older one stays"


def test_a_straggler_whose_host_is_silent_is_not_replaced_while_its_copy_runs(
    bench: Bench, clock: Clock
) -> None:
    straggler = Straggler(bench, clock).is_copied()
    for _ in range(5):
        assert straggler.turn("a", waited=10.0) == []
    assert (straggler.states, bench.messenger.purged) == (["copied", "running"], [])
    straggler.turn()
    assert (straggler.states, straggler.stopped) == (["copied", "running"], []), "its host is back with it"
    for _ in range(4):
        straggler.turn("a", waited=10.0)
    straggler.end("b", straggler.copy, "failed")
    sent = [*straggler.turn("a"), *straggler.turn("a")]
    assert straggler.states[:2] == ["lost", "failed"]
    assert [(host, attempt.attempt) for host, attempt in sent] == [("b", 3)]


def test_a_copy_that_was_not_sent_before_the_master_died_is_lost(bench: Bench, clock: Clock) -> None:
    straggler = Straggler(bench, clock)
    straggler.turn(waited=2 * SECONDS)
    straggler.held["b"].clear()
    bench.master = bench.start()
    for _ in range(4):
        assert straggler.turn(waited=10.0) == []
    assert (straggler.states, straggler.stopped) == (["running", "lost"], [])


# What people ask for meanwhile.


def test_cancelling_a_task_stops_both_attempts(copied: Straggler) -> None:
    copied.bench.ask("cancel", 0)
    copied.turn()
    assert sorted(copied.stopped) == [("a", 1), ("b", 2)]
    assert (copied.states, copied.row()[0]) == (["stopped", "stopped"], "cancelled")


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_a_pause_stops_both_attempts_and_the_task_runs_again_once(copied: Straggler, order: str) -> None:
    copied.bench.ask("pause")
    copied.turn()
    assert sorted(copied.stopped) == [("a", 1), ("b", 2)]
    attempts = {"a": copied.first, "b": copied.copy}
    for host in order:
        copied.end(host, attempts[host], "stopped")
        assert copied.turn() == []
    assert copied.states == ["stopped", "stopped"]
    copied.bench.ask("resume")
    ((_, again),) = copied.turn()
    assert (again.task, again.attempt) == (copied.first.task, 3)


def test_a_task_that_runs_twice_is_not_requested_again_before_it_has_ended(copied: Straggler) -> None:
    copied.bench.ask("again", 0)
    assert copied.turn() == []
    assert copied.states == ["copied", "running"]
    copied.end("b", copied.copy)
    copied.turn()
    copied.bench.ask("again", 0)
    ((_, again),) = copied.turn()
    assert (again.task, again.attempt) == (copied.first.task, 3)
    copied.end("a", copied.first)
    copied.turn()
    assert copied.bench.record(copied.first.task).state in ("sent", "running"), "it was asked for again since"


def test_a_copy_that_a_drained_host_hands_back_leaves_the_task_to_the_straggler(
    bench: Bench, clock: Clock
) -> None:
    straggler = Straggler(bench, clock)
    ((_, copy),) = straggler.turn(waited=2 * SECONDS)
    straggler.held["b"].clear()
    bench.drain("b")
    straggler.turn()
    assert bench.messenger.handed_back == [("b", str(copy.id))]
    content = dict(bench.messenger.result("b", copy, "stopped"))
    bench.messenger.incoming[-1] = Message("results", content | {"exit_code": None})
    assert straggler.turn() == []
    assert straggler.states == ["running", "stopped"]


def test_a_straggler_on_a_drained_host_runs_on_beside_its_copy(bench: Bench, clock: Clock) -> None:
    straggler = Straggler(bench, clock)
    bench.drain("a", seconds=3000.0)
    straggler.turn()
    straggler.is_copied()
    straggler.turn()
    assert (straggler.states, straggler.stopped) == (["copied", "running"], [])


def test_metrics_and_starts_of_a_straggler_are_not_taken_for_those_of_its_copy(
    bench: Bench, clock: Clock
) -> None:
    straggler = Straggler(bench, clock).is_copied()
    for host, attempt, loss in (("a", straggler.first, 9), ("b", straggler.copy, 1)):
        fields = {"task": attempt.task, "attempt": attempt.attempt, "reports": []}
        bench.messenger.event("metrics", host, metrics={"loss": loss}, **fields)
        bench.turn()
    bench.messenger.started("a", straggler.first)
    straggler.turn()
    assert bench.record(straggler.first.task).metrics == {"loss": 1}
    assert straggler.states == ["copied", "running"]
    assert bench.status().quarantined == 0


def test_an_older_attempt_that_comes_back_stops_both(bench: Bench, clock: Clock) -> None:
    straggler = Straggler(bench, clock)
    straggler.slots["b"] = 0
    for _ in range(4):
        straggler.turn("a", waited=10.0)
    straggler.slots["c"], straggler.held["c"] = 1, []
    ((host, second),) = straggler.turn("a")
    assert (host, second.attempt, straggler.states) == ("c", 2, ["lost", "sent"])
    straggler.bench.messenger.started("c", second)
    straggler.turn("a")
    straggler.slots["b"] = 5
    sent = [each for _ in range(13) for each in straggler.turn("a", waited=10.0)]
    ((host, third),) = sent
    assert (host, third.attempt, straggler.states[:2]) == ("b", 3, ["lost", "copied"])
    straggler.turn()
    straggler.turn()
    assert straggler.states == ["running", "stopped", "stopped"]
    assert sorted(straggler.stopped) == [("b", 3), ("c", 2)]
