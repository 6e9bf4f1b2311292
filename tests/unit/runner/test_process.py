"""Processes: how they end, without being reaped, and signals to groups of them."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attempt_bench import gone
from runner_bench import wait_until

from framework.runner.process import OOM_SCORE, end_of, raise_oom_score, signal_group, signal_name, spawn


@contextmanager
def shell(script: str) -> Iterator[int]:
    """The leader of a group of its own."""
    process = subprocess.Popen(["sh", "-c", script], start_new_session=True)
    yield process.pid
    signal_group(process.pid, signal.SIGKILL)
    process.wait()


def test_the_end_of_a_process_is_seen_and_its_number_stays_taken() -> None:
    began = time.monotonic()
    with shell("exit 3") as pid:
        for _ in range(2):
            end = end_of(pid)
            assert end is not None
            assert (end.exit_code, end.signal, end.problem) == (3, None, "")
            assert began < end.when <= time.monotonic()
        assert os.waitpid(pid, 0) == (pid, 3 << 8), "nobody has reaped it"


def test_a_signal_that_ends_a_process_is_named() -> None:
    with shell("kill -9 $$") as pid:
        end = end_of(pid)
        assert end is not None
        assert (end.exit_code, end.signal) == (128 + 9, 9)


def test_a_process_that_runs_has_no_end() -> None:
    with shell("sleep 60") as pid:
        assert end_of(pid, os.WNOHANG) is None


def test_the_end_of_a_process_that_somebody_else_has_reaped_is_unknown() -> None:
    with shell("exit 3") as pid:
        os.waitpid(pid, 0)
        end = end_of(pid)
    assert end is not None
    assert (end.exit_code, end.signal) == (None, None)
    assert "unknown" in end.problem


def test_a_signal_reaches_the_whole_group(tmp_path: Path) -> None:
    with shell(f"sleep 60 & echo $! >'{tmp_path}/new'; mv '{tmp_path}/new' '{tmp_path}/child'; wait") as pid:
        wait_until((tmp_path / "child").exists)
        child = int((tmp_path / "child").read_text())
        signal_group(pid, signal.SIGTERM)
        wait_until(lambda: gone(pid) and gone(child))


def test_a_group_that_is_gone_or_belongs_to_others_is_no_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with shell("exit 0") as pid:
        pass
    signal_group(pid, signal.SIGTERM)
    assert caplog.messages == []

    def refuse(pid: int, number: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "killpg", refuse)
    signal_group(7, signal.SIGTERM)
    assert caplog.messages == ["cannot send signal 15 to process group 7: Operation not permitted"]


def test_the_oom_score_of_a_task_is_higher_and_one_that_is_gone_is_no_error() -> None:
    own = int(Path("/proc/self/oom_score_adj").read_text())
    with shell("sleep 60") as pid:
        raise_oom_score(pid)
        assert int(Path(f"/proc/{pid}/oom_score_adj").read_text()) == min(own + OOM_SCORE, 1000)
    raise_oom_score(pid)


def test_names_of_signals() -> None:
    names = [signal_name(number) for number in (15, 9, 127)]
    assert names == ["SIGTERM", "SIGKILL (out of memory?)", "signal 127"]


class Spawned:
    """Programs that spawn() starts in the directory of a test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.environment = {"PATH": os.environ["PATH"]}

    def start(self, *argv: str, shared: list[int] | None = None) -> int:
        with (self.path / "stdout").open("wb") as stdout, (self.path / "stderr").open("wb") as stderr:
            files = (stdout.fileno(), stderr.fileno())
            return spawn(argv, self.environment, str(self.path), *files, shared or ())

    def run(self, *argv: str, shared: list[int] | None = None) -> str:
        os.waitpid(self.start(*argv, shared=shared), 0)
        return (self.path / "stdout").read_text()


@pytest.fixture
def spawned(tmp_path: Path) -> Iterator[Spawned]:
    before = os.getcwd()
    yield Spawned(tmp_path)
    os.chdir(before)


def test_a_program_is_started_in_its_directory_and_its_own_group(spawned: Spawned) -> None:
    found = spawned.run(sys.executable, "-c", "import os; print(os.getcwd(), os.getpgrp() == os.getpid())")
    assert found == f"{spawned.path} True\n"
    assert os.getcwd() == "/", "the directory of a task can be removed"


def test_a_program_has_the_usual_signals_whatever_this_process_does_with_them(spawned: Spawned) -> None:
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGHUP)}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        found = spawned.run("grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status")
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        for number, handler in handlers.items():
            signal.signal(number, handler)
    standard = 2**31 - 1  # 32 and 33 are the C library's own
    assert [int(number, 16) & standard for number in found.split()[1::2]] == [0, 0]


def test_a_program_inherits_what_is_shared_with_it_and_no_other_descriptor(spawned: Spawned) -> None:
    reader, writer = os.pipe()
    program = "import json, os; print(json.dumps(list(map(int, os.listdir('/proc/self/fd')))))"
    found = json.loads(spawned.run(sys.executable, "-c", program, shared=[writer]))
    assert (writer in found, reader in found) == (True, False)
    assert not os.get_inheritable(writer)
    for descriptor in (reader, writer):
        os.close(descriptor)


def test_a_program_is_looked_up_in_the_path_of_its_own_environment(spawned: Spawned) -> None:
    for directory, mode in (("first", 0o644), ("second", 0o755), ("third", 0o755)):
        (spawned.path / directory).mkdir()
        (spawned.path / directory / "program").write_text(f"#!/bin/sh\necho {directory}\n")
        (spawned.path / directory / "program").chmod(mode)
    spawned.environment["PATH"] = os.pathsep.join(["/none", "first", "second", "third", "/bin"])
    assert spawned.run("program") == "second\n"
    spawned.environment["PATH"] = "first"
    with pytest.raises(PermissionError):
        spawned.run("program")
    spawned.environment["PATH"] = "/none"
    with pytest.raises(FileNotFoundError):
        spawned.run("program")


def test_a_host_that_is_short_of_processes_is_no_other_path(
    spawned: Spawned, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> int:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "posix_spawn", fail)
    with pytest.raises(BlockingIOError):
        spawned.run("true")
    assert os.getcwd() == "/"
