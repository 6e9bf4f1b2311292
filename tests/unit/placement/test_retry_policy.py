"""Retry policy: failures that end a task, and hosts for its next attempt."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from journal_bench import RESULT, project_of
from master_bench import Bench, Clock

from framework.cli import locations
from framework.cli import main as cli
from framework.journal.store import Journal
from framework.messages.assignment import AttemptResult, AttemptState
from framework.messages.status import Status, read_status
from framework.messages.task_ids import AttemptId
from framework.messages.worker_events import Heartbeat, Source
from framework.placement import retry_policy
from framework.placement.hosts import SentAttempt, WorkerHosts
from framework.placement.retry_policy import RetryPolicy


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


def test_a_sweep_in_which_every_task_fails_ends(bench: Bench, clock: Clock) -> None:
    bench.write_project(x=str(list(range(20))), retries=1)
    bench.master = bench.start()
    for _ in range(2000):
        clock.now += 1
        bench.messenger.beat("a", 2)
        bench.messenger.beat("b", 2)
        for host, assignment in bench.turn():
            bench.messenger.result(host, assignment, "failed", 1)
        if bench.status().finished:
            break
    assert bench.status().failed == 20
    assert max(int(row["attempts"]) for row in bench.rows()) <= 3


def test_a_retry_waits_for_another_host_only_while_its_own_is_suspect(bench: Bench) -> None:
    bench.write_project(x="[1, 2, 3, 4, 5]", retries=1)
    bench.master = bench.start()
    bench.messenger.beat("a")
    ((_, first),) = bench.turn()
    bench.messenger.beat("b")
    ((_, second),) = bench.turn()
    bench.messenger.result("a", first, "failed")
    ((host, third),) = bench.turn()
    assert (host, third.parameters) == ("a", {"x": 3}), "the first waits for host b, which is busy"
    bench.messenger.result("a", third)
    ((host, again),) = bench.turn()
    assert (host, again.task, again.attempt) == ("a", first.task, 2), "a has proven itself since"
    bench.messenger.result("b", second)
    bench.turn()


UNFIT: dict[str, Any] = {"slots": 0, "unfit": True, "notice": "has 0 GPUs (a task needs 1)"}


def test_a_sweep_that_no_host_can_run_is_paused_with_the_reasons_until_one_can(
    bench: Bench, clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(locations, "DATA", bench.files.path)
    monkeypatch.setattr(locations, "CODE", bench.path / "code")

    def turn_with(*unfit: str) -> Status:
        for host in unfit:
            bench.messenger.beat(host, **UNFIT)
        assert bench.turn() == []
        return bench.status()

    status = turn_with("a", "b")
    assert not status.paused, "others may be about to come up"
    assert status.notices == [f"{host} has 0 GPUs (a task needs 1): it gets no tasks" for host in "ab"]
    clock.now += retry_policy.UNFIT_SECONDS + 1
    status = turn_with("a", "b")
    assert status.paused.startswith(
        "p can run on no worker host: a has 0 GPUs (a task needs 1); b has 0 GPUs (a task needs 1); change"
    )
    assert status.notices == [status.paused]
    assert cli.main(["watch"]) == 1
    assert "a has 0 GPUs (a task needs 1); b has" in capsys.readouterr().err
    bench.messenger.beat("c")
    ((host, assignment),) = bench.turn()
    assert (host, bench.status().paused) == ("c", "")
    bench.messenger.result(host, assignment)
    assert len(bench.turn()) == 1


def test_hosts_that_are_only_busy_or_silent_do_not_pause_the_sweep(bench: Bench, clock: Clock) -> None:
    bench.messenger.beat("a", **UNFIT)
    bench.messenger.beat("b", slots=0, notice="GPU 0 (A100) is left alone")
    bench.turn()
    clock.now += 1000
    bench.turn()
    assert not bench.status().paused


def test_an_attempt_on_a_host_that_became_unfit_may_end(bench: Bench, clock: Clock) -> None:
    bench.messenger.beat("a")
    ((host, assignment),) = bench.turn()
    for _ in range(10):
        bench.messenger.beat("a", running=[f"{assignment.task}.1"], **UNFIT)
        clock.now += 10
        bench.turn()
    assert not bench.status().paused
    bench.messenger.result(host, assignment)
    bench.turn()
    assert bench.status().done == 1


def test_a_finished_sweep_needs_no_host(bench: Bench, clock: Clock) -> None:
    bench.messenger.beat("a", slots=4)
    for host, assignment in bench.turn():
        bench.messenger.result(host, assignment)
    bench.messenger.beat("a", **UNFIT)
    bench.turn()
    clock.now += 1000
    bench.turn()
    assert (bench.status().finished, bench.status().paused) == (True, "")


# The policy alone.

PROJECT = dataclasses.replace(project_of({"x": [0, 1, 2]}), retries=1)
TASK = PROJECT.task_id({"x": 0})


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield journal


def hosts_with(*names: str) -> WorkerHosts:
    hosts = WorkerHosts()
    for name in names:
        source = Source("infra-1", "p", name)
        hosts.take_heartbeat(Heartbeat(source, "first", 2, frozenset(), frozenset()), 0)
    return hosts


def result(attempt: int, state: AttemptState, host: str = "a") -> AttemptResult:
    return dataclasses.replace(RESULT, task=TASK, attempt=attempt, state=state, host=host)


@pytest.mark.parametrize("state", ["failed", "timeout"])
def test_a_failure_ends_a_task_when_it_has_no_retries_left(journal: Journal, state: AttemptState) -> None:
    policy = RetryPolicy(PROJECT, journal, hosts_with("a"))
    journal.assign(TASK, 0, {"x": 0}, "a", 1.0)
    assert not policy.ends_task(result(1, state), 0)
    journal.finish(result(1, state), final=False)
    journal.assign(TASK, 0, {"x": 0}, "a", 1.0)
    assert policy.ends_task(result(2, state), 0)


def test_a_task_ends_when_it_is_done_and_not_when_it_is_stopped(journal: Journal) -> None:
    policy = RetryPolicy(dataclasses.replace(PROJECT, retries=0), journal, hosts_with("a"))
    journal.assign(TASK, 0, {"x": 0}, "a", 1.0)
    assert policy.ends_task(result(1, "done"), 0)
    assert not policy.ends_task(result(1, "stopped"), 0)
    assert policy.ends_task(result(1, "failed"), 0)


def test_the_failure_of_an_attempt_that_was_replaced_does_not_end_its_task(journal: Journal) -> None:
    hosts = hosts_with("a")  # there is no other, which could excuse it
    policy = RetryPolicy(dataclasses.replace(PROJECT, retries=0), journal, hosts)
    journal.assign(TASK, 0, {"x": 0}, "a", 1.0)
    journal.lost(TASK, 1, "no sign of a", final=False)
    journal.assign(TASK, 0, {"x": 0}, "a", 1.0)
    hosts.add(SentAttempt(AttemptId(TASK, 2), "a", 0))
    assert not policy.ends_task(result(1, "failed"), 0)
    assert policy.ends_task(result(2, "failed"), 0)


def test_a_question_to_the_policy_changes_nothing(journal: Journal) -> None:
    policy = RetryPolicy(PROJECT, journal, hosts_with("a", "b"))
    journal.assign(TASK, 0, {"x": 0}, "a", 1.0)
    answers = [policy.ends_task(result(1, "failed"), 0) for _ in range(10)]
    assert answers == [False] * 10
    policy.review_hosts(0)
    assert policy.notices(0) == []
    assert policy.limits(0) == {}


def test_a_last_failure_on_a_suspect_host_is_excused_once_if_there_is_another(journal: Journal) -> None:
    policy = RetryPolicy(dataclasses.replace(PROJECT, retries=0), journal, hosts_with("a", "b"))
    journal.assign(TASK, 0, {"x": 0}, "a", 1.0)
    policy.record(result(1, "failed"), 0)
    assert not policy.ends_task(result(1, "failed"), 0), "a has finished nothing yet"
    journal.finish(result(1, "failed"), final=False)
    journal.assign(TASK, 0, {"x": 0}, "b", 1.0)
    policy.record(result(2, "failed", "b"), 0)
    assert policy.ends_task(result(2, "failed", "b"), 0), "it failed on two hosts"


def test_no_host_can_run_the_sweep_only_after_some_time(journal: Journal) -> None:
    hosts = WorkerHosts()
    policy = RetryPolicy(PROJECT, journal, hosts)
    beat = Heartbeat(Source("infra-1", "p", "a"), "x", 0, frozenset(), frozenset(), "no GPU", unfit=True)
    hosts.take_heartbeat(beat, 0)
    policy.review_hosts(0)
    assert policy.no_host_reason(retry_policy.UNFIT_SECONDS) == ""
    assert "a no GPU" in policy.no_host_reason(retry_policy.UNFIT_SECONDS + 1)
    hosts.take_heartbeat(dataclasses.replace(beat, unfit=False), 40)
    policy.review_hosts(40)
    hosts.take_heartbeat(beat, 41)
    policy.review_hosts(41)
    assert policy.no_host_reason(60) == "", "the time begins anew"
