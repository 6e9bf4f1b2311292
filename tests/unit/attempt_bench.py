"""Benches on which attempts really run: a project, a worker's disk, and what the attempts leave there."""

from __future__ import annotations

import os
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import framework
from framework.files import AttemptFiles, WorkerFiles
from framework.messages.metrics import Metric
from framework.project.early_termination import Reports
from framework.runner import attempt
from framework.runner.attempt import Execution, run_attempt
from framework.runner.environment import task_environment
from framework.runner.functions import Call, Functions
from framework.runner.programs import Command
from framework.runner.working_directory import project_tree

CODE = Path(framework.__file__).parents[1]
TASK_PATH = str(CODE / "framework" / "in_tasks")  # PYTHONPATH of a task
TASK = "0123456789abcdef"
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/tmp",
    "BROKER": "secret",
    "CUDA_VISIBLE_DEVICES": "0",
    "LD_PRELOAD": "",
}

# Beginning of every module: it makes imports countable, and processes findable.
HEAD = """\
import os, sys, time
from pathlib import Path
HERE = Path(__file__).parent
def note(name):
    with open(HERE / name, "a") as file:
        file.write(f"{os.getpid()}\\n")
note("imported")
"""


class CommandBench:
    """A project whose tasks are commands."""

    def __init__(self, path: Path) -> None:
        self.project = path / "a project"
        self.project.mkdir()
        self.files = self.attempt(TASK)
        self.seen: list[dict[str, Metric]] = []
        self.reports: Reports | None = None
        self.stop = threading.Event()

    def attempt(self, task: str) -> AttemptFiles:
        return WorkerFiles(self.project.parent / "worker's data").attempt(task, 3)

    def run(self, *argv: str, timeout: float | None = 20.0, files: AttemptFiles | None = None) -> Execution:
        files = files or self.files
        environment = task_environment(ENVIRONMENT, files, CODE, {})
        project_tree.cache_clear()  # a test may have changed the project since
        return run_attempt(
            Command(argv), files, self.project, environment, timeout, self.on_metrics, self.stop,
            self.reports, "accuracy",
        )  # fmt: skip

    def on_metrics(self, metrics: dict[str, Metric]) -> None:
        self.seen.append(metrics)

    def python(self, program: str, timeout: float | None = 20.0) -> Execution:
        return self.run(sys.executable, "-c", program, timeout=timeout)

    def shell(self, script: str, timeout: float | None = 20.0) -> Execution:
        return self.run("sh", "-c", script, timeout=timeout)


class CallBench:
    """A project whose tasks are calls of a function in its module `train`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.project = path / "a project"
        self.project.mkdir()
        self.functions = Functions()
        self.seen: list[dict[str, Metric]] = []
        self.attempts: list[AttemptFiles] = []
        self.threads = ThreadPoolExecutor(8)

    def write(self, program: str) -> None:
        (self.project / "train.py").write_text(HEAD + textwrap.dedent(program))

    def run(
        self,
        timeout: float | None = 20.0,
        function: str = "train:run",
        stop: threading.Event | None = None,
        project: Path | None = None,
        environment: dict[str, str] | None = None,
        **parameters: Any,
    ) -> Execution:
        files = WorkerFiles(self.path / "worker's data").attempt(f"{len(self.attempts):016x}", 3)
        self.attempts.append(files)
        project_tree.cache_clear()  # a test may have changed the project since
        return run_attempt(
            Call(self.functions, function, parameters),
            files,
            project or self.project,
            task_environment(ENVIRONMENT | (environment or {}), files, CODE, {}),
            timeout,
            self.seen.append,
            stop or threading.Event(),
        )

    def begin(self, **options: Any) -> Future[Execution]:
        """Run it in a thread, once the one before has its place."""
        number = len(self.attempts)
        future = self.threads.submit(self.run, **options)
        wait_for(lambda: len(self.attempts) > number)
        return future

    def pids(self, name: str) -> list[int]:
        file = self.project / name
        return list(map(int, file.read_text().split())) if file.exists() else []

    @property
    def stdout(self) -> str:
        return self.attempts[-1].stdout.read_text()

    @property
    def stderr(self) -> str:
        return self.attempts[-1].stderr.read_text()


def gone(pid: int) -> bool:
    """True if a process has ended, also if nobody has reaped it yet."""
    fields = stat(pid)
    return not fields or fields[0] in "ZX"


def parent(pid: int) -> int:
    return int(stat(pid)[1])


def children(pid: int) -> list[int]:
    """Children of a process, including those that it has not reaped."""
    running = (int(path.name) for path in Path("/proc").glob("[0-9]*"))
    return [each for each in running if (fields := stat(each)) and int(fields[1]) == pid]


def stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat after the name: state, parent, …; none for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def wait_for(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.01)


def expect_no_child() -> None:
    """Fail if this process has a child, running or not reaped."""
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt, "GRACE_SECONDS", 0.3)


@pytest.fixture
def commands(tmp_path: Path, short_grace: None) -> Iterator[CommandBench]:
    yield CommandBench(tmp_path)
    expect_no_child()


@pytest.fixture
def calls(tmp_path: Path, short_grace: None) -> Iterator[CallBench]:
    bench = CallBench(tmp_path)
    yield bench
    bench.threads.shutdown()
    bench.functions.close()
    expect_no_child()
    for name in ("imported", "called"):
        for pid in bench.pids(name):
            wait_for(lambda pid=pid: gone(pid))  # type: ignore[misc]
