"""Processes: how they end, without being reaped, and signals to groups of them."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attempt_bench import gone, wait_for

from framework.runner.process import OOM_SCORE, end_of, raise_oom_score, signal_group, signal_name


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
        wait_for((tmp_path / "child").exists)
        child = int((tmp_path / "child").read_text())
        signal_group(pid, signal.SIGTERM)
        wait_for(lambda: gone(pid) and gone(child))


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
