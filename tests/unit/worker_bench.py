"""Workers without Celery and broker; with a runner that only records, or with the real one; an nvidia-smi."""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import runner_bench
from forks import Fork, ForkServer
from runner_bench import wait_until

from framework.files import WorkerFiles
from framework.messages.assignment import Assignment, AttemptResult
from framework.messages.identity import Identity
from framework.messages.task_ids import AttemptId, task_id
from framework.messages.worker_events import MetricsUpdate, WorkerEvent, parse_event
from framework.runner.orphans import task_processes
from framework.worker.connection import RunnerConnection
from framework.worker.current_project import cached_project
from framework.worker.held_attempts import HeldAttempt
from framework.worker.results import Publisher
from framework.worker.worker import Worker

KEY = "of the bench"
HELLO = {"event": "hello", "key": None, "environment": {"PATH": os.environ["PATH"]}, "image": "sha256:2"}
DONE = {"exit_code": 0, "seconds": 1.5, "state": "done", "reason": "", "metrics": {"loss": 0.25}}

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
        self.failures: list[OSError] = []  # what the next results meet with

    def publish_event(self, event: WorkerEvent) -> None:
        assert parse_event(event.to_message()) == event
        self.events.append(event.to_message())
        if isinstance(event, MetricsUpdate):
            self.has_metrics.set()

    def deliver_result(
        self, attempt: AttemptId, result: Mapping[str, Any], on_kept: Callable[[], None]
    ) -> None:
        if self.failures:
            raise self.failures.pop()
        self.results.append(AttemptResult.from_message(dict(result)))
        assert self.results[-1].id == attempt
        on_kept()

    @property
    def states(self) -> list[str]:
        return [result.state for result in self.results]


class FakeRunner:
    """A runner that records what it is told; the test says what it reports."""

    def __init__(self, worker: Worker) -> None:
        self.sent: list[dict[str, Any]] = []
        self._worker = worker

    def connect(self, *held: dict[str, Any]) -> FakeRunner:
        """Say hello, and name the attempts that it holds."""
        self._worker.on_connected(self, HELLO)
        for each in held:
            self._worker.on_event(each)
        self._worker.on_event({"event": "synced"})
        return self

    def send(self, **message: Any) -> None:
        self.sent.append(message)

    def says(self, event: str, value: str = "fine", attempt: int = 1, **fields: Any) -> None:
        self._worker.on_event({"event": event, "attempt": name_of(value, attempt), **fields})

    def told(self, what: str) -> list[str]:
        """The attempts that it was told to run, to stop, or to forget."""
        messages = [message for message in self.sent if message["do"] == what]
        if what == "run":
            return [job["attempt"] for message in messages for job in message["jobs"]]
        return [attempt for message in messages for attempt in message["attempts"]]

    def job(self) -> Mapping[str, Any]:
        """The job that it was given last."""
        job: Mapping[str, Any] = next(m for m in reversed(self.sent) if m["do"] == "run")["jobs"][0]
        return job

    def runs(self, value: str = "fine", attempt: int = 1) -> dict[str, Any]:
        """What it will say of an attempt that it was given, and runs, to the next worker."""
        return self.holds("running", value, attempt)

    def holds(self, ended: Any, value: str = "fine", attempt: int = 1) -> dict[str, Any]:
        contexts = {
            job["attempt"]: job["context"] for m in self.sent if m["do"] == "run" for job in m["jobs"]
        }
        name = name_of(value, attempt)
        return {"event": "held", "attempt": name, "context": contexts[name], "started": 5.0, "ended": ended}


class WorkerBench:
    """A project on disk, a worker that has it run, and what was executed."""

    def __init__(self, path: Path) -> None:
        cached_project.cache_clear()
        self.path = path
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
        new = self.code / "new"  # a worker that looks meanwhile finds one of them
        new.symlink_to(version)
        new.replace(self.code / "current")

    def start(self, publisher: Publisher | None = None, slots: int | None = 2) -> tuple[Worker, Recorder]:
        identity = Identity("worker", "infra-1", "p", "host1", "broker:5671", "sha256:1", Path("/none"))
        recorder = Recorder()
        return Worker(identity, self.files, self.code, slots, publisher or recorder), recorder

    def restart(self) -> None:
        """As after kill -9: a new worker, which knows nothing."""
        self.worker, self.recorder = self.start()

    def connect_fake(self, *held: dict[str, Any]) -> FakeRunner:
        return FakeRunner(self.worker).connect(*held)

    def beat(self) -> Mapping[str, Any]:
        """The heartbeat of the worker, as a message."""
        heartbeat = self.worker.heartbeat()
        assert parse_event(heartbeat.to_message()) == heartbeat
        return heartbeat.to_message()

    def begin(self, value: str = "fine", attempt: int = 1) -> HeldAttempt:
        held = self.worker.begin(assignment(value, attempt))
        assert held is not None
        return held

    def run(self, value: str, attempt: int = 1) -> None:
        self.worker.run(assignment(value, attempt))

    def executions(self) -> list[str]:
        ran = self.files.tasks / "ran"
        return ran.read_text().split() if ran.exists() else []


class RunnerBench(WorkerBench):
    """With the real runner, in a process of its own, which outlives its workers."""

    def __init__(self, path: Path, environment: Mapping[str, str] = os.environ) -> None:
        super().__init__(path)
        self.environment = environment
        self.process: Fork | None = None
        self.link: Link | None = None

    def start_runner(self) -> None:
        self.process = start_runner(self.files, self.environment)

    def connect(self) -> None:
        """Have the worker listen, and wait until its runner has named what it holds."""
        self.link = Link(self.worker, self.files)
        self.link.start()
        wait_until(lambda: self.worker.has_runner)

    def restart(self) -> None:
        """As after kill -9."""
        self.disconnect()
        super().restart()

    def disconnect(self) -> None:
        if self.link:
            self.link.close()
        self.link = None

    def kill_runner(self) -> None:
        """It leaves its tasks running."""
        if self.process:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        self.disconnect()
        self.kill_runner()
        kill_tasks(self.files)


class Link(threading.Thread):
    """Hands the events of the runner that connects to a worker, until it is closed."""

    def __init__(self, worker: Worker, files: WorkerFiles) -> None:
        super().__init__(daemon=True)
        self.is_deaf = False  # True: what the runner says is not heard
        self._worker = worker
        self._is_closed = threading.Event()
        self._connection: RunnerConnection | None = None
        files.link.parent.mkdir(exist_ok=True)
        files.link.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(files.link))
        self._listener.listen()

    def run(self) -> None:
        while not self._is_closed.is_set():
            readable, _, _ = select.select([self._connection or self._listener], [], [], 0.02)
            if readable and not self.is_deaf:
                self._read()
            self._worker.tick()

    def _read(self) -> None:
        if self._connection is None:
            self._connection = RunnerConnection(self._listener.accept()[0])
            self._connection.trust()
            hello: list[dict[str, Any]] | None = []
            while hello == []:
                hello = self._connection.receive()
            if hello:
                self._worker.on_connected(self._connection, hello[0])
                self._connection.send(do="welcome", key=KEY)
            return
        events = self._connection.receive()
        if events is None:
            self.cut()
        for event in events or []:
            self._worker.on_event(event)

    def cut(self) -> None:
        if self._connection:
            self._connection.close()
            self._connection = None
            self._worker.on_disconnected()

    def close(self) -> None:
        self._is_closed.set()
        self.join(60)
        if self._connection:
            self._connection.close()
        self._listener.close()


def start_runner(
    files: WorkerFiles, environment: Mapping[str, str] = os.environ, server: ForkServer | None = None
) -> Fork:
    """The program of the runner, as it is started in its container."""
    arguments = [f"--link={files.link}", f"--log={files.runner_log}", f"--tasks={files.tasks}"]
    return runner_bench.start_runner(arguments, environment, server=server)


def kill_tasks(files: WorkerFiles) -> None:
    for process in task_processes(files.tasks):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


@contextmanager
def running(bench: RunnerBench) -> Iterator[RunnerBench]:
    """With its runner started and connected."""
    try:
        bench.start_runner()
        bench.connect()
        yield bench
    finally:
        bench.close()


def name_of(value: str, attempt: int = 1) -> str:
    return f"{task_of(value)}.{attempt}"


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


@pytest.fixture
def bench(tmp_path: Path) -> WorkerBench:
    """With a runner that only records."""
    return WorkerBench(tmp_path)


@pytest.fixture
def runner(bench: WorkerBench) -> FakeRunner:
    """That of the bench, connected."""
    return bench.connect_fake()


@pytest.fixture
def live(tmp_path: Path) -> Iterator[RunnerBench]:
    """With a runner that executes."""
    with running(RunnerBench(tmp_path)) as bench:
        yield bench


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a program of that name, the body of a shell script, in front of all others."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def write(body: str) -> None:
        program = tmp_path / "nvidia-smi"
        program.write_text(f'#!/bin/sh\necho "$*" >"{tmp_path}/asked"\n{body}\n')
        program.chmod(0o755)

    return write
