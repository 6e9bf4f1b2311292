"""Results: handed over before they are kept, kept when there is room, and completed after a crash."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from worker_bench import DONE, TASK, FakeRunner, RunnerBench, WorkerBench, name_of, record_disk_calls

from framework.files import write_atomically
from framework.messages.task_ids import AttemptId
from framework.worker import results as results_module
from framework.worker.results import finish_earlier_results
from framework.worker.worker import AttemptFailed


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


def test_a_result_that_a_crash_left_in_the_spool_gets_to_its_place(live: RunnerBench) -> None:
    live.run("fine")
    files = live.files.attempt(TASK, 1)
    content = files.result.read_text()
    files.result.unlink()
    live.files.spool.mkdir(exist_ok=True)
    (live.files.spool / f"{TASK}.1.json").write_text(content)
    finish_earlier_results(live.files)
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
    finish_earlier_results(live.files)
    assert files.result.read_text() == content
    assert live.files.attempt(TASK, 2).result.read_text() == "kept"
    assert len(list(live.files.spool.iterdir())) == 4, "the publisher sends them"


def test_what_a_killed_worker_was_writing_into_the_spool_is_removed(bench: WorkerBench) -> None:
    finish_earlier_results(bench.files)
    bench.files.spool.mkdir()
    (bench.files.spool / f".{TASK}.1.json.k3_x9abc").write_text("{half")
    (bench.files.spool / f"{TASK}.2.json").write_text("{}")
    (bench.files.spool / f"{TASK}.1.damaged").touch()
    finish_earlier_results(bench.files)
    kept = {file.name for file in bench.files.spool.iterdir()}
    assert kept == {f"{TASK}.2.json", f"{TASK}.1.damaged"}


def test_what_cannot_be_removed_from_the_spool_holds_nothing_up(
    bench: WorkerBench, runner: FakeRunner, caplog: pytest.LogCaptureFixture
) -> None:
    bench.begin()
    runner.says("ended", execution=DONE)
    result = bench.files.attempt(TASK, 1).result
    (bench.files.spool / ".in.the.way.12345678").mkdir(parents=True)
    result.rename(bench.files.spool / f"{TASK}.1.json")
    finish_earlier_results(bench.files)
    assert result.exists()
    assert "cannot be removed" in caplog.text


def test_a_pipe_in_the_spool_is_not_waited_for(bench: WorkerBench, caplog: pytest.LogCaptureFixture) -> None:
    bench.files.spool.mkdir()
    os.mkfifo(bench.files.spool / f"{TASK}.1.json")
    (bench.files.spool / f"{TASK}.2.json").write_text("[" * 100_000)
    finish_earlier_results(bench.files)
    assert len(caplog.messages) == 2
    assert "no regular file" in caplog.text


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

        monkeypatch.setattr(results_module, "write_atomically", write_if_there_is_room)
    held = bench.begin()
    runner.says("taken")
    runner.says("ended", execution=DONE)
    assert (len(failures), bench.beat()["running"]) == (2, [name_of("fine")])
    assert (held.over.is_set(), runner.told("forget") == []) == (False, what == "spool")
    bench.worker.tick()
    assert len(failures) == 2, "it is not tried again before some time has passed"
    monkeypatch.setattr(results_module, "RETRY_SECONDS", 0.0)
    bench.worker._results._retry_at = 0.0
    bench.worker.tick()
    bench.worker.tick()
    assert (len(failures), held.over.is_set()) == (0, False)
    bench.worker.tick()
    assert (held.over.is_set(), bench.beat()["running"]) == (True, [])
    assert set(bench.recorder.states) == {"done"}
    assert set(runner.told("forget")) == {name_of("fine")}
    assert bench.files.attempt(TASK, 1).result.exists()


@pytest.mark.parametrize("what", ["directory of its attempt", "result.json"])
def test_a_task_that_puts_something_in_the_place_of_its_result_does_not_keep_it(
    bench: WorkerBench, runner: FakeRunner, what: str
) -> None:
    held = bench.begin()
    runner.says("taken")
    files = bench.files.attempt(TASK, 1)
    if what == "result.json":
        files.result.mkdir(parents=True)
    else:
        files.directory.parent.mkdir()
        files.directory.touch()
    runner.says("ended", execution=DONE)
    assert (held.over.is_set(), bench.recorder.states) == (True, ["done"])
    assert runner.told("forget") == [name_of("fine")]


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


def test_a_kept_result_is_sent_again_in_the_name_of_this_infrastructure(live: RunnerBench) -> None:
    live.run("fine")
    kept = live.files.attempt(TASK, 1).result
    kept.write_text(kept.read_text().replace("infra-1", "infra-0"))
    live.run("fine")
    assert [result.infrastructure for result in live.recorder.results] == ["infra-1", "infra-1"]
    assert live.executions() == ["fine"]


@pytest.mark.parametrize(
    "content",
    ["", "{half", "{}", "5", "\0" * 100, "[" * 100_000, "pipe", "directory"],
    ids=lambda content: repr(content)[:12],
)
def test_a_result_that_was_torn_or_replaced_is_none(
    bench: WorkerBench, runner: FakeRunner, content: str
) -> None:
    files = bench.files.attempt(TASK, 1)
    files.directory.mkdir(parents=True)
    if content == "pipe":  # by the task
        os.mkfifo(files.result)
    elif content == "directory":
        files.result.mkdir()
    else:
        files.result.write_text(content)
    bench.run("fine")
    assert (bench.recorder.states, runner.told("run")) == (["lost"], [])
