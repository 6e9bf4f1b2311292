"""Orphans: processes of tasks are found by their directory, and ended with their attempt or their run."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from attempt_bench import gone
from runner_bench import wait_until

from framework.runner import orphans
from framework.runner.orphans import kill_orphans, task_processes

LOOP = "while :; do sleep 0.1; done"


def end_orphans(directory: Path, group: int, seconds: float) -> int:
    return asyncio.run(orphans.end_orphans(directory, group, seconds))


class Tasks:
    """Processes with a TASK_DIR."""

    def __init__(self, path: Path) -> None:
        self.path = path / "a run's tasks"
        self.said = path / "said"
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, directory: str | Path, script: str = "exec sleep 60", trap: str = "") -> int:
        environment = os.environ | {"TASK_DIR": str(directory)}
        process = subprocess.Popen(
            ["sh", "-c", f"{trap}\necho; {script}"],
            env=environment,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert process.stdout is not None
        process.stdout.readline()  # it has its environment
        self.started.append(process)
        return process.pid


@pytest.fixture
def tasks(tmp_path: Path) -> Iterator[Tasks]:
    tasks = Tasks(tmp_path)
    yield tasks
    for process in tasks.started:
        process.kill()
        process.communicate()


def test_processes_are_found_by_the_directory_of_their_task(tasks: Tasks) -> None:
    first = tasks.start(tasks.path / "0123456789abcdef/1/files")
    second = tasks.start(f"{tasks.path}/fedcba9876543210/2/files")
    for other in (f"{tasks.path}.old/0123456789abcdef/1/files", tasks.path, f"/x{tasks.path}/t", ""):
        tasks.start(other)
    assert sorted(task_processes(tasks.path)) == sorted([first, second])


def test_whatever_they_ignore_they_are_killed_and_others_live(tasks: Tasks) -> None:
    stubborn = tasks.start(tasks.path / "t/1/files", LOOP, trap="trap '' TERM HUP INT")
    other = tasks.start(f"{tasks.path}.old/t/1/files")
    kill_orphans(tasks.path)
    assert (list(task_processes(tasks.path)), gone(stubborn), gone(other)) == ([], True, False)


def test_a_process_that_cannot_be_killed_is_not_waited_for_for_ever(
    tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = tasks.start(tasks.path / "t/1/files")

    def refuse(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    monkeypatch.setattr(orphans, "_PATIENCE_SECONDS", 0.1)
    kill_orphans(tasks.path)
    assert list(task_processes(tasks.path)) == [process]


def test_what_an_attempt_left_gets_term_and_others_nothing(tasks: Tasks) -> None:
    work = tasks.path / "t/1/files"
    polite = tasks.start(work, LOOP, trap=f"trap 'echo bye >{tasks.said}; exit' TERM")
    other = tasks.start(f"{work}.old")
    assert end_orphans(work, 1, 60.0) >= 1  # the sleep that it waits for is one, too
    assert (gone(polite), gone(other), tasks.said.read_text()) == (True, False, "bye\n")
    assert end_orphans(work, 1, 60.0) == 0


def test_what_ignores_term_is_killed(tasks: Tasks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orphans, "TERM_SECONDS", 0.2)
    stubborn = tasks.start(tasks.path / "t/1/files", LOOP, trap="trap '' TERM")
    began = time.monotonic()
    end_orphans(tasks.path / "t/1/files", 1, 60.0)
    assert gone(stubborn)
    assert time.monotonic() - began > 0.2


def test_the_group_of_an_attempt_is_waited_for_and_not_counted(tasks: Tasks) -> None:
    work = tasks.path / "t/1/files"
    process = tasks.start(work)
    threading.Timer(0.2, tasks.started[0].kill).start()
    assert end_orphans(work, process, 60.0) == 0
    assert gone(process)


def test_a_short_attempt_looks_at_later_processes_only(tasks: Tasks, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tasks.path / "t/1/files"
    process = tasks.start(work)
    later = tasks.start("")
    assert end_orphans(work, later, 0.1) == 0
    assert not gone(process)
    monkeypatch.setattr(orphans, "_last_process", lambda: process)  # as after all numbers were used up
    assert end_orphans(work, later, 0.1) == 1


def test_the_number_of_the_last_process_is_known(tasks: Tasks) -> None:
    assert tasks.start("") <= orphans._last_process()


def test_what_cannot_be_ended_is_logged_and_not_waited_for(
    tasks: Tasks, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    process = tasks.start(tasks.path / "t/1/files")
    for name in ("TERM_SECONDS", "_PATIENCE_SECONDS"):
        monkeypatch.setattr(orphans, name, 0.1)
    monkeypatch.setattr(orphans, "_signal", lambda *_: None)
    assert end_orphans(tasks.path / "t/1/files", 1, 60.0) == 1
    assert f"cannot be ended: [{process}]" in caplog.text


def test_a_long_environment_is_read_to_its_end(tasks: Tasks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_LONG_ONE", "x" * 130_000)
    monkeypatch.setattr(orphans, "_LONGEST_READ", 64)
    process = tasks.start(tasks.path / "t/1/files")
    wait_until(lambda: list(task_processes(tasks.path)) == [process])  # exec may come between two reads
