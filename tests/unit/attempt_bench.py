"""Benches on which attempts really run: a project, a worker's disk, and what the attempts leave there."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from runner_bench import RunnerBench, wait_until

import framework
from framework.errors import FrameworkError
from framework.files import AttemptFiles, WorkerFiles
from framework.messages.metrics import Metric
from framework.project.early_termination import EarlyTermination
from framework.runner import attempt
from framework.runner.attempt import Attempt, Execution
from framework.runner.children import Children
from framework.runner.environment import attempt_variables
from framework.runner.functions import Functions
from framework.runner.job import Job
from framework.runner.working_directory import project_tree

CODE = Path(framework.__file__).parents[1]
TASK_PATH = str(CODE / "framework" / "in_tasks")  # PYTHONPATH of a task
TASK = "0123456789abcdef"
ENVIRONMENT = {  # of the runner
    "PATH": os.environ["PATH"],
    "HOME": "/tmp",
    "CUDA_VISIBLE_DEVICES": "0",
    "OF_THE_IMAGE": "x",
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
    """A project whose tasks are commands, and whose attempts run in an event loop of this process."""

    def __init__(self, path: Path) -> None:
        self.project = path / "a project"
        self.project.mkdir()
        self.files = self.attempt(TASK)
        self.seen: list[dict[str, Metric]] = []
        self.reports: list[tuple[int, Metric]] = []  # those seen last
        self.early_termination: EarlyTermination | None = None
        self._stop: Callable[[], object] = lambda: None

    def attempt(self, task: str) -> AttemptFiles:
        return WorkerFiles(self.project.parent / "worker's data").attempt(task, 3)

    def run(self, *argv: str, timeout: float | None = 60.0, files: AttemptFiles | None = None) -> Execution:
        return self.run_all([(files or self.files, argv)], timeout)[0]

    def run_all(
        self, commands: Iterable[tuple[AttemptFiles, Sequence[str]]], timeout: float | None = 60.0
    ) -> list[Execution]:
        """Run them side by side."""
        project_tree.cache_clear()  # a test may have changed the project since
        before = os.getcwd()
        try:
            return asyncio.run(self._run([self._job(*each, timeout) for each in commands]))
        finally:
            os.chdir(before)

    async def _run(self, jobs: Iterable[Job]) -> list[Execution]:
        children = Children()
        functions = Functions(children)
        attempts = [Attempt(job, ENVIRONMENT, children, functions, self.on_metrics) for job in jobs]
        loop = asyncio.get_running_loop()
        self._stop = lambda: [loop.call_soon_threadsafe(attempt.stop) for attempt in attempts]
        return await asyncio.gather(*(attempt.run() for attempt in attempts))

    def _job(self, files: AttemptFiles, argv: Sequence[str], timeout: float | None) -> Job:
        early = self.early_termination
        return make_job(
            files,
            self.project,
            command=list(argv),
            timeout=timeout,
            ranked="accuracy",
            early_termination=dataclasses.asdict(early) if early else None,
        )

    def stop(self) -> None:
        """Stop what runs; for other threads."""
        self._stop()

    def on_metrics(self, metrics: dict[str, Metric], reports: list[tuple[int, Metric]]) -> None:
        self.seen.append(metrics)
        self.reports = reports

    def python(self, program: str, timeout: float | None = 60.0) -> Execution:
        return self.run(sys.executable, "-c", program, timeout=timeout)

    def shell(self, script: str, timeout: float | None = 60.0) -> Execution:
        return self.run("sh", "-c", script, timeout=timeout)


def make_job(
    files: AttemptFiles, project: Path, environment: Mapping[str, str] | None = None, **fields: Any
) -> Job:
    """The job of an attempt for a runner with the variables ENVIRONMENT."""
    return Job(
        attempt=f"{files.task}.{files.attempt}",
        directory=str(files.directory),
        project_path=str(project),
        environment=attempt_variables(files, CODE, ENVIRONMENT, environment or {}),
        **{"command": [], **fields},
    )


class CallBench:
    """A project whose tasks are calls of a function in its module `train`, made by a runner."""

    def __init__(self, path: Path, *options: str) -> None:
        """`options`: of the runner."""
        self.path = path
        self.project = path / "a project"
        self.project.mkdir()
        self.attempts: list[AttemptFiles] = []
        self.runner = RunnerBench(path, ENVIRONMENT, {"attempt.GRACE_SECONDS": 0.3})
        self.runner.start(*options)

    def write(self, program: str) -> None:
        (self.project / "train.py").write_text(HEAD + textwrap.dedent(program))

    def run(self, **options: Any) -> Execution:
        return self.begin(**options).result()

    def begin(
        self,
        timeout: float | None = 60.0,
        function: str = "train:run",
        project: Path | None = None,
        environment: dict[str, str] | None = None,
        wanted: Sequence[str] = (),
        **parameters: Any,
    ) -> RunningCall:
        files = WorkerFiles(self.path / "worker's data").attempt(f"{len(self.attempts):016x}", 3)
        self.attempts.append(files)
        job = make_job(
            files,
            project or self.project,
            environment,
            function=function,
            parameters=parameters,
            timeout=timeout,
            wanted=list(wanted),
        )
        self.runner.run(job)
        return RunningCall(self.runner, job.attempt)

    @property
    def seen(self) -> list[dict[str, Metric]]:
        return [event["metrics"] for event in self.runner.events("metrics")]

    def pids(self, name: str) -> list[int]:
        file = self.project / name
        return list(map(int, file.read_text().split())) if file.exists() else []

    @property
    def stdout(self) -> str:
        return self.attempts[-1].stdout.read_text()

    @property
    def stderr(self) -> str:
        return self.attempts[-1].stderr.read_text()


@dataclass(frozen=True)
class RunningCall:
    """A call that a runner was given."""

    runner: RunnerBench
    attempt: str

    def stop(self) -> None:
        self.runner.send(do="stop", attempts=[self.attempt])

    def result(self, seconds: float = 100.0) -> Execution:
        """Wait for the end. Raises FrameworkError if the runner is short of something."""
        event = self.runner.wait("ended", "refused", attempt=self.attempt, seconds=seconds)
        if event["event"] == "refused":
            raise FrameworkError(event["reason"])
        self.runner.send(do="forget", attempts=[self.attempt])
        return Execution(**event["execution"])


def run_to_timeout(run: Callable[[float], Execution]) -> tuple[Execution, float]:
    """Run what prints a metric before it waits for its timeout, with longer ones until it comes that far."""
    for timeout in (0.5, 5.0, 50.0):
        found = run(timeout)
        if found.metrics:
            break
    return found, timeout


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
def calls(tmp_path: Path) -> Iterator[CallBench]:
    bench = CallBench(tmp_path)
    yield bench
    bench.runner.end()
    expect_no_child()
    for name in ("imported", "called"):
        for pid in bench.pids(name):
            wait_until(lambda pid=pid: gone(pid))  # type: ignore[misc]
