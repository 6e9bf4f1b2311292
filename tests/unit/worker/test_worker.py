"""Worker without Celery and broker: each attempt runs once, and the master hears of it."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from typing import Any

import pytest
from runner_bench import wait_until
from worker_bench import (
    DONE,
    SLEEPING,
    TASK,
    FakeRunner,
    RunnerBench,
    WorkerBench,
    assignment,
    name_of,
)

from framework.messages.assignment import AttemptResult
from framework.messages.task_ids import AttemptId, task_id
from framework.worker.worker import AttemptFailed, AttemptLeft


def test_a_task_is_run_and_its_result_kept_and_delivered(live: RunnerBench) -> None:
    live.run("fine")
    (result,) = live.recorder.results
    assert (result.state, result.exit_code, result.metrics) == ("done", 0, {"loss": 0.25})
    assert (result.host, result.code, result.image) == ("host1", "v1", "sha256:1")
    kept = json.loads(live.files.attempt(TASK, 1).result.read_text())
    assert AttemptResult.from_message(kept) == result
    assert live.recorder.events[0]["kind"] == "started"
    assert live.executions() == ["fine"]


def test_a_failed_task_is_failed_for_celery_too(live: RunnerBench) -> None:
    with pytest.raises(AttemptFailed):
        live.run("fail")
    (result,) = live.recorder.results
    assert (result.state, result.exit_code) == ("failed", 3)


def test_a_function_is_called(live: RunnerBench) -> None:
    live.push("v2", "f1")
    (live.code / "v2/project/project.yml").write_text("function: program:run\n")
    (live.code / "v2/project/program.py").write_text(
        "import framework\ndef run(x):\n    framework.report(loss=0.5)\n    return {'x': x}\n"
    )
    task = task_id((), {"x": "fine"}, "program:run")
    for attempt in (1, 2):
        live.worker.run(assignment("fine", attempt) | {"task": task})
    assert [(result.state, result.metrics) for result in live.recorder.results] == [
        ("done", {"loss": 0.5, "x": "fine"})
    ] * 2


def test_a_message_that_comes_again_runs_nothing_and_sends_the_result_again(live: RunnerBench) -> None:
    live.run("fine")
    live.run("fine")
    assert live.recorder.results[0] == live.recorder.results[1]
    live.restart()
    live.connect()
    live.run("fine")
    assert live.executions() == ["fine"]
    assert len(live.recorder.results) == 1


def test_an_attempt_that_was_begun_before_and_that_nobody_knows_is_lost_at_once(live: RunnerBench) -> None:
    live.files.attempt(TASK, 1).work.mkdir(parents=True)
    live.run("fine")
    assert (live.executions(), live.recorder.states) == ([], ["lost"])
    assert live.recorder.results[0].reason == "it was begun on this host before, and has no result"
    assert not live.files.attempt(TASK, 1).result.exists(), "a result may come after all"
    assert live.beat()["running"] == live.beat()["reserved"] == []
    live.run("fine", attempt=2)
    assert live.executions() == ["fine"]


def test_beats_name_what_is_held_and_a_stopped_worker_hands_its_tasks_back(live: RunnerBench) -> None:
    name = f"{SLEEPING}.1"
    live.worker.reserve(AttemptId(SLEEPING, 1))
    assert (live.beat()["reserved"], live.beat()["slots"]) == ([name], 2)
    failed: list[str] = []

    def run() -> None:
        try:
            live.run("sleep")
        except AttemptFailed as error:
            failed.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(live.executions)
    beat = live.beat()
    assert (beat["running"], beat["reserved"]) == ([name], [])
    live.run("sleep")  # the same message again, while it runs
    live.worker.stop_attempts([AttemptId(SLEEPING, 7)])
    live.worker.stop()
    thread.join(60)
    assert not thread.is_alive()
    assert len(failed) == 1
    assert live.recorder.states == ["stopped"]
    assert live.executions() == ["sleep"]
    beat = live.beat()
    assert (beat["running"], beat["reserved"], beat["slots"]) == ([], [], 0)


def test_attempts_are_stopped_one_by_one_and_reserved_ones_skipped(live: RunnerBench) -> None:
    first, second = AttemptId(SLEEPING, 1), AttemptId(TASK, 2)
    live.worker.reserve(first)
    live.worker.reserve(second)

    def run(value: str, attempt: int) -> None:
        with suppress(AttemptFailed):
            live.run(value, attempt)

    thread = threading.Thread(target=run, args=("sleep", 1))
    thread.start()
    wait_until(live.executions)
    live.worker.stop_attempts([second])
    run("fine", 2)
    assert live.executions() == ["sleep"], "the second was reserved, and skipped"
    assert [(result.attempt, result.state) for result in live.recorder.results] == [(2, "stopped")]
    assert (live.beat()["running"], live.beat()["reserved"]) == ([str(first)], [])
    live.worker.stop_attempts([first])
    thread.join(60)
    assert [(result.attempt, result.state) for result in live.recorder.results] == [
        (2, "stopped"),
        (1, "stopped"),
    ]
    assert live.beat()["slots"] == 2, "the worker itself goes on"
    run("fine", 3)
    assert live.executions() == ["sleep", "fine"]


def test_a_worker_that_is_stopped_begins_nothing(bench: WorkerBench, runner: FakeRunner) -> None:
    bench.worker.stop()
    with pytest.raises(AttemptFailed):
        bench.run("fine")
    assert bench.executions() == []
    assert [result.state for result in bench.recorder.results] == ["stopped"]


def test_new_framework_files_restart_a_worker_whatever_it_holds(
    bench: WorkerBench, runner: FakeRunner
) -> None:
    bench.push("v2", "f1")
    assert (bench.beat()["slots"], bench.worker.restart_reason()) == (2, ""), (
        "other project files need no restart"
    )
    bench.begin("sleep")
    runner.says("taken", "sleep")
    bench.worker.reserve(AttemptId(TASK, 1))
    bench.push("v3", "f2")
    assert (bench.beat()["slots"], bench.worker.restart_reason()) == (0, "new framework files")


def test_a_heartbeat_has_no_effect(bench: WorkerBench, runner: FakeRunner) -> None:
    bench.worker.reserve(AttemptId(TASK, 1))
    assert bench.beat() == bench.beat()
    bench.push("v2", "f2")
    assert [bench.beat()["slots"] for _ in range(3)] == [0, 0, 0]
    assert runner.sent == []


def test_the_incarnation_of_a_worker_differs_after_each_start(bench: WorkerBench) -> None:
    before = bench.beat()["incarnation"]
    assert bench.beat()["incarnation"] == before
    bench.restart()
    assert bench.beat()["incarnation"] != before


@pytest.mark.parametrize("is_taken", [False, True])
def test_an_attempt_that_the_runner_has_is_stopped_by_it(
    bench: WorkerBench, runner: FakeRunner, is_taken: bool
) -> None:
    held = bench.begin()
    if is_taken:
        runner.says("taken")
    bench.worker.stop_attempts([AttemptId(TASK, 1), AttemptId(SLEEPING, 1)])
    assert runner.told("stop") == [name_of("fine")]
    assert (held.over.is_set(), bench.recorder.results) == (False, []), "it has not ended"
    runner.says("ended", execution=DONE | {"state": "stopped"})
    assert (held.over.is_set(), bench.recorder.states) == (True, ["stopped"])


def test_an_attempt_that_is_stopped_while_the_runner_is_away_is_stopped_when_it_is_back(
    bench: WorkerBench, runner: FakeRunner
) -> None:
    bench.begin()
    runner.says("taken")
    bench.worker.on_disconnected()
    bench.worker.stop_attempts([AttemptId(TASK, 1)])
    assert runner.told("stop") == []
    runner.connect(runner.runs())
    assert runner.told("stop") == [name_of("fine")]


def test_a_message_is_needed_until_the_runner_has_its_attempt_on_the_disk(
    bench: WorkerBench, runner: FakeRunner
) -> None:
    calls: list[str] = []
    thread = threading.Thread(
        target=bench.worker.run, args=(assignment("fine"), lambda: calls.append("acknowledged"))
    )
    thread.start()
    wait_until(lambda: runner.sent)
    runner.says("started", when=5.0)
    assert (thread.is_alive(), calls) == (True, [])
    runner.says("taken")
    wait_until(lambda: calls)
    assert (thread.is_alive(), bench.recorder.results) == (True, [])
    runner.says("ended", execution=DONE)
    thread.join(60)
    assert calls == ["acknowledged"]


def test_a_message_is_acknowledged_when_the_result_of_an_attempt_that_was_not_begun_is_kept(
    bench: WorkerBench,
) -> None:
    calls: list[str] = []
    bench.worker.stop()
    with pytest.raises(AttemptFailed):
        bench.worker.run(assignment("fine"), lambda: calls.append(*bench.recorder.states))
    assert calls == ["stopped"]


def test_a_worker_that_leaves_hands_back_what_waits_and_keeps_what_runs(
    bench: WorkerBench, runner: FakeRunner
) -> None:
    given, taken, waiting = bench.begin("fine", 1), bench.begin("fine", 2), bench.begin("fine", 3)
    runner.says("taken", attempt=2)
    bench.worker.leave(for_good=False)
    assert [(result.attempt, result.state) for result in bench.recorder.results] == [(3, "stopped")]
    assert (given.over.is_set(), taken.over.is_set(), waiting.over.is_set()) == (False, True, True)
    assert runner.told("stop") == []
    runner.says("taken", attempt=1)
    assert (given.taken.is_set(), given.over.is_set(), given.outcome) == (True, True, None)
    beat = bench.beat()
    assert (beat["running"], beat["slots"]) == ([name_of("fine", 1), name_of("fine", 2)], 0)
    late = bench.begin("fine", 4)
    assert late.over.is_set()
    assert bench.recorder.states == ["stopped", "stopped"]


@pytest.mark.parametrize("for_good", [False, True])
def test_the_runner_is_told_of_a_worker_that_leaves_for_good(
    bench: WorkerBench, runner: FakeRunner, for_good: bool
) -> None:
    bench.worker.leave(for_good)
    assert runner.sent == [{"do": "leave"}] * for_good


def test_a_thread_that_waits_for_an_attempt_is_told_that_it_is_left(
    bench: WorkerBench, runner: FakeRunner
) -> None:
    calls: list[str] = []

    def run() -> None:
        try:
            bench.worker.run(assignment("fine"), lambda: calls.append("acknowledged"))
        except AttemptLeft:
            calls.append("left")

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(lambda: runner.sent)
    bench.worker.leave(for_good=False)
    thread.join(0.1)
    assert thread.is_alive(), "it is not on the disk yet"
    runner.says("taken")
    thread.join(60)
    assert (calls, bench.recorder.results) == (["acknowledged", "left"], [])


def test_nothing_runs_without_a_runner_and_the_master_is_told(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat = bench.beat()
    assert beat["slots"] == 0
    assert (
        beat["notice"] == "its runner does not answer: it gets no tasks; see docker logs infra-1-runner there"
    )
    held = bench.begin()
    bench.worker.tick()
    assert bench.beat()["reserved"] == [name_of("fine")]
    held.hand_back_at = 0.0
    bench.worker.tick()
    assert bench.recorder.states == ["stopped"]
    assert bench.recorder.results[0].reason == "there was no room for it in 60 s: handed back"


def test_what_an_attempt_reports_reaches_the_master(bench: WorkerBench, runner: FakeRunner) -> None:
    bench.begin()
    runner.says("started", when=5.0)
    runner.says("metrics", metrics={"loss": 0.5}, reports=[[1, 0.75], [3, 0.5]])
    runner.says("exited")
    assert bench.beat()["running"] == [name_of("fine")], "its outcome is not known yet"
    assert bench.beat()["slots"] == 2, "its devices are free"
    runner.says("ended", execution=DONE)
    assert [event["kind"] for event in bench.recorder.events] == ["started", "metrics"]
    assert bench.recorder.events[0]["started"] == 5.0
    assert bench.recorder.events[1]["reports"] == [[1, 0.75], [3, 0.5]]
    (result,) = bench.recorder.results
    assert (result.started, result.seconds, result.metrics) == (5.0, 1.5, {"loss": 0.25})


@pytest.mark.parametrize(
    "event",
    [{"event": "taken"}, {"event": "ended", "attempt": "../x", "execution": DONE},
     {"event": "ended", "attempt": name_of("other"), "execution": DONE},
     {"event": "of a newer runner", "attempt": name_of("fine")},
     {"event": "held", "attempt": name_of("other"), "context": {}, "started": None, "ended": "running"},
     {"event": "held", "attempt": name_of("other"), "context": None, "started": None, "ended": DONE}],
)  # fmt: skip
def test_an_event_that_says_nothing_is_ignored(
    bench: WorkerBench, runner: FakeRunner, event: dict[str, Any]
) -> None:
    bench.begin()
    bench.worker.on_event(event)
    assert (bench.recorder.results, bench.beat()["reserved"]) == ([], [name_of("fine")])
