"""Worker without Celery and broker: each attempt runs once, and the master hears of it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from worker_bench import (
    DONE,
    SLEEPING,
    TASK,
    FakeRunner,
    RunnerBench,
    WorkerBench,
    assignment,
    name_of,
    record_disk_calls,
    running,
    wait_until,
)

from framework.errors import FrameworkError
from framework.files import write_atomically
from framework.messages.assignment import AttemptResult
from framework.messages.task_ids import AttemptId, task_id
from framework.messages.worker_events import Refusal, parse_event
from framework.project.resources import Resources
from framework.worker import worker as worker_module
from framework.worker.allocator import Allocation
from framework.worker.worker import AttemptFailed, AttemptLeft


@pytest.fixture
def bench(tmp_path: Path) -> WorkerBench:
    """With a runner that only records."""
    return WorkerBench(tmp_path)


@pytest.fixture
def runner(bench: WorkerBench) -> FakeRunner:
    return bench.connect_fake()


@pytest.fixture
def live(tmp_path: Path) -> Iterator[RunnerBench]:
    """With a runner that executes."""
    with running(RunnerBench(tmp_path)) as bench:
        yield bench


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


@pytest.mark.parametrize("other", [{"infrastructure": "infra-2"}, {"project": "q"}])
def test_a_message_for_others_is_refused(bench: WorkerBench, other: dict[str, str]) -> None:
    with pytest.raises(FrameworkError, match="not run"):
        bench.worker.run(assignment("fine") | other)
    assert bench.executions() == []
    assert [news["kind"] for news in bench.recorder.events] == ["refused"]


@pytest.mark.parametrize("task", [TASK, "0123456789abcdef"])
def test_metaparameters_that_are_not_the_tasks_are_refused(bench: WorkerBench, task: str) -> None:
    with pytest.raises(FrameworkError, match=f"task {task}.1 is another one than its metaparameters make"):
        bench.worker.run(assignment("other") | {"task": task})
    assert (bench.executions(), bench.recorder.results) == ([], [])
    (news,) = bench.recorder.events
    assert isinstance(parse_event(json.loads(json.dumps(news))), Refusal)


def test_an_assignment_for_a_command_that_was_replaced_is_refused(bench: WorkerBench) -> None:
    bench.push("v2", "f1")
    (bench.code / "v2/project/project.yml").write_text("command: python3 another.py\n")
    with pytest.raises(FrameworkError, match="with the command of code v2"):
        bench.run("fine")
    assert (bench.executions(), bench.recorder.results) == ([], [])


@pytest.mark.parametrize(
    "message",
    [None, [], "rm -rf /", {}, {"task": TASK}, assignment("fine") | {"command": ["x"]},
     assignment("fine") | {"parameters": {"--x": 1}}, assignment("fine") | {"task": "../../etc"},
     assignment("fine") | {"parameters": {"x": "\ud800"}}, ["x" * 10**6]],
    ids=lambda message: repr(message)[:20],
)  # fmt: skip
def test_a_message_that_is_not_exactly_right_runs_nothing_and_the_master_hears_of_it(
    bench: WorkerBench, message: object
) -> None:
    with pytest.raises(FrameworkError):
        bench.worker.run(message)
    assert bench.executions() == []
    assert not list(bench.files.tasks.iterdir())
    (news,) = bench.recorder.events
    assert isinstance(parse_event(json.loads(json.dumps(news))), Refusal)


def test_a_full_disk_is_in_the_heartbeat_until_there_is_room(
    bench: WorkerBench, runner: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = {"bytes": 150 * 2**20}
    monkeypatch.setattr(
        "shutil.disk_usage", lambda path: SimpleNamespace(total=20 * 10**12, used=0, free=free["bytes"])
    )
    beat = bench.beat()
    assert (beat["slots"], beat["notice"][:26]) == (0, "only 150 MiB are free on i")
    free["bytes"] = 900 * 2**20
    assert (bench.beat()["slots"], bench.beat()["notice"]) == (2, ""), "however large the disk is"
    with (bench.code / "v1/project/project.yml").open("a") as settings:
        settings.write("free_disk: 2G\n")
    worker_module.cached_project.cache_clear()
    assert "of 2048 MiB (free_disk)" in bench.beat()["notice"]


def test_the_reason_of_a_failure_on_a_full_disk_names_the_disk(
    bench: WorkerBench, runner: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "shutil.disk_usage", lambda path: SimpleNamespace(total=10**9, used=10**9, free=5 * 2**20)
    )
    for value, execution in (("fine", {}), ("fail", {"state": "failed", "reason": "exit code 3"})):
        bench.begin(value)
        runner.says("ended", value, execution=DONE | execution)
    done, failed = bench.recorder.results
    assert done.reason == ""
    assert failed.reason == "exit code 3; only 5 MiB are free on its disk, of 200 MiB (free_disk)"


def test_the_reason_of_a_broken_project_fits_into_a_message(bench: WorkerBench, runner: FakeRunner) -> None:
    bench.push("v2", "f1")
    (bench.code / "v2/project/project.yml").write_text(
        "command: x\n" + "".join(f"unknown{number}: 1\n" for number in range(200))
    )
    with pytest.raises(AttemptFailed):
        bench.run("fine")
    assert bench.recorder.results[0].state == "failed"


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
    thread.join(20)
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
    thread.join(20)
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


def test_a_push_changes_what_the_next_task_runs(live: RunnerBench) -> None:
    live.run("fine")
    live.push("v2", "f1")
    (live.code / "v2/project/program.py").write_text("print('loss=0.5')")
    live.run("fine", attempt=2)
    assert [(result.code, result.metrics["loss"]) for result in live.recorder.results] == [
        ("v1", 0.25),
        ("v2", 0.5),
    ]


def test_a_broken_project_is_a_failed_attempt_with_the_reason(bench: WorkerBench, runner: FakeRunner) -> None:
    bench.push("v2", "f1")
    (bench.code / "v2/project/project.yml").write_text("comand: x\n")
    with pytest.raises(AttemptFailed):
        bench.run("fine")
    (result,) = bench.recorder.results
    assert result.state == "failed"
    assert "comand" in result.reason


def test_a_result_that_a_crash_left_in_the_spool_gets_to_its_place(live: RunnerBench) -> None:
    live.run("fine")
    files = live.files.attempt(TASK, 1)
    content = files.result.read_text()
    files.result.unlink()
    live.files.spool.mkdir(exist_ok=True)
    (live.files.spool / f"{TASK}.1.json").write_text(content)
    live.worker.finish_earlier_results()
    assert files.result.read_text() == content


def test_earlier_results_are_completed_whatever_else_lies_in_the_spool(live: RunnerBench) -> None:
    live.run("fine")
    files = live.files.attempt(TASK, 1)
    content = files.result.read_text()
    files.result.unlink()
    live.files.spool.mkdir(exist_ok=True)
    (live.files.spool / "a.json").write_text("{half")
    (live.files.spool / "b.json").write_text("{}")
    (live.files.spool / f"{TASK}.1.json").write_text(content)
    (live.files.spool / f"{TASK}.2.json").write_text(content.replace('"attempt": 1', '"attempt": 2'))
    live.files.attempt(TASK, 2).directory.mkdir()
    live.files.attempt(TASK, 2).result.write_text("kept")
    live.worker.finish_earlier_results()
    assert files.result.read_text() == content
    assert live.files.attempt(TASK, 2).result.read_text() == "kept"
    assert len(list(live.files.spool.iterdir())) == 4, "the publisher sends them"


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


def test_a_result_is_handed_over_before_it_is_written_into_the_directory_of_its_attempt(
    bench: WorkerBench, runner: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = record_disk_calls(monkeypatch)
    deliver, send = bench.recorder.deliver_result, runner.send

    def deliver_result(attempt: AttemptId, result: Mapping[str, Any], on_kept: Callable[[], None]) -> None:
        calls.append("deliver")
        deliver(attempt, result, on_kept)

    def recorded_send(**message: Any) -> None:
        calls.append(message["do"])
        send(**message)

    monkeypatch.setattr(bench.recorder, "deliver_result", deliver_result)
    monkeypatch.setattr(runner, "send", recorded_send)
    bench.begin()
    runner.says("ended", execution=DONE)
    assert calls == ["run", "deliver", "forget", "fsync result.json", "replace result.json", "fsync 1/"]


@pytest.mark.parametrize("what", ["spool", "result.json"])
def test_a_result_that_cannot_be_kept_is_kept_when_there_is_room(
    bench: WorkerBench, runner: FakeRunner, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    failures = [OSError(28, "No space left on device")] * 3
    if what == "spool":
        bench.recorder.failures = failures
    else:
        write = write_atomically

        def write_if_there_is_room(*arguments: Any, **options: Any) -> None:
            if failures:
                raise failures.pop()
            write(*arguments, **options)

        monkeypatch.setattr(worker_module, "write_atomically", write_if_there_is_room)
    held = bench.begin()
    runner.says("taken")
    runner.says("ended", execution=DONE)
    assert (len(failures), bench.beat()["running"]) == (2, [name_of("fine")])
    assert (held.over.is_set(), runner.told("forget") == []) == (False, what == "spool")
    bench.worker.tick()
    assert len(failures) == 2, "it is not tried again before some time has passed"
    monkeypatch.setattr(worker_module, "RETRY_SECONDS", 0.0)
    bench.worker._retry_at = 0.0
    bench.worker.tick()
    bench.worker.tick()
    assert (len(failures), held.over.is_set()) == (0, False)
    bench.worker.tick()
    assert (held.over.is_set(), bench.beat()["running"]) == (True, [])
    assert set(bench.recorder.states) == {"done"}
    assert set(runner.told("forget")) == {name_of("fine")}
    assert bench.files.attempt(TASK, 1).result.exists()


def test_an_outcome_that_cannot_be_kept_is_left_to_the_next_worker(
    bench: WorkerBench, runner: FakeRunner
) -> None:
    bench.recorder.failures = [OSError(28, "No space left on device")]
    bench.begin()
    runner.says("taken")
    runner.says("ended", execution=DONE)
    bench.worker.leave(for_good=True)
    bench.run("fine")  # the same message again: nobody waits for room
    assert runner.told("forget") == []
    held = runner.holds(DONE)
    bench.restart()
    runner = bench.connect_fake(held)
    assert (bench.recorder.states, runner.told("forget")) == (["done"], [name_of("fine")])


def test_what_the_host_is_short_of_is_waited_for(
    bench: WorkerBench, runner: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = bench.begin()
    runner.says("refused", reason="no room on the disk")
    assert (bench.beat()["reserved"], bench.beat()["running"]) == ([name_of("fine")], [])
    assert bench.beat()["slots"] == 2, "its devices were released"
    monkeypatch.setattr(worker_module, "HAND_BACK_SECONDS", 0.0)
    bench.worker.tick()
    assert runner.told("run") == [name_of("fine")], "not before some seconds have passed"
    assert bench.recorder.results == [], "it is not handed back"
    assert time.monotonic() < held.retry_at <= time.monotonic() + worker_module.RETRY_SECONDS
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
    monkeypatch.setattr(worker_module, "RETRY_SECONDS", 0.05)
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

    def allocate_and_let_it_happen(needs: Resources, timeout: float) -> Allocation | None:
        allocation = allocate(needs, timeout) if allocations or room else None
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
    assert (beat["slots"], beat["notice"]) == (0, "its runner does not answer: it gets no tasks")
    held = bench.begin()
    bench.worker.tick()
    assert bench.beat()["reserved"] == [name_of("fine")]
    held.hand_back_at = 0.0
    bench.worker.tick()
    assert bench.recorder.states == ["stopped"]
    assert bench.recorder.results[0].reason == "there was no room for it in 60 s: handed back"


def test_a_runner_is_given_nothing_before_it_has_named_what_it_holds(bench: WorkerBench) -> None:
    bench.begin()
    runner = FakeRunner(bench.worker)
    bench.worker.on_connected(runner, {"environment": {}, "image": ""})
    bench.worker.tick()
    assert (runner.sent, bench.worker.has_runner, bench.beat()["slots"]) == ([], False, 0)
    bench.worker.on_event({"event": "synced"})
    assert runner.told("run") == [name_of("fine")]
    assert bench.worker.has_runner


def test_a_result_names_the_image_of_the_runner_or_that_of_this_host(bench: WorkerBench) -> None:
    for attempt, image in ((1, "sha256:2"), (2, "")):
        runner = FakeRunner(bench.worker)
        bench.worker.on_connected(runner, {"environment": {}, "image": image})
        bench.worker.on_event({"event": "synced"})
        bench.begin("fine", attempt)
        runner.says("ended", "fine", attempt, execution=DONE)
    assert [result.image for result in bench.recorder.results] == ["sha256:2", "sha256:1"]


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


def test_a_kept_result_is_sent_again_in_the_name_of_this_infrastructure(live: RunnerBench) -> None:
    live.run("fine")
    kept = live.files.attempt(TASK, 1).result
    kept.write_text(kept.read_text().replace("infra-1", "infra-0"))
    live.run("fine")
    assert [result.infrastructure for result in live.recorder.results] == ["infra-1", "infra-1"]
    assert live.executions() == ["fine"]


@pytest.mark.parametrize("content", ["", "{half", "{}", "5", "\0" * 100])
def test_a_result_that_was_torn_is_none(bench: WorkerBench, runner: FakeRunner, content: str) -> None:
    files = bench.files.attempt(TASK, 1)
    files.directory.mkdir(parents=True)
    files.result.write_text(content)
    bench.run("fine")
    assert (bench.recorder.states, runner.told("run")) == (["lost"], [])


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
