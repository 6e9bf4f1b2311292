"""Runner of a local run: the user's environment, its start and end, and what a task does not get from it."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from runner_bench import wait_until

import framework.runner.__main__
from framework.errors import FrameworkError
from framework.files import WorkerFiles
from framework.local import runner_process
from framework.local.runner_process import MOST_STARTS, RunnerProcess, task_environment
from framework.runner.job import Job
from framework.runner.orphans import task_processes

TASK = "0123456789abcdef"


class Bench:
    """A runner, and the attempts that it is given."""

    def __init__(self, path: Path) -> None:
        self.project = path / "project"
        self.project.mkdir()
        self.files = WorkerFiles(path / "data")
        self.files.tasks.mkdir(parents=True)
        self.lock = os.open(path / "lock", os.O_CREAT | os.O_RDWR)
        self.runner = RunnerProcess(self.files, self.lock)
        self.attempts = 0

    def start(self) -> Any:
        hello = self.runner.start()
        self.runner.connection.send(do="welcome", key="")
        self.wait_for("synced")
        return hello

    def wait_for(self, what: str) -> Any:
        while True:
            events = self.runner.connection.receive()
            assert events is not None
            for event in events:
                if event["event"] == what:
                    return event

    def begin(self, script: str) -> Path:
        """Begin an attempt; its stdout."""
        self.attempts += 1
        files = self.files.attempt(TASK, self.attempts)
        environment = {"TASK_DIR": str(files.work)}
        job = Job(
            f"{TASK}.{self.attempts}",
            str(files.directory),
            str(self.project),
            environment,
            ["sh", "-c", script],
        )
        self.runner.connection.send(do="run", jobs=[job.to_message()])
        return files.stdout

    def run(self, script: str) -> str:
        stdout = self.begin(script)
        self.wait_for("ended")
        return stdout.read_text()

    @property
    def pid(self) -> int:
        assert self.runner._process is not None
        return self.runner._process.pid

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        while self.runner.connection.receive() is not None:
            pass

    def close(self) -> None:
        self.runner.close()
        os.close(self.lock)
        for process in task_processes(self.files.tasks):
            os.kill(process, signal.SIGKILL)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def test_a_task_sees_all_of_the_users_environment_with_this_python_first(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {
        "SECRET_OF_MINE": "größe", "IMAGE": "mine", "LD_PRELOAD": "", "PYTHONPATH": "/mine",
        "BROKER": "my broker", "EMPTY": "", "LINES": "a\nb",
    }  # fmt: skip
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    hello = bench.start()
    assert hello["environment"].items() >= given.items()
    assert hello["image"] == "", "a variable of the user's says nothing of an image"
    program = "import os, json; print(json.dumps(dict(os.environ)))"
    seen = json.loads(bench.run(f"exec '{sys.executable}' -c '{program}'"))
    of_the_shell = ("PWD", "OLDPWD", "SHLVL", "_")
    expected = {name: value for name, value in task_environment().items() if name not in of_the_shell}
    assert {name: seen.get(name) for name in expected} == expected
    assert seen["PATH"].split(os.pathsep)[0] == os.path.dirname(sys.executable)
    assert bench.run("command -v python3").startswith(os.path.dirname(sys.executable) + "/")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/usr/bin:/bin", "/my venv/bin:/usr/bin:/bin"),
        ("/my venv/bin:/usr/bin", "/my venv/bin:/usr/bin"),
        ("/usr/bin:/my venv/bin", "/my venv/bin:/usr/bin:/my venv/bin"),
        ("", "/my venv/bin:"),
        (None, f"/my venv/bin:{os.defpath}"),
    ],
)
def test_the_path_begins_with_the_python_that_runs_this(
    monkeypatch: pytest.MonkeyPatch, path: str | None, expected: str
) -> None:
    monkeypatch.setattr(sys, "executable", "/my venv/bin/python3")
    if path is None:
        monkeypatch.delenv("PATH")
    else:
        monkeypatch.setenv("PATH", path)
    before = dict(os.environ)
    assert task_environment()["PATH"] == expected
    assert os.environ == before


def test_a_task_has_neither_the_connection_of_its_runner_nor_the_lock(bench: Bench) -> None:
    bench.start()
    listed = bench.run("for each in /proc/self/fd/*; do readlink $each; done; true").splitlines()
    assert not [line for line in listed if "socket" in line or line.endswith("/lock")], listed
    assert len(listed) <= 4, "its input, its output, and the directory that it reads"


def test_an_environment_may_be_large(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        monkeypatch.setenv(f"LARGE_{number}", "x" * 10_000)
    assert bench.start()["environment"]["LARGE_29"] == "x" * 10_000


def test_the_runner_ends_its_tasks_and_itself_when_the_connection_is_closed(bench: Bench) -> None:
    bench.start()
    pid = bench.pid
    bench.begin("setsid sleep 60 & trap '' TERM; while :; do sleep 1; done")
    bench.wait_for("started")
    wait_until(lambda: len(list(task_processes(bench.files.tasks))) >= 2)
    bench.runner.close()
    assert list(task_processes(bench.files.tasks)) == []
    assert not Path(f"/proc/{pid}").exists()
    bench.runner.close()


def test_the_runner_is_out_of_the_reach_of_the_terminal_and_keeps_the_lock(bench: Bench) -> None:
    fcntl.flock(bench.lock, fcntl.LOCK_EX)
    bench.start()
    assert os.getsid(bench.pid) == bench.pid, "Ctrl-C does not reach it"
    os.close(bench.lock)
    bench.lock = os.open(bench.files.path.parent / "lock", os.O_RDWR)
    with pytest.raises(BlockingIOError):
        fcntl.flock(bench.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    bench.runner.close()
    fcntl.flock(bench.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_another_runner_says_what_the_one_before_it_has_lost(bench: Bench) -> None:
    bench.start()
    bench.begin("sleep 60")
    bench.wait_for("taken")
    bench.kill()
    bench.runner.start()
    bench.runner.connection.send(do="welcome", key="")
    held = bench.wait_for("held")
    assert (held["attempt"], held["ended"]) == (f"{TASK}.1", "lost")
    assert list(task_processes(bench.files.tasks)) == []


def test_a_runner_that_is_killed_again_and_again_is_one_clear_error(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(MOST_STARTS):
        bench.start()
        bench.kill()
    with pytest.raises(FrameworkError, match=r"^the process that runs the tasks was killed 5 times in a min"):
        bench.start()
    now = time.monotonic() + runner_process.MINUTE_SECONDS
    monkeypatch.setattr(time, "monotonic", lambda: now)
    bench.start()


def start_instead(monkeypatch: pytest.MonkeyPatch, path: Path, program: str) -> None:
    other = path / "other.py"
    other.write_text(program)
    monkeypatch.setattr(framework.runner.__main__, "__file__", str(other))


def test_a_runner_that_does_not_start_is_an_error(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    start_instead(monkeypatch, tmp_path, "raise SystemExit(1)")
    with pytest.raises(FrameworkError, match="the process that runs the tasks cannot be started; see above"):
        bench.start()


def test_a_runner_that_hangs_is_not_waited_for_for_ever(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    start_instead(monkeypatch, tmp_path, "import time\ntime.sleep(60)")
    monkeypatch.setattr(runner_process, "START_SECONDS", 0.2)
    monkeypatch.setattr(runner_process, "END_SECONDS", 0.2)
    with pytest.raises(FrameworkError, match="has not begun in 0 s"):
        bench.start()
    pid = bench.pid
    bench.runner.close()
    assert not Path(f"/proc/{pid}").exists()
