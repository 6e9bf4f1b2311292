"""Attempts that wait: begun in their order with the code of that moment, or handed back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from runner_bench import wait_until
from worker_bench import DONE, TASK, FakeRunner, RunnerBench, WorkerBench, name_of

from framework.errors import FrameworkError
from framework.messages.task_ids import AttemptId
from framework.project.resources import Resources
from framework.worker import waiting_attempts
from framework.worker.allocator import Allocation


def test_all_that_waits_and_has_devices_begins_with_the_runner(bench: WorkerBench) -> None:
    bench.begin("fine")
    bench.begin("other")
    assert bench.connect_fake().told("run") == [name_of("fine"), name_of("other")]


def test_what_the_host_is_short_of_is_waited_for(
    bench: WorkerBench, runner: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = bench.begin()
    runner.says("refused", reason="no room on the disk")
    assert (bench.beat()["reserved"], bench.beat()["running"]) == ([name_of("fine")], [])
    assert bench.beat()["slots"] == 2, "its devices were released"
    monkeypatch.setattr(waiting_attempts, "HAND_BACK_SECONDS", 0.0)
    bench.worker.tick()
    assert runner.told("run") == [name_of("fine")], "not before some seconds have passed"
    assert bench.recorder.results == [], "it is not handed back"
    assert time.monotonic() < held.retry_at <= time.monotonic() + waiting_attempts.RETRY_SECONDS
    held.retry_at = 0.0
    bench.worker.tick()
    assert runner.told("run") == [name_of("fine")] * 2
    runner.says("taken")
    runner.says("ended", execution=DONE)
    assert bench.recorder.states == ["done"]


def test_an_attempt_that_is_refused_and_unwanted_does_not_wait(
    bench: WorkerBench, runner: FakeRunner
) -> None:
    bench.begin()
    bench.worker.stop_attempts([AttemptId(TASK, 1)])
    assert runner.told("stop") == [name_of("fine")]
    runner.says("refused", reason="no room on the disk")
    bench.worker.tick()
    assert (runner.told("run"), bench.recorder.states) == ([name_of("fine")], ["stopped"])


def test_a_runner_without_room_is_asked_again_until_it_has_some(
    live: RunnerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_attempts, "RETRY_SECONDS", 0.05)
    in_the_way = live.files.attempt(TASK, 1).directory.parent
    in_the_way.touch()  # the runner cannot make directories in it
    thread = threading.Thread(target=live.run, args=("fine",))
    thread.start()
    wait_until(lambda: [held for held in live.worker._held if held.retry_at])
    assert (live.executions(), live.recorder.results) == ([], [])
    in_the_way.unlink()
    thread.join(60)
    assert (live.executions(), live.recorder.states) == (["fine"], ["done"])
    assert [event["kind"] for event in live.recorder.events].count("started") == 1


def allocate_after(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch, event: Callable[[], None], *, room: bool
) -> list[Allocation | None]:
    """Let something happen while the first request for devices is under way; the allocations."""
    allocations: list[Allocation | None] = []
    allocate = bench.worker._allocator.allocate

    def allocate_and_let_it_happen(needs: Resources) -> Allocation | None:
        allocation = allocate(needs) if allocations or room else None
        allocations.append(allocation)
        if len(allocations) == 1:
            event()
        return allocation

    monkeypatch.setattr(bench.worker._allocator, "allocate", allocate_and_let_it_happen)
    return allocations


def test_an_attempt_whose_command_changes_while_it_waits_is_handed_back(
    bench: WorkerBench, runner: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def push() -> None:
        bench.push("v2", "f1")
        (bench.code / "v2/project/project.yml").write_text("command: python3 another.py\n")

    allocate_after(bench, monkeypatch, push, room=False)
    bench.begin()
    bench.worker.tick()
    with pytest.raises(FrameworkError, match="with the command of code v2"):
        bench.run("fine", attempt=2)
    (result,) = bench.recorder.results
    assert (result.state, runner.told("run")) == ("stopped", [])
    assert "with the command of code v2, which came while it waited: handed back" in result.reason
    assert bench.beat()["slots"] == 2


def test_an_attempt_that_waits_runs_with_the_newest_code(
    bench: WorkerBench, runner: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    allocations = allocate_after(bench, monkeypatch, lambda: bench.push("v2", "f1"), room=False)
    bench.begin()
    bench.worker.tick()
    assert len(allocations) == 2
    assert runner.job()["project_path"] == str(bench.code / "v2/project")
    runner.says("ended", execution=DONE)
    assert [(result.state, result.code) for result in bench.recorder.results] == [("done", "v2")]
    assert bench.beat()["slots"] == 2, "all devices were released"


def test_an_attempt_that_is_given_runs_with_the_code_of_that_moment(
    bench: WorkerBench, runner: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    allocate_after(bench, monkeypatch, lambda: bench.push("v2", "f1"), room=True)
    bench.begin()
    assert runner.job()["project_path"] == str(bench.code / "v1/project")
    assert runner.job()["context"]["code"] == "v1"
    runner.says("ended", execution=DONE)
    assert [result.code for result in bench.recorder.results] == ["v1"]


def test_an_attempt_that_is_stopped_while_it_waits_does_not_begin(bench: WorkerBench) -> None:
    held = bench.begin()  # there is no runner
    bench.worker.stop_attempts([AttemptId(TASK, 1)])
    assert held.outcome is not None
    assert (held.outcome.state, held.outcome.reason) == ("stopped", "stopped before it began")
    assert (held.taken.is_set(), held.over.is_set()) == (True, True)
    assert bench.connect_fake().sent == []


def test_what_is_to_be_handed_back_is_so_unless_a_runner_may_have_begun_it(
    bench: WorkerBench, runner: FakeRunner
) -> None:
    for number in range(1, 4):
        bench.begin("fine", number)
    bench.worker.reserve(AttemptId(TASK, 4))
    runner.says("taken", attempt=1)
    bench.worker.hand_back([AttemptId(TASK, number) for number in range(1, 6)])
    assert [(result.attempt, result.state) for result in bench.recorder.results] == [(3, "stopped")]
    bench.begin("fine", 4)
    assert [(result.attempt, result.state) for result in bench.recorder.results[1:]] == [(4, "stopped")]
    assert runner.told("stop") == [], "what has begun goes on"
    for number in (1, 2):
        runner.says("ended", attempt=number, execution=DONE)
    assert bench.recorder.states[2:] == ["done", "done"]
    bench.begin("fine", 5)
    assert runner.told("run")[2:] == [name_of("fine", 5)], "it came later"


def test_attempts_are_given_in_the_order_in_which_they_came(bench: WorkerBench, runner: FakeRunner) -> None:
    for number in range(1, 6):
        bench.begin("fine", number)
    assert runner.told("run") == [name_of("fine", 1), name_of("fine", 2)]
    runner.says("exited", attempt=2)
    runner.says("ended", attempt=1, execution=DONE)
    assert runner.told("run")[2:] == [name_of("fine", 3), name_of("fine", 4)]


def test_an_attempt_that_was_refused_does_not_keep_others_waiting(
    bench: WorkerBench, runner: FakeRunner
) -> None:
    bench.begin("fine", 1)
    runner.says("refused", reason="no room on the disk")
    bench.begin("fine", 2)
    bench.worker.tick()
    assert runner.told("run") == [name_of("fine", 1), name_of("fine", 2)]
