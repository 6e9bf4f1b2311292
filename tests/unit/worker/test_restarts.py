"""Workers and runners that die and come back: nothing runs twice, and the master learns of each end once."""

from __future__ import annotations

import os
import resource
import signal
import threading
from typing import Any

import pytest
from runner_bench import wait_until
from worker_bench import (
    DONE,
    SLEEPING,
    TASK,
    FakeRunner,
    Recorder,
    RunnerBench,
    WorkerBench,
    name_of,
    task_of,
)

from framework.messages.task_ids import AttemptId
from framework.runner.orphans import task_processes
from framework.worker import runner_state
from framework.worker.held_attempts import Phase
from framework.worker.worker import Worker

FINE = name_of("fine")


def begun(bench: WorkerBench, runner: FakeRunner, *values: str) -> None:
    for value in values:
        bench.begin(value)
        runner.says("taken", value)


# A worker dies.


def test_what_runs_is_named_by_the_first_heartbeat_of_the_next_worker_and_has_its_devices(
    bench: WorkerBench, runner: FakeRunner
) -> None:
    begun(bench, runner, "fine")
    bench.restart()
    runner = bench.connect_fake(runner.runs())
    assert (bench.beat()["running"], bench.beat()["slots"]) == ([FINE], 2)
    bench.begin("second")
    bench.begin("third")
    assert runner.told("run") == [name_of("second")], "there are two slots"
    runner.says("ended", execution=DONE)
    (result,) = bench.recorder.results
    assert (result.state, result.started, result.code) == ("done", 5.0, "v1")
    assert runner.told("run") == [name_of("second"), name_of("third")]
    assert runner.told("forget") == [FINE]


def test_a_message_that_comes_again_after_the_worker_has_died_runs_nothing(
    bench: WorkerBench, runner: FakeRunner
) -> None:
    begun(bench, runner, "fine")
    bench.restart()
    runner = bench.connect_fake(runner.runs())
    bench.run("fine")
    assert (runner.sent, bench.recorder.results) == ([], [])


def test_what_ended_without_a_worker_is_delivered_and_forgotten(
    bench: WorkerBench, runner: FakeRunner
) -> None:
    begun(bench, runner, "fine")
    bench.restart()
    runner = bench.connect_fake(runner.holds(DONE))
    (result,) = bench.recorder.results
    assert (result.state, result.started, result.metrics) == ("done", 5.0, {"loss": 0.25})
    assert runner.told("forget") == [FINE]
    assert bench.files.attempt(TASK, 1).result.exists()
    assert bench.beat()["running"] == []


def test_the_end_of_what_this_worker_does_not_hold_is_delivered(
    bench: WorkerBench, runner: FakeRunner
) -> None:
    begun(bench, runner, "fine")
    held = runner.holds(DONE)
    bench.restart()
    runner = bench.connect_fake()
    runner.says("ended", context=held["context"], started=5.0, execution=DONE)
    assert (bench.recorder.states, runner.told("forget")) == (["done"], [FINE])


def test_a_result_that_was_kept_is_only_forgotten(bench: WorkerBench, runner: FakeRunner) -> None:
    begun(bench, runner, "fine")
    held = runner.holds(DONE)
    runner.says("ended", execution=DONE)
    bench.restart()
    runner = bench.connect_fake(held)
    assert (bench.recorder.results, bench.recorder.events) == ([], [])
    assert runner.told("forget") == [FINE]


def test_a_result_that_is_only_in_its_directory_is_delivered_again(
    bench: WorkerBench, runner: FakeRunner
) -> None:
    """As in a local run, whose publisher keeps nothing before the journal does."""
    begun(bench, runner, "fine")
    held = runner.holds(DONE)
    runner.says("ended", execution=DONE)
    bench.recorder = Recorder()
    identity = bench.worker.identity
    bench.worker = Worker(identity, bench.files, bench.code, 2, bench.recorder, writes_results=False)
    runner = bench.connect_fake(held)
    assert (bench.recorder.states, runner.told("forget")) == (["done"], [FINE])


def test_what_was_lost_without_a_worker_is_told_as_lost(bench: WorkerBench, runner: FakeRunner) -> None:
    begun(bench, runner, "fine")
    bench.restart()
    runner = bench.connect_fake(runner.holds("lost"))
    assert bench.recorder.states == ["lost"]
    assert runner.told("forget") == [FINE]
    assert not bench.files.attempt(TASK, 1).result.exists()


def test_an_attempt_of_the_last_worker_can_be_stopped(bench: WorkerBench, runner: FakeRunner) -> None:
    begun(bench, runner, "fine")
    bench.restart()
    runner = bench.connect_fake(runner.runs())
    bench.worker.stop_attempts([AttemptId(TASK, 1)])
    assert runner.told("stop") == [FINE]


# A runner dies, or its connection.


def test_a_connection_that_was_cut_changes_nothing(bench: WorkerBench, runner: FakeRunner) -> None:
    begun(bench, runner, "fine")
    bench.worker.on_disconnected()
    bench.worker.tick()
    assert (bench.beat()["running"], bench.beat()["slots"]) == ([FINE], 0)
    runner.connect(runner.runs())
    assert (bench.beat()["running"], bench.beat()["slots"]) == ([FINE], 2)
    assert bench.recorder.results == []
    runner.says("ended", execution=DONE)
    assert bench.recorder.states == ["done"]


@pytest.mark.parametrize("exited", [False, True])
@pytest.mark.parametrize("is_named", [False, True])
def test_what_a_runner_took_with_it_is_lost_as_soon_as_there_is_another_one(
    bench: WorkerBench, runner: FakeRunner, exited: bool, is_named: bool
) -> None:
    begun(bench, runner, "fine")
    if exited:
        runner.says("exited")  # its outcome was not on the disk
    bench.worker.on_disconnected()
    runner.connect(*[runner.holds("lost")] * is_named)
    (result,) = bench.recorder.results
    assert (result.state, result.reason.startswith("its runner ended")) == ("lost", True)
    assert (bench.beat()["running"], bench.beat()["slots"]) == ([], 2)
    assert runner.told("forget") == [FINE]


def test_an_outcome_that_came_to_the_disk_while_the_connection_was_cut_counts(
    bench: WorkerBench, runner: FakeRunner
) -> None:
    begun(bench, runner, "fine")
    runner.says("exited")
    bench.worker.on_disconnected()
    runner.connect(runner.holds(DONE))
    assert (bench.recorder.states, bench.beat()["running"]) == (["done"], [])


@pytest.mark.parametrize("exited", [False, True])
def test_what_a_runner_took_with_it_is_lost_when_none_comes_for_some_seconds(
    bench: WorkerBench, runner: FakeRunner, monkeypatch: pytest.MonkeyPatch, exited: bool
) -> None:
    begun(bench, runner, "fine")
    if exited:
        runner.says("exited")
    bench.begin("given")
    bench.worker.on_disconnected()
    bench.worker.tick()
    assert bench.recorder.results == []
    monkeypatch.setattr(runner_state, "LOST_SECONDS", -1.0)
    bench.worker.tick()
    assert [(result.task, result.state) for result in bench.recorder.results] == [(TASK, "lost")]
    beat = bench.beat()
    assert (beat["running"], beat["reserved"]) == ([], [name_of("given")]), "which has not begun"
    other = bench.connect_fake()
    assert other.told("run") == [name_of("given")]


def test_a_runner_that_returns_too_late_is_believed(
    bench: WorkerBench, runner: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(bench, runner, "fine")
    bench.worker.on_disconnected()
    with monkeypatch.context() as patched:
        patched.setattr(runner_state, "LOST_SECONDS", -1.0)
        bench.worker.tick()
    assert bench.recorder.states == ["lost"]
    runner.connect(runner.runs())
    assert bench.beat()["running"] == [FINE]
    runner.says("ended", execution=DONE)
    assert bench.recorder.states == ["lost", "done"]
    assert bench.files.attempt(TASK, 1).result.exists()


def test_what_was_given_and_not_received_is_given_again(bench: WorkerBench, runner: FakeRunner) -> None:
    bench.begin()
    bench.worker.on_disconnected()
    runner.connect()
    assert runner.told("run") == [FINE] * 2
    bench.begin("second")
    bench.begin("third")
    assert runner.told("run") == [FINE, FINE, name_of("second")], "it has one slot, not two"


@pytest.mark.parametrize("end", ["running", DONE, "lost"])
def test_what_was_taken_back_and_runs_after_all_runs_once(
    bench: WorkerBench, runner: FakeRunner, monkeypatch: pytest.MonkeyPatch, end: Any
) -> None:
    bench.begin()  # the runner has it, and dies before it says so
    bench.worker.on_disconnected()
    with monkeypatch.context() as patched:
        patched.setattr(runner_state, "LOST_SECONDS", -1.0)
        bench.worker.tick()
    assert bench.beat()["reserved"] == [FINE]
    runner.connect(runner.holds(end))
    assert runner.told("run") == [FINE]
    if end == "running":
        assert bench.beat()["running"] == [FINE]
        bench.begin("second")
        bench.begin("third")
        assert runner.told("run") == [FINE, name_of("second")], "it has its devices again"
        runner.says("ended", execution=DONE)
    assert bench.recorder.states == ["lost" if end == "lost" else "done"]


def test_an_outcome_that_waits_for_room_is_not_taken_twice(
    bench: WorkerBench, runner: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(bench, runner, "fine")
    bench.recorder.failures = [OSError(28, "No space left on device")]
    runner.says("ended", execution=DONE)
    bench.worker.on_disconnected()
    runner.connect(runner.holds(DONE))
    assert (bench.recorder.results, runner.told("forget")) == ([], [])
    bench.worker._results._retry_at = 0.0
    bench.worker.tick()
    assert (bench.recorder.states, runner.told("forget")) == (["done"], [FINE])


# Real ones.


def begin_sleeping(live: RunnerBench) -> None:
    live.begin("sleep")
    wait_until(live.executions)


def test_a_worker_that_is_killed_repeats_nothing(live: RunnerBench) -> None:
    begin_sleeping(live)
    live.restart()
    live.connect()
    assert live.beat()["running"] == [name_of("sleep")]
    live.run("sleep")  # its message once more
    live.worker.stop_attempts([AttemptId(SLEEPING, 1)])
    wait_until(lambda: live.recorder.results)
    assert live.recorder.states == ["stopped"]
    live.restart()
    live.connect()
    assert (live.recorder.results, live.beat()["running"]) == ([], []), "the runner has forgotten it"
    assert live.executions() == ["sleep"]


def test_a_task_that_ends_while_there_is_no_worker_is_delivered_by_the_next_one(live: RunnerBench) -> None:
    assert live.link is not None
    live.link.is_deaf = True
    live.begin("fine")
    wait_until(lambda: live.executions() and not list(task_processes(live.files.tasks)))
    live.restart()
    live.connect()
    assert (live.recorder.states, live.executions()) == (["done"], ["fine"])
    assert live.files.attempt(TASK, 1).result.exists()


def test_a_connection_that_is_cut_is_made_again(live: RunnerBench) -> None:
    begin_sleeping(live)
    assert live.link is not None
    live.link.cut()
    wait_until(lambda: live.worker.has_runner)
    assert (live.beat()["running"], live.recorder.results) == ([name_of("sleep")], [])
    thread = threading.Thread(target=live.run, args=("fine",))
    thread.start()
    thread.join(60)
    assert live.recorder.states == ["done"]


def test_the_tasks_of_a_runner_that_is_killed_are_lost_and_ended_by_the_next_one(live: RunnerBench) -> None:
    begin_sleeping(live)
    live.kill_runner()
    wait_until(lambda: not live.worker.has_runner)
    assert list(task_processes(live.files.tasks)), "left to the next runner"
    live.start_runner()
    wait_until(lambda: live.recorder.results)
    assert live.recorder.states == ["lost"]
    assert list(task_processes(live.files.tasks)) == []
    wait_until(lambda: live.worker.has_runner)
    live.run("fine")
    assert live.executions() == ["sleep", "fine"]


def test_without_another_runner_they_are_lost_after_some_seconds(
    live: RunnerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_state, "LOST_SECONDS", 0.3)
    begin_sleeping(live)
    live.kill_runner()
    wait_until(lambda: live.recorder.results)
    assert live.recorder.states == ["lost"]


def test_both_are_killed(live: RunnerBench) -> None:
    begin_sleeping(live)
    live.kill_runner()
    live.restart()
    live.start_runner()
    live.connect()
    assert live.recorder.states == ["lost"]
    assert live.recorder.results[0].task == task_of("sleep")
    live.run("sleep")  # its message once more: the master has sent the next attempt
    assert (live.recorder.states, live.executions()) == (["lost", "lost"], ["sleep"])


def test_a_runner_that_is_told_to_end_hands_its_tasks_back(live: RunnerBench) -> None:
    begin_sleeping(live)
    assert live.process is not None
    live.process.send_signal(signal.SIGTERM)
    assert live.process.wait(60) == 0
    wait_until(lambda: live.recorder.results)
    assert live.recorder.states == ["stopped"]
    assert live.files.attempt(SLEEPING, 1).result.exists()


def test_a_stop_that_comes_with_the_attempt_ends_it(live: RunnerBench) -> None:
    assert live.process is not None
    live.process.send_signal(signal.SIGSTOP)  # it will read both at once
    live.begin("sleep")
    live.worker.stop_attempts([AttemptId(SLEEPING, 1)])
    live.process.send_signal(signal.SIGCONT)
    wait_until(lambda: live.recorder.results, 30)
    assert live.recorder.states == ["stopped"]


def test_an_outcome_that_the_runner_cannot_write_down_is_not_lost_with_the_connection(
    live: RunnerBench,
) -> None:
    assert live.process is not None
    assert live.link is not None
    live.begin("sleep")
    wait_until(lambda: live.executions() and live.beat()["running"])
    no_limit = resource.RLIM_INFINITY
    resource.prlimit(live.process.pid, resource.RLIMIT_FSIZE, (1, no_limit))  # as if its disk was full
    for task in task_processes(live.files.tasks):
        os.kill(task, signal.SIGKILL)
    wait_until(lambda: [held for held in live.worker._held if held.phase is Phase.EXITED])
    live.link.cut()
    wait_until(lambda: live.worker.has_runner)
    assert (live.beat()["running"], live.recorder.results) == ([name_of("sleep")], [])
    resource.prlimit(live.process.pid, resource.RLIMIT_FSIZE, (no_limit, no_limit))
    wait_until(lambda: live.recorder.results)
    assert live.recorder.states == ["failed"]
