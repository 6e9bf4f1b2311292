"""Lock of a data directory: one run at a time, and none of its tasks outlives it."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attempt_bench import children, gone
from runner_bench import wait_until

from framework.errors import FrameworkError
from framework.files import LocalFiles
from framework.local import run_lock as run_lock_module
from framework.local.run_lock import run_lock
from framework.runner.orphans import task_processes


@pytest.fixture
def files(tmp_path: Path) -> LocalFiles:
    return LocalFiles(tmp_path / "my data")


@contextmanager
def locked(files: LocalFiles, owner: str) -> Iterator[int]:
    """The lock as another run holds it."""
    files.path.mkdir(parents=True, exist_ok=True)
    with files.lock.open("w") as lock:
        lock.write(owner)
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


def expect_refusal(files: LocalFiles, pattern: str) -> None:
    began = time.monotonic()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(run_lock_module, "LOCK_PATIENCE_SECONDS", 60.0)
        with pytest.raises(FrameworkError, match=pattern), run_lock(files):
            pytest.fail("it was locked")
    assert time.monotonic() - began < 60, "it was waited for"


def ended_process() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_a_run_has_the_directory_for_itself(files: LocalFiles) -> None:
    for _ in range(2):
        with run_lock(files):
            assert files.lock.read_text() == str(os.getpid())
            assert files.worker.tasks.is_dir()
            expect_refusal(
                files, rf"another run uses this directory \(process {os.getpid()}\); wait for its end"
            )
            assert files.lock.read_text() == str(os.getpid())


def test_the_lock_can_be_handed_on(files: LocalFiles) -> None:
    with run_lock(files) as lock:
        os.set_inheritable(lock, True)
        heir = subprocess.Popen(["sleep", "60"], pass_fds=[lock])
    try:
        expect_refusal(files, "another run uses this directory")
    finally:
        heir.kill()
        heir.wait()
    with run_lock(files):
        pass


def test_a_number_that_was_longer_is_replaced_as_a_whole(files: LocalFiles) -> None:
    files.path.mkdir()
    files.lock.write_text("9" * 20)
    with run_lock(files):
        assert files.lock.read_text() == str(os.getpid())


def test_a_run_that_has_just_begun_is_another_run(files: LocalFiles) -> None:
    with locked(files, ""):
        expect_refusal(files, "process unknown")


def test_a_run_that_was_killed_is_waited_for_until_its_tasks_are_gone(files: LocalFiles) -> None:
    with locked(files, str(ended_process())) as lock:
        threading.Timer(0.3, lambda: fcntl.flock(lock, fcntl.LOCK_UN)).start()
        with run_lock(files):
            assert files.lock.read_text() == str(os.getpid())


def test_a_run_that_was_killed_is_not_waited_for_for_ever(
    files: LocalFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_lock_module, "LOCK_PATIENCE_SECONDS", 0.5)
    owner = ended_process()
    with (
        locked(files, str(owner)),
        pytest.raises(FrameworkError, match=f"process {owner}"),
        run_lock(files),
    ):
        pytest.fail("it was locked")


RUN = """
import sys, time
from pathlib import Path
from framework.files import LocalFiles
from framework.local.run_lock import run_lock
from framework.local.runner_process import RunnerProcess
files = LocalFiles(Path(sys.argv[1]))
with run_lock(files) as lock:
    runner = RunnerProcess(files.worker, lock)
    runner.start()
    print("locked", flush=True)
    time.sleep(60)
"""


def test_the_runner_of_a_run_that_was_killed_holds_the_lock_until_its_tasks_are_gone(
    files: LocalFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-c", RUN, str(files.path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"locked\n"
        (runner,) = children(run.pid)
        assert os.getsid(runner) == runner, "Ctrl-C does not reach it"
        os.kill(runner, signal.SIGSTOP)
        run.kill()
    with monkeypatch.context() as patched:
        patched.setattr(run_lock_module, "LOCK_PATIENCE_SECONDS", 0.3)
        with pytest.raises(FrameworkError, match=f"process {run.pid}"), run_lock(files):
            pytest.fail("it was locked")
    os.kill(runner, signal.SIGCONT)
    monkeypatch.setattr(run_lock_module, "LOCK_PATIENCE_SECONDS", 60.0)
    with run_lock(files):
        pass


def test_a_run_of_another_user_is_alive(files: LocalFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    with locked(files, "12"):
        expect_refusal(files, "process 12")


def test_a_directory_that_cannot_be_used(files: LocalFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    with monkeypatch.context() as patched:
        patched.setattr(fcntl, "flock", refuse)
        expect_refusal(files, r"lock: cannot be locked \(No locks available\); choose a directory on a local")
    files.path.rename(files.path.with_name("other"))
    files.path.touch()
    expect_refusal(files, r"my data: cannot be used \(Not a directory\); choose another directory")


def test_tasks_of_an_earlier_run_and_those_that_outlive_this_one_are_killed(files: LocalFiles) -> None:
    environment = os.environ | {"TASK_DIR": str(files.worker.attempt("0" * 16, 1).work)}

    def start() -> subprocess.Popen[bytes]:
        process = subprocess.Popen(["sleep", "60"], env=environment, start_new_session=True)
        wait_until(lambda: process.pid in task_processes(files.worker.tasks))  # a moment after exec
        return process

    earlier = start()
    try:
        with run_lock(files):
            assert gone(earlier.pid)
            later = start()
        assert gone(later.pid)
        later.wait()
    finally:
        earlier.kill()
        earlier.wait()


def test_they_are_killed_when_the_run_fails_too(files: LocalFiles) -> None:
    environment = os.environ | {"TASK_DIR": str(files.worker.attempt("0" * 16, 1).work)}

    def fail() -> None:
        with run_lock(files):
            started.append(subprocess.Popen(["sleep", "60"], env=environment, start_new_session=True))
            wait_until(lambda: started[0].pid in task_processes(files.worker.tasks))
            raise FrameworkError("killed 5 times")

    started: list[subprocess.Popen[bytes]] = []
    with pytest.raises(FrameworkError, match="killed 5 times"):
        fail()
    assert started[0].wait(60) == -signal.SIGKILL
