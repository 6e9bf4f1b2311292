"""Log of a runner: what it still knows after it was killed, and what of it is believed."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.runner import log as log_module
from framework.runner.log import Entry, RunnerLog, running_since

KEY = b"the worker's key"
DONE = {"exit_code": 0, "state": "done", "metrics": {"a": 1}}


class LogBench:
    """A log, and what a runner finds in it that starts now."""

    def __init__(self, path: Path) -> None:
        self.path = path / "runner/log"
        self.log = RunnerLog(self.path, KEY)

    def read(self, key: bytes = KEY) -> dict[str, Entry]:
        """What a runner finds that was killed at this moment."""
        copy = self.path.with_name("copy")
        copy.write_bytes(self.path.read_bytes())
        with opened(copy, key) as log:
            return log.entries

    def restart(self) -> None:
        self.log.close()
        self.log = RunnerLog(self.path, KEY)


@contextmanager
def opened(path: Path, key: bytes = KEY) -> Iterator[RunnerLog]:
    log = RunnerLog(path, key)
    yield log
    log.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[LogBench]:
    bench = LogBench(tmp_path)
    yield bench
    bench.log.close()


def test_an_outcome_outlives_this_process_at_once_and_all_else_after_a_sync(bench: LogBench) -> None:
    bench.log.give("a.1", {"of the worker": "grüße\n"})
    bench.log.start("a.1", 1.5)
    assert bench.read() == {}
    bench.log.sync()
    assert bench.read() == {"a.1": Entry({"of the worker": "grüße\n"}, 1.5, None)}
    bench.log.end("a.1", DONE)
    bench.log.give("b.1", None)
    assert bench.read() == {"a.1": Entry({"of the worker": "grüße\n"}, 1.5, DONE)}
    bench.log.sync()
    assert bench.read() == bench.log.entries


def test_the_disk_has_it_and_not_only_the_kernel(bench: LogBench, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    write, fdatasync = os.write, os.fdatasync

    def noted_write(file: int, content: bytes) -> int:
        calls.append("write")
        return write(file, content)

    def noted_fdatasync(file: int) -> None:
        calls.append("fdatasync")
        fdatasync(file)

    monkeypatch.setattr(os, "write", noted_write)
    monkeypatch.setattr(os, "fdatasync", noted_fdatasync)
    bench.log.give("a.1", None)
    bench.log.give("b.1", None)
    bench.log.sync()
    assert calls == ["write", "fdatasync"]
    bench.log.sync()
    assert calls == ["write", "fdatasync"], "there is nothing new"
    bench.log.end("b.1", DONE)
    bench.log.sync()
    assert calls[2:] == ["write", "fdatasync"]


def test_the_directory_of_a_new_file_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def noted_fsync(file: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{file}"))
        fsync(file)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(log_module, "_LARGE", 10_000)
    with opened(tmp_path / "runner/log") as log:
        assert synced == [str(tmp_path), str(tmp_path / "runner")]
        log.give("a.1", "x" * 10_000)
        log.sync()
        assert synced[2:] == [str(tmp_path / "runner")], "it was written anew"


def test_a_log_that_is_written_anew_is_on_the_disk_before_it_replaces_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    fdatasync, replace = os.fdatasync, os.replace

    def noted_fdatasync(file: int) -> None:
        calls.append(f"sync {Path(os.readlink(f'/proc/self/fd/{file}')).name}")
        fdatasync(file)

    def noted_replace(old: Path, new: Path) -> None:
        calls.append(f"replace {new.name}")
        replace(old, new)

    monkeypatch.setattr(log_module, "_LARGE", 10_000)
    with opened(tmp_path / "log") as log:
        log.give("a.1", "x" * 10_000)
        descriptors = len(os.listdir("/proc/self/fd"))
        monkeypatch.setattr(os, "fdatasync", noted_fdatasync)
        monkeypatch.setattr(os, "replace", noted_replace)
        log.sync()
        assert calls == ["sync log", "sync .log.new", "replace log"]
        assert len(os.listdir("/proc/self/fd")) == descriptors


def test_what_is_forgotten_is_removed(bench: LogBench) -> None:
    for attempt in ("a.1", "b.1"):
        bench.log.give(attempt, None)
        bench.log.end(attempt, DONE)
    bench.log.forget("a.1")
    bench.log.forget("never.1")
    bench.log.sync()
    assert bench.read().keys() == {"b.1"}
    bench.log.forget("b.1")
    bench.log.sync()
    assert bench.read() == {}
    bench.restart()
    assert bench.path.stat().st_size == 0


def test_an_attempt_may_be_given_again_once_it_is_forgotten(bench: LogBench) -> None:
    bench.log.give("a.1", "first")
    bench.log.start("a.1", 1.0)
    bench.log.forget("a.1")
    bench.log.give("a.1", "second")
    bench.log.sync()
    assert bench.read() == {"a.1": Entry("second")}


def test_a_torn_last_line_is_ignored_and_does_not_harm_the_next(bench: LogBench) -> None:
    for attempt in ("a.1", "b.1"):
        bench.log.give(attempt, "context")
        bench.log.sync()
    whole = bench.path.read_bytes()
    first = whole.index(b"\n") + 1
    for size in range(first, len(whole)):
        bench.path.write_bytes(whole[:size])
        bench.restart()
        assert bench.log.entries.keys() == {"a.1"}, size
        bench.log.give("c.1", None)
        bench.log.sync()
        assert bench.read().keys() == {"a.1", "c.1"}, size


@given(st.data())
def test_what_a_crash_or_a_task_makes_of_it_is_never_wrong(data: st.DataObject) -> None:
    """Whatever bytes are changed or missing: each entry is one that was written."""
    path = Path("/dev/shm" if os.path.isdir("/dev/shm") else "/tmp") / f"log-of-a-test-{os.getpid()}"
    try:
        with opened(path) as log:
            log.give("a.1", 1)
            log.end("a.1", DONE)
            log.give("b.1", 2)
            log.sync()
            content = bytearray(path.read_bytes())
            for _ in range(data.draw(st.integers(1, 3))):
                content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
            path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
        with opened(path) as log:
            assert log.entries.get("a.1", Entry(1)) in (Entry(1), Entry(1, None, DONE))
            assert log.entries.get("b.1", Entry(2)) == Entry(2)
            assert log.entries.keys() <= {"a.1", "b.1"}
    finally:
        path.unlink()


def test_a_line_of_somebody_else_is_not_believed(bench: LogBench, caplog: pytest.LogCaptureFixture) -> None:
    bench.log.give("a.1", None)
    bench.log.sync()
    seal, _, _ = bench.path.read_bytes().partition(b" ")
    with bench.path.open("ab") as file:
        for forged in ({"ended": "a.1", "execution": DONE}, {"given": "x.1", "context": None}):
            file.write(seal + b" " + json.dumps(forged).encode() + b"\n")
        file.write(b'{"given":"y.1","context":null}\n\n \nx\n\xff\xff \xff\n')
    bench.restart()
    assert bench.log.entries == {"a.1": Entry(None)}
    assert f"{bench.path}: 5 lines are ignored: torn, or not the runner's own" in caplog.text


def test_another_worker_believes_nothing(bench: LogBench) -> None:
    bench.log.give("a.1", None)
    bench.log.sync()
    assert bench.read(key=b"another") == {}


@contextmanager
def disk_with_room(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes: a write ends in the middle, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("room", [0, 1, 50, 150, 250])
def test_a_disk_that_is_full_in_the_middle_of_a_write(bench: LogBench, room: int) -> None:
    bench.log.give("a.1", None)
    bench.log.sync()
    size = bench.path.stat().st_size
    with disk_with_room(size + room):
        for number in range(5):
            bench.log.give(f"b.{number}", "x" * 50)
        for _ in range(3):
            with pytest.raises(OSError) as caught:  # noqa: PT011
                bench.log.sync()
            assert caught.value.errno == errno.EFBIG
        assert "a.1" in bench.read()
        assert bench.path.stat().st_size == size + room, "the last try has used the room of those before"
    bench.log.end("b.0", DONE)
    bench.log.sync()
    assert bench.read() == bench.log.entries
    assert bench.read()["b.0"] == Entry("x" * 50, None, DONE)


def test_a_disk_that_fails_after_the_write(bench: LogBench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(file: int) -> None:
        raise OSError(errno.EIO, "broken")

    bench.log.give("a.1", None)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", fail)
        with pytest.raises(OSError, match="broken"):
            bench.log.sync()
    bench.log.sync()
    assert bench.read() == {"a.1": Entry(None)}


def test_a_log_that_has_grown_is_emptied_when_nothing_is_held(bench: LogBench) -> None:
    bench.log.give("a.1", "x" * 100_000)
    bench.log.sync()
    assert bench.path.stat().st_size > 100_000
    bench.log.forget("a.1")
    bench.log.sync()
    assert bench.path.stat().st_size == 0
    bench.log.give("b.1", None)
    bench.log.sync()
    assert bench.read() == {"b.1": Entry(None)}


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "_LARGE", 10_000)


def fill(log: RunnerLog, number: int = 100) -> None:
    """Many attempts, of which one is running and one has ended."""
    log.give("a.1", "context")
    log.start("a.1", 1.5)
    log.give("b.1", "context")
    log.end("b.1", DONE)
    for each in range(number):
        log.give(f"c.{each}", "x" * 200)
        log.forget(f"c.{each}")
        log.sync()


def test_a_log_that_has_grown_is_written_anew(tmp_path: Path, large: None) -> None:
    bench = LogBench(tmp_path)
    fill(bench.log)
    held = {"a.1": Entry("context", 1.5), "b.1": Entry("context", None, DONE)}
    assert bench.path.stat().st_size < 30_000
    assert bench.read() == bench.log.entries == held
    bench.restart()
    assert bench.log.entries == held
    assert [file.name for file in bench.path.parent.iterdir() if file.name != "copy"] == ["log"]
    bench.log.close()


def test_a_log_that_cannot_be_written_anew_goes_on(
    tmp_path: Path, large: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    bench = LogBench(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", fail)
        fill(bench.log)
    assert len(caplog.messages) in (1, 2), "it is tried again when it has doubled"
    assert "cannot be written anew: No space left on device" in caplog.text
    assert bench.read().keys() == {"a.1", "b.1"}
    fill(bench.log)
    assert bench.path.stat().st_size < 60_000
    assert bench.read().keys() == {"a.1", "b.1"}
    bench.log.close()


def test_what_a_killed_runner_was_writing_anew_is_no_harm(tmp_path: Path, large: None) -> None:
    bench = LogBench(tmp_path)
    left = bench.path.with_name(".log.new")
    left.symlink_to(tmp_path / "other")
    fill(bench.log)
    assert bench.read().keys() == {"a.1", "b.1"}
    assert not (tmp_path / "other").exists()
    assert not left.is_symlink()
    bench.log.close()


def put_link(path: Path) -> None:
    path.symlink_to(path.parent.parent / "other")


def put_directory(path: Path) -> None:
    (path / "full").mkdir(parents=True)


@pytest.mark.parametrize("put", [put_link, os.mkfifo, put_directory, Path.touch])
def test_what_a_task_has_put_in_its_place_is_removed(tmp_path: Path, put: Callable[[Path], Any]) -> None:
    (tmp_path / "runner").mkdir()
    (tmp_path / "other").write_text("of somebody else")
    put(tmp_path / "runner/log")
    bench = LogBench(tmp_path)
    bench.log.give("a.1", None)
    bench.log.sync()
    assert bench.read().keys() == {"a.1"}
    assert (tmp_path / "other").read_text() == "of somebody else"
    bench.log.close()


def test_only_its_user_reads_it(bench: LogBench) -> None:
    assert bench.path.stat().st_mode & 0o777 == 0o600


def test_what_runs_is_told_to_whoever_asks(bench: LogBench) -> None:
    for number in range(4):
        bench.log.give(f"{number}.1", None)
    for number in range(3):
        bench.log.start(f"{number}.1", 100.0 + number)
    bench.log.end("0.1", DONE)
    bench.log.forget("2.1")
    bench.log.sync()
    with bench.path.open("ab") as file:
        file.write(b'x {"started": 1}\nx [1]\nx {"started": [1], "when": 1}\ntorn {"star')
    assert running_since(bench.path) == [101.0]
    assert running_since(bench.path.with_name("none")) == []


def test_the_program_says_how_many_run_and_how_long(bench: LogBench) -> None:
    bench.log.give("a.1", None)
    bench.log.start("a.1", 0.0)
    bench.log.sync()
    argv = [sys.executable, "-I", "-S", str(Path(log_module.__file__).with_name("__main__.py")), "--running"]
    found = subprocess.run([*argv, f"--log={bench.path}"], stdout=subprocess.PIPE, check=True).stdout.split()
    assert found[0] == b"1"
    assert int(found[1]) > 1_000_000_000
    assert subprocess.run([*argv, "--log=/none"], stdout=subprocess.PIPE, check=True).stdout == b"0 0\n"
