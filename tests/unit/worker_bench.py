"""A worker without Celery and broker, and a publisher that keeps what it sends."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from framework.files import WorkerFiles
from framework.messages.assignment import Assignment, AttemptResult
from framework.messages.identity import Identity
from framework.messages.task_ids import AttemptId, task_id
from framework.messages.worker_events import MetricsUpdate, WorkerEvent, parse_event
from framework.worker import worker as worker_module
from framework.worker.worker import Worker

PROGRAM = """\
import sys, time
value = sys.argv[1].partition("=")[2]
with open("../../../ran", "a") as ran:
    ran.write(value + "\\n")
print("loss=0.25", flush=True)
if value == "sleep":
    time.sleep(60)
sys.exit(3 if value == "fail" else 0)
"""


class Recorder:
    """A publisher that keeps what the worker sends."""

    def __init__(self) -> None:
        self.events: list[Mapping[str, Any]] = []
        self.results: list[AttemptResult] = []
        self.has_metrics = threading.Event()  # of an attempt: it has begun

    def publish_event(self, event: WorkerEvent) -> None:
        assert parse_event(event.to_message()) == event
        self.events.append(event.to_message())
        if isinstance(event, MetricsUpdate):
            self.has_metrics.set()

    def deliver_result(self, attempt: AttemptId, result: Mapping[str, Any]) -> None:
        self.results.append(AttemptResult.from_message(dict(result)))
        assert self.results[-1].id == attempt


class WorkerBench:
    """A project on disk, a worker that runs it, and what it has executed."""

    def __init__(self, path: Path) -> None:
        worker_module.cached_project.cache_clear()
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


def record_disk_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls from now on that decide on what a power failure leaves, in their order."""
    calls: list[str] = []
    fsync, replace, unlink = os.fsync, os.replace, Path.unlink

    def recorded_fsync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        name = path.name.removeprefix(".").rpartition(".")[0] if path.is_file() else f"{path.name}/"
        calls.append(f"fsync {name}")
        fsync(descriptor)

    def recorded_replace(source: Any, target: Any) -> None:
        calls.append(f"replace {Path(target).name}")
        replace(source, target)

    def recorded_unlink(path: Path, missing_ok: bool = False) -> None:
        calls.append(f"unlink {path.name}")
        unlink(path, missing_ok)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "replace", recorded_replace)
    monkeypatch.setattr(Path, "unlink", recorded_unlink)
    return calls
