"""Worker without Celery and broker: each attempt runs once, and the master hears of it."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from worker_bench import SLEEPING, TASK, WorkerBench, assignment, record_disk_calls

from framework.errors import FrameworkError
from framework.messages.assignment import AttemptResult
from framework.messages.task_ids import AttemptId, task_id
from framework.messages.worker_events import Refusal, parse_event
from framework.project.resources import Resources
from framework.runner.attempt import Execution, run_attempt
from framework.worker import worker as worker_module
from framework.worker.allocator import Allocation
from framework.worker.worker import AttemptFailed


@pytest.fixture
def bench(tmp_path: Path) -> WorkerBench:
    return WorkerBench(tmp_path)


def test_a_task_is_run_and_its_result_kept_and_delivered(bench: WorkerBench) -> None:
    bench.run("fine")
    (result,) = bench.recorder.results
    assert (result.state, result.exit_code, result.metrics) == ("done", 0, {"loss": 0.25})
    assert (result.host, result.code, result.image) == ("host1", "v1", "sha256:1")
    kept = json.loads(bench.files.attempt(TASK, 1).result.read_text())
    assert AttemptResult.from_message(kept) == result
    assert bench.recorder.events[0]["kind"] == "started"
    assert bench.executions() == ["fine"]


def test_a_failed_task_is_failed_for_celery_too(bench: WorkerBench) -> None:
    with pytest.raises(AttemptFailed):
        bench.run("fail")
    (result,) = bench.recorder.results
    assert (result.state, result.exit_code) == ("failed", 3)


def test_a_function_is_called(bench: WorkerBench) -> None:
    bench.push("v2", "f1")
    (bench.code / "v2/project/project.yml").write_text("function: program:run\n")
    (bench.code / "v2/project/program.py").write_text(
        "import framework\ndef run(x):\n    framework.report(loss=0.5)\n    return {'x': x}\n"
    )
    task = task_id((), {"x": "fine"}, "program:run")
    for attempt in (1, 2):
        bench.worker.run(assignment("fine", attempt) | {"task": task})
    bench.worker.programs.close()
    assert [(result.state, result.metrics) for result in bench.recorder.results] == [
        ("done", {"loss": 0.5, "x": "fine"})
    ] * 2


def test_a_message_that_comes_again_runs_nothing_and_sends_the_result_again(bench: WorkerBench) -> None:
    bench.run("fine")
    bench.run("fine")
    bench.worker, bench.recorder = bench.start()
    bench.run("fine")
    assert bench.executions() == ["fine"]
    assert len(bench.recorder.results) == 1


def test_an_attempt_that_an_earlier_worker_began_is_left_to_the_master(bench: WorkerBench) -> None:
    bench.files.attempt(TASK, 1).work.mkdir(parents=True)
    bench.run("fine")
    assert (bench.executions(), bench.recorder.results) == ([], [])
    bench.run("fine", attempt=2)
    assert bench.executions() == ["fine"]


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
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = {"bytes": 150 * 10**6}
    monkeypatch.setattr(
        "shutil.disk_usage", lambda path: SimpleNamespace(total=100 * 10**9, used=0, free=free["bytes"])
    )
    beat = bench.beat()
    assert (beat["slots"], beat["notice"][:25]) == (0, "only 150 MB are free on i")
    free["bytes"] = 900 * 10**6
    assert "of 1000 MB" in bench.beat()["notice"], "one percent of a large disk"
    free["bytes"] = 2 * 10**9
    assert (bench.beat()["slots"], bench.beat()["notice"]) == (2, "")


def test_the_reason_of_a_failure_on_a_full_disk_names_the_disk(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "shutil.disk_usage", lambda path: SimpleNamespace(total=10**9, used=10**9, free=5 * 10**6)
    )
    bench.run("fine")
    with pytest.raises(AttemptFailed):
        bench.run("fail")
    done, failed = bench.recorder.results
    assert done.reason == ""
    assert failed.reason == "exit code 3; only 5 MB are free on its disk, of 200 MB that are needed"


def test_the_reason_of_a_broken_project_fits_into_a_message(bench: WorkerBench) -> None:
    bench.push("v2", "f1")
    (bench.code / "v2/project/project.yml").write_text(
        "command: x\n" + "".join(f"unknown{number}: 1\n" for number in range(200))
    )
    with pytest.raises(AttemptFailed):
        bench.run("fine")
    assert bench.recorder.results[0].state == "failed"


def test_beats_name_what_is_held_and_a_stopped_worker_hands_its_tasks_back(bench: WorkerBench) -> None:
    name = f"{SLEEPING}.1"
    bench.worker.reserve(AttemptId(SLEEPING, 1))
    assert (bench.beat()["reserved"], bench.beat()["slots"]) == ([name], 2)
    failed: list[str] = []

    def run() -> None:
        try:
            bench.run("sleep")
        except AttemptFailed as error:
            failed.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    assert bench.recorder.has_metrics.wait(60)
    beat = bench.beat()
    assert (beat["running"], beat["reserved"]) == ([name], [])
    bench.run("sleep")  # the same message again, while it runs
    bench.worker.stop_attempts([AttemptId(SLEEPING, 7)])
    bench.worker.stop()
    thread.join(20)
    assert not thread.is_alive()
    assert len(failed) == 1
    assert [result.state for result in bench.recorder.results] == ["stopped"]
    assert bench.executions() == ["sleep"]
    beat = bench.beat()
    assert (beat["running"], beat["reserved"], beat["slots"]) == ([], [], 0)


def test_attempts_are_stopped_one_by_one_and_reserved_ones_skipped(bench: WorkerBench) -> None:
    first, second = AttemptId(SLEEPING, 1), AttemptId(TASK, 2)
    bench.worker.reserve(first)
    bench.worker.reserve(second)

    def run(value: str, attempt: int) -> None:
        with suppress(AttemptFailed):
            bench.run(value, attempt)

    thread = threading.Thread(target=run, args=("sleep", 1))
    thread.start()
    assert bench.recorder.has_metrics.wait(60)
    bench.worker.stop_attempts([second])
    run("fine", 2)
    assert bench.executions() == ["sleep"], "the second was reserved, and skipped"
    assert [(result.attempt, result.state) for result in bench.recorder.results] == [(2, "stopped")]
    assert (bench.beat()["running"], bench.beat()["reserved"]) == ([str(first)], [])
    bench.worker.stop_attempts([first])
    thread.join(20)
    assert [(result.attempt, result.state) for result in bench.recorder.results] == [
        (2, "stopped"),
        (1, "stopped"),
    ]
    assert bench.beat()["slots"] == 2, "the worker itself goes on"
    run("fine", 3)
    assert bench.executions() == ["sleep", "fine"]


def test_a_worker_that_is_stopped_begins_nothing(bench: WorkerBench) -> None:
    bench.worker.stop()
    with pytest.raises(AttemptFailed):
        bench.run("fine")
    assert bench.executions() == []
    assert [result.state for result in bench.recorder.results] == ["stopped"]


def test_new_framework_files_restart_a_worker_that_holds_nothing(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    signals: list[int] = []
    monkeypatch.setattr("os.kill", lambda pid, number: signals.append(number))
    bench.push("v2", "f1")
    bench.worker.restart_if_due()
    assert (bench.beat()["slots"], signals) == (2, []), "other project files need no restart"
    bench.worker.reserve(AttemptId(TASK, 1))
    bench.push("v3", "f2")
    bench.worker.restart_if_due()
    assert (bench.beat()["slots"], signals) == (0, [])
    bench.worker.release(AttemptId(TASK, 1))
    bench.worker.restart_if_due()
    assert len(signals) == 1


def test_a_push_changes_what_the_next_task_runs(bench: WorkerBench) -> None:
    bench.run("fine")
    bench.push("v2", "f1")
    (bench.code / "v2/project/program.py").write_text("print('loss=0.5')")
    bench.run("fine", attempt=2)
    assert [(result.code, result.metrics["loss"]) for result in bench.recorder.results] == [
        ("v1", 0.25),
        ("v2", 0.5),
    ]


def test_a_broken_project_is_a_failed_attempt_with_the_reason(bench: WorkerBench) -> None:
    bench.push("v2", "f1")
    (bench.code / "v2/project/project.yml").write_text("comand: x\n")
    with pytest.raises(AttemptFailed):
        bench.run("fine")
    (result,) = bench.recorder.results
    assert result.state == "failed"
    assert "comand" in result.reason


def test_a_result_that_a_crash_left_in_the_spool_gets_to_its_place(bench: WorkerBench) -> None:
    bench.run("fine")
    files = bench.files.attempt(TASK, 1)
    content = files.result.read_text()
    files.result.unlink()
    bench.files.spool.mkdir(exist_ok=True)
    (bench.files.spool / f"{TASK}.1.json").write_text(content)
    bench.worker.finish_earlier_results()
    assert files.result.read_text() == content


def test_earlier_results_are_completed_whatever_else_lies_in_the_spool(bench: WorkerBench) -> None:
    bench.run("fine")
    files = bench.files.attempt(TASK, 1)
    content = files.result.read_text()
    files.result.unlink()
    bench.files.spool.mkdir(exist_ok=True)
    (bench.files.spool / "a.json").write_text("{half")
    (bench.files.spool / "b.json").write_text("{}")
    (bench.files.spool / f"{TASK}.1.json").write_text(content)
    (bench.files.spool / f"{TASK}.2.json").write_text(content.replace('"attempt": 1', '"attempt": 2'))
    bench.files.attempt(TASK, 2).directory.mkdir()
    bench.files.attempt(TASK, 2).result.write_text("kept")
    bench.worker.finish_earlier_results()
    assert files.result.read_text() == content
    assert bench.files.attempt(TASK, 2).result.read_text() == "kept"
    assert len(list(bench.files.spool.iterdir())) == 4, "the publisher sends them"


def test_a_heartbeat_has_no_effect(bench: WorkerBench, monkeypatch: pytest.MonkeyPatch) -> None:
    signals: list[int] = []
    monkeypatch.setattr("os.kill", lambda pid, number: signals.append(number))
    assert bench.beat() == bench.beat()
    bench.push("v2", "f2")
    assert [bench.beat()["slots"] for _ in range(3)] == [0, 0, 0]
    assert signals == [], "a heartbeat reports that the worker is out of date; it does not act on it"
    bench.worker.restart_if_due()
    assert signals == [signal.SIGTERM]


def test_a_worker_without_newer_files_is_not_restarted(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.kill", lambda *_: pytest.fail("restarted"))
    bench.worker.restart_if_due()
    bench.push("v2", "f1")
    bench.worker.restart_if_due()


def test_the_incarnation_of_a_worker_differs_after_each_start(bench: WorkerBench) -> None:
    before = bench.beat()["incarnation"]
    assert bench.beat()["incarnation"] == before
    bench.worker, bench.recorder = bench.start()
    assert bench.beat()["incarnation"] != before


def test_a_result_is_handed_over_before_it_is_written_into_the_directory_of_its_attempt(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = record_disk_calls(monkeypatch)
    deliver = bench.recorder.deliver_result

    def deliver_result(attempt: AttemptId, result: Mapping[str, Any]) -> None:
        calls.append("deliver")
        deliver(attempt, result)

    monkeypatch.setattr(bench.recorder, "deliver_result", deliver_result)
    bench.run("fine")
    assert calls[-4:] == ["deliver", "fsync result.json", "replace result.json", "fsync 1/"]


def test_a_result_that_cannot_be_kept_is_kept_when_there_is_room(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    failures = [OSError("no space left")] * 3
    deliver = bench.recorder.deliver_result

    def deliver_result(attempt: AttemptId, result: Mapping[str, Any]) -> None:
        if failures:
            raise failures.pop()
        deliver(attempt, result)

    def wait_for_stop(seconds: float) -> bool:
        pauses.append(seconds)
        return False

    monkeypatch.setattr(bench.recorder, "deliver_result", deliver_result)
    monkeypatch.setattr(bench.worker._held, "wait_for_stop", wait_for_stop)
    bench.run("fine")
    assert pauses == [worker_module.FULL_DISK_PAUSE_SECONDS] * 3
    assert [result.state for result in bench.recorder.results] == ["done"]
    assert bench.files.attempt(TASK, 1).result.exists()


def test_a_worker_that_is_stopped_waits_no_longer_for_room(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deliver_result(*_: object) -> None:
        bench.worker.stop()
        raise OSError("no space left")

    monkeypatch.setattr(bench.recorder, "deliver_result", deliver_result)
    with pytest.raises(OSError, match="no space left"):
        bench.run("fine")
    assert not bench.files.attempt(TASK, 1).result.exists()
    assert (bench.beat()["running"], bench.beat()["reserved"]) == ([], [])


def test_an_attempt_that_cannot_be_started_is_tried_again_until_there_is_room(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = [FrameworkError("no room")] * 2

    def run_if_there_is_room(*arguments: Any) -> Execution:
        if failures:
            raise failures.pop()
        return run_attempt(*arguments)

    monkeypatch.setattr(worker_module, "FULL_DISK_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(worker_module, "run_attempt", run_if_there_is_room)
    bench.run("fine")
    assert (failures, bench.executions()) == ([], ["fine"])
    assert [event["kind"] for event in bench.recorder.events].count("started") == 1


def allocate_after(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch, event: Callable[[], None], *, room: bool
) -> list[Allocation | None]:
    """Let something happen while the first request for devices is under way; the allocations."""
    allocations: list[Allocation | None] = []
    allocate = bench.worker._allocator.allocate

    def allocate_and_let_it_happen(needs: Resources, timeout: float) -> Allocation | None:
        allocation = allocate(needs, timeout) if allocations or room else None
        if not allocations:
            event()
        allocations.append(allocation)
        return allocation

    monkeypatch.setattr(bench.worker._allocator, "allocate", allocate_and_let_it_happen)
    return allocations


@pytest.mark.parametrize("room", [False, True])
def test_an_attempt_whose_command_changes_while_it_waits_is_handed_back(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch, room: bool
) -> None:
    def push() -> None:
        bench.push("v2", "f1")
        (bench.code / "v2/project/project.yml").write_text("command: python3 another.py\n")

    allocate_after(bench, monkeypatch, push, room=room)
    with pytest.raises(AttemptFailed, match="handed back"):
        bench.run("fine")
    (result,) = bench.recorder.results
    assert (result.state, bench.executions()) == ("stopped", [])
    assert "with the command of code v2, which came while it waited: handed back" in result.reason
    assert bench.beat()["slots"] == 2, "its devices were released"


@pytest.mark.parametrize("room", [False, True])
def test_an_attempt_that_waits_runs_with_the_newest_code(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch, room: bool
) -> None:
    allocations = allocate_after(bench, monkeypatch, lambda: bench.push("v2", "f1"), room=room)
    bench.run("fine")
    assert [(result.state, result.code) for result in bench.recorder.results] == [("done", "v2")]
    assert len(allocations) == 2
    assert bench.beat()["slots"] == 2, "all devices were released"


def test_an_attempt_that_is_stopped_while_it_waits_does_not_begin(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop() -> None:
        bench.worker.stop_attempts([AttemptId(TASK, 1)])

    allocate_after(bench, monkeypatch, stop, room=False)
    with pytest.raises(AttemptFailed, match="stopped before it began"):
        bench.run("fine")
    assert bench.executions() == []


def test_a_kept_result_is_sent_again_in_the_name_of_this_infrastructure(bench: WorkerBench) -> None:
    bench.run("fine")
    kept = bench.files.attempt(TASK, 1).result
    kept.write_text(kept.read_text().replace("infra-1", "infra-0"))
    bench.run("fine")
    assert [result.infrastructure for result in bench.recorder.results] == ["infra-1", "infra-1"]
    assert bench.executions() == ["fine"]
