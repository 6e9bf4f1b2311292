"""Project of the current code: what is right for it, and what tasks need."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from worker_bench import TASK, FakeRunner, RunnerBench, WorkerBench, assignment

from framework.errors import FrameworkError
from framework.messages.worker_events import Refusal, parse_event
from framework.worker.current_project import cached_project
from framework.worker.worker import AttemptFailed


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
    cached_project.cache_clear()
    assert "of 2048 MiB (free_disk)" in bench.beat()["notice"]


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
