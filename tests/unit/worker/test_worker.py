"""A worker without Celery and broker: what it runs, what it refuses to run twice, and what it tells."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery, signals

from framework.broker import worker_app as inbox
from framework.broker.celery_app import STOP_COMMAND, TASK_NAME
from framework.errors import FrameworkError
from framework.files import WorkerFiles
from framework.messages.assignment import Assignment, AttemptResult
from framework.messages.identity import Identity
from framework.messages.task_ids import AttemptId, task_id
from framework.messages.worker_events import Refusal, WorkerEvent, parse_event
from framework.worker import worker as worker_module
from framework.worker.worker import AttemptFailed, Worker

PROGRAM = """\
import sys, time
value = sys.argv[1].partition("=")[2]
print("loss=0.25", flush=True)
with open("../../../ran", "a") as ran:
    ran.write(value + "\\n")
if value == "sleep":
    time.sleep(60)
sys.exit(3 if value == "fail" else 0)
"""


class Recorder:
    """A publisher that keeps what the worker sends."""

    def __init__(self) -> None:
        self.events: list[Mapping[str, Any]] = []
        self.results: list[AttemptResult] = []

    def publish_event(self, event: WorkerEvent) -> None:
        assert parse_event(event.to_message()) == event
        self.events.append(event.to_message())

    def deliver_result(self, attempt: AttemptId, result: Mapping[str, Any]) -> None:
        self.results.append(AttemptResult.from_message(dict(result)))
        assert self.results[-1].id == attempt


class Bench:
    def __init__(self, path: Path) -> None:
        self.code = path / "code"
        self.push("v1", "f1")
        self.files = WorkerFiles(path / "data")
        self.files.tasks.mkdir(parents=True)
        self.worker, self.recorder = self.start()

    def push(self, version: str, framework: str) -> None:
        project = self.code / version / "project"
        project.mkdir(parents=True)
        (project / "project.yml").write_text("command: python3 program.py\n")
        (project / "parameters.yml").write_text("x: [1]\n")
        (project / "program.py").write_text(PROGRAM)
        (self.code / version / "VERSION").write_text(f"framework={framework}\nproject=p\n")
        (self.code / "current").unlink(missing_ok=True)
        (self.code / "current").symlink_to(version)

    def start(self) -> tuple[Worker, Recorder]:
        identity = Identity("worker", "infra-1", "p", "host1", "broker:5671", "sha256:1", Path("/none"))
        recorder = Recorder()
        return Worker(identity, self.files, self.code, 2, recorder), recorder

    def beat(self) -> Mapping[str, Any]:
        """The heartbeat of the worker, as a message."""
        heartbeat = self.worker.heartbeat()
        assert parse_event(heartbeat.to_message()) == heartbeat
        return heartbeat.to_message()

    def run(self, value: str, attempt: int = 1) -> None:
        self.worker.run(assignment(value, attempt))

    def executions(self) -> list[str]:
        ran = self.files.tasks / "ran"
        return ran.read_text().split() if ran.exists() else []


def task_of(value: str) -> str:
    return task_id(("python3", "program.py"), {"x": value})


TASK = task_of("fine")
SLEEPING = task_of("sleep")


def assignment(value: str, attempt: int = 1) -> dict[str, Any]:
    return Assignment("infra-1", "p", task_of(value), attempt, {"x": value}).to_message()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    worker_module.cached_project.cache_clear()
    return Bench(tmp_path)


def test_a_task_is_run_and_its_result_kept_and_delivered(bench: Bench) -> None:
    bench.run("fine")
    (result,) = bench.recorder.results
    assert (result.state, result.exit_code, result.metrics) == ("done", 0, {"loss": 0.25})
    assert (result.host, result.code, result.image) == ("host1", "v1", "sha256:1")
    kept = json.loads(bench.files.attempt(TASK, 1).result.read_text())
    assert AttemptResult.from_message(kept) == result
    assert bench.recorder.events[0]["kind"] == "started"
    assert bench.executions() == ["fine"]


def test_a_failed_task_is_failed_for_celery_too(bench: Bench) -> None:
    with pytest.raises(AttemptFailed):
        bench.run("fail")
    (result,) = bench.recorder.results
    assert (result.state, result.exit_code) == ("failed", 3)


def test_a_function_is_called(bench: Bench) -> None:
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


def test_a_message_that_comes_again_runs_nothing_and_sends_the_result_again(bench: Bench) -> None:
    bench.run("fine")
    bench.run("fine")
    bench.worker, bench.recorder = bench.start()
    bench.run("fine")
    assert bench.executions() == ["fine"]
    assert len(bench.recorder.results) == 1


def test_an_attempt_that_an_earlier_worker_began_is_left_to_the_master(bench: Bench) -> None:
    bench.files.attempt(TASK, 1).work.mkdir(parents=True)
    bench.run("fine")
    assert (bench.executions(), bench.recorder.results) == ([], [])
    bench.run("fine", attempt=2)
    assert bench.executions() == ["fine"]


@pytest.mark.parametrize("other", [{"infrastructure": "infra-2"}, {"project": "q"}])
def test_a_message_for_others_is_refused(bench: Bench, other: dict[str, str]) -> None:
    with pytest.raises(FrameworkError, match="not run"):
        bench.worker.run(assignment("fine") | other)
    assert bench.executions() == []
    assert [news["kind"] for news in bench.recorder.events] == ["refused"]


@pytest.mark.parametrize("task", [TASK, "0123456789abcdef"])
def test_metaparameters_that_are_not_the_tasks_are_refused(bench: Bench, task: str) -> None:
    with pytest.raises(FrameworkError, match=f"task {task}.1 is another one than its metaparameters make"):
        bench.worker.run(assignment("other") | {"task": task})
    assert (bench.executions(), bench.recorder.results) == ([], [])
    (news,) = bench.recorder.events
    assert isinstance(parse_event(json.loads(json.dumps(news))), Refusal)


def test_what_was_sent_for_a_command_that_was_replaced_is_refused(bench: Bench) -> None:
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
    bench: Bench, message: object
) -> None:
    with pytest.raises(FrameworkError):
        bench.worker.run(message)
    assert bench.executions() == []
    assert not list(bench.files.tasks.iterdir())
    (news,) = bench.recorder.events
    assert isinstance(parse_event(json.loads(json.dumps(news))), Refusal)


def test_a_full_disk_is_told_and_forgotten_when_there_is_room(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
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


def test_a_task_that_fails_on_a_full_disk_is_said_to_have_done_so(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "shutil.disk_usage", lambda path: SimpleNamespace(total=10**9, used=10**9, free=5 * 2**20)
    )
    bench.run("fine")
    with pytest.raises(AttemptFailed):
        bench.run("fail")
    done, failed = bench.recorder.results
    assert done.reason == ""
    assert failed.reason == "exit code 3; only 5 MiB are free on its disk, of 200 MiB (free_disk)"


def test_what_celery_drops_is_not_held_for_ever(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "make_app", lambda identity: Celery("test", set_as_current=False))
    app = inbox.make_worker_app(bench.worker)
    for name in (f"{TASK}.1", f"{TASK}.2", "garbage", None):
        signals.task_received.send(sender=None, request=SimpleNamespace(id=name))
    assert bench.beat()["reserved"] == [f"{TASK}.1", f"{TASK}.2"]
    signals.task_revoked.send(sender=None, request=SimpleNamespace(id=f"{TASK}.1"))
    assert bench.beat()["reserved"] == [f"{TASK}.2"]
    app.tasks[TASK_NAME].apply(args=["garbage"], task_id=f"{TASK}.2")
    assert bench.beat()["reserved"] == []
    assert [news["kind"] for news in bench.recorder.events] == ["refused"]
    assert "garbage" in bench.recorder.events[0]["message"]


def test_the_reason_of_a_broken_project_fits_into_a_message(bench: Bench) -> None:
    bench.push("v2", "f1")
    (bench.code / "v2/project/project.yml").write_text(
        "command: x\n" + "".join(f"unknown{number}: 1\n" for number in range(200))
    )
    with pytest.raises(AttemptFailed):
        bench.run("fine")
    assert bench.recorder.results[0].state == "failed"


def test_beats_name_what_is_held_and_a_stopped_worker_hands_its_tasks_back(bench: Bench) -> None:
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
    deadline = time.monotonic() + 10
    while not bench.executions() and time.monotonic() < deadline:
        time.sleep(0.05)
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


def test_attempts_are_stopped_one_by_one_and_reserved_ones_skipped(bench: Bench) -> None:
    first, second = AttemptId(SLEEPING, 1), AttemptId(TASK, 2)
    bench.worker.reserve(first)
    bench.worker.reserve(second)

    def run(value: str, attempt: int) -> None:
        with suppress(AttemptFailed):
            bench.run(value, attempt)

    thread = threading.Thread(target=run, args=("sleep", 1))
    thread.start()
    deadline = time.monotonic() + 10
    while not bench.executions() and time.monotonic() < deadline:
        time.sleep(0.05)
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


def test_a_worker_that_is_stopped_begins_nothing(bench: Bench) -> None:
    bench.worker.stop()
    with pytest.raises(AttemptFailed):
        bench.run("fine")
    assert bench.executions() == []
    assert [result.state for result in bench.recorder.results] == ["stopped"]


def test_celery_passes_on_what_the_master_wants_stopped(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from celery.worker.control import Panel

    told: list[list[AttemptId]] = []
    monkeypatch.setattr(inbox, "make_app", lambda identity: Celery("test", set_as_current=False))
    monkeypatch.setattr(bench.worker, "stop_attempts", told.append)
    inbox.make_worker_app(bench.worker)
    Panel.data[STOP_COMMAND](None, names=[f"{TASK}.1", 5, "nonsense"])
    assert told == [[AttemptId(TASK, 1)]]


def test_new_framework_files_restart_a_worker_that_holds_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
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


def test_a_push_changes_what_the_next_task_runs(bench: Bench) -> None:
    bench.run("fine")
    bench.push("v2", "f1")
    (bench.code / "v2/project/program.py").write_text("print('loss=0.5')")
    bench.run("fine", attempt=2)
    assert [(result.code, result.metrics["loss"]) for result in bench.recorder.results] == [
        ("v1", 0.25),
        ("v2", 0.5),
    ]


def test_a_broken_project_is_a_failed_attempt_with_the_reason(bench: Bench) -> None:
    bench.push("v2", "f1")
    (bench.code / "v2/project/project.yml").write_text("comand: x\n")
    with pytest.raises(AttemptFailed):
        bench.run("fine")
    (result,) = bench.recorder.results
    assert result.state == "failed"
    assert "comand" in result.reason


def test_a_result_that_a_crash_left_in_the_spool_gets_to_its_place(bench: Bench) -> None:
    bench.run("fine")
    files = bench.files.attempt(TASK, 1)
    content = files.result.read_text()
    files.result.unlink()
    bench.files.spool.mkdir(exist_ok=True)
    (bench.files.spool / f"{TASK}.1.json").write_text(content)
    bench.worker.finish_earlier_results()
    assert files.result.read_text() == content
