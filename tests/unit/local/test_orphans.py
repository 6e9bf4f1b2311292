"""Orphans: processes of tasks are found by their directory, and killed when their run has ended."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from attempt_bench import gone, wait_for

from framework.local import orphans
from framework.local.orphans import kill_orphans, task_processes


class Tasks:
    """Processes with a TASK_DIR."""

    def __init__(self, path: Path) -> None:
        self.path = path / "a run's tasks"
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, directory: str | Path, script: str = "exec sleep 60") -> int:
        environment = os.environ | {"TASK_DIR": str(directory)}
        process = subprocess.Popen(
            ["sh", "-c", f"echo; {script}"], env=environment, stdout=subprocess.PIPE, start_new_session=True
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
    stubborn = tasks.start(tasks.path / "t/1/files", "trap '' TERM HUP INT; while :; do sleep 0.1; done")
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


def test_the_program_waits_for_the_end_of_its_input(tasks: Tasks) -> None:
    guard = subprocess.Popen(
        [sys.executable, "-I", "-S", orphans.__file__, tasks.path], stdin=subprocess.PIPE
    )
    process = tasks.start(tasks.path / "t/1/files")
    with pytest.raises(subprocess.TimeoutExpired):
        guard.wait(0.3)
    assert not gone(process)
    guard.communicate()
    assert guard.returncode == 0
    wait_for(lambda: gone(process))
