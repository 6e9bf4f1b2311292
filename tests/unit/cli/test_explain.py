"""Commands `explain` and `where`."""

from __future__ import annotations

import re

import pytest
from master_bench import Bench, Clock
from straggler_bench import Straggler

from framework.cli import locations
from framework.cli import main as cli
from framework.cli.status_document import Documents


@pytest.fixture
def running(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A sweep of x: 1 is done, 2 has failed, 3 runs, 4 waits."""
    monkeypatch.setattr(locations, "DATA", bench.files.path)
    monkeypatch.setattr(locations, "CODE", bench.path / "code")
    monkeypatch.setenv("PROJECT", "p")
    bench.messenger.beat("a", slots=3)
    first, second, third = bench.turn()
    bench.messenger.started(*third)
    bench.messenger.result(*first)
    bench.messenger.result(*second, state="failed", seconds=200.0)
    bench.messenger.beat("a", slots=0, running=[str(third[1].id)])
    bench.turn()
    return bench


def explained(capsys: pytest.CaptureFixture[str], *tasks: str) -> list[list[str]]:
    """The lines that are said of each of these tasks."""
    assert cli.main(["explain", *tasks]) == 0
    return [part.splitlines() for part in re.split(r"^task ", capsys.readouterr().out, flags=re.M)[1:]]


def test_each_state_is_explained(running: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    done, failed, runs, waits = explained(capsys, "1", "2", "3", "4")
    task = done[0].removeprefix("1, ")
    assert done[1:] == [
        "  x=1", "  done: loss=0.5", "  attempt 1 on a: done after 60 s",
        "  to repeat it by hand: train --x=1",
    ]  # fmt: skip
    assert failed[2:4] == ["  failed: loss=0.5", "  attempt 1 on a: failed after 3 min, exit code 1"]
    assert runs[2:4] == ["  running on a", "  attempt 1 on a: running for 0 s"]
    assert waits[1:3] == ["  x=4", "  waiting: 1 tasks wait, 1 run, in 0 slots"]
    assert explained(capsys, task[:6]) == [done], "by the beginning of its id"
    assert cli.main(["explain", "9"]) == 2
    assert "no such task in the sweep" in capsys.readouterr().err


def test_attempts_that_run_side_by_side_are_explained_and_the_logs_are_those_of_the_one_that_counts(
    bench: Bench, clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(locations, "DATA", bench.files.path)
    monkeypatch.setattr(locations, "CODE", bench.path / "code")
    monkeypatch.setenv("PROJECT", "p")
    straggler = Straggler(bench, clock).is_copied()

    def lines() -> list[str]:
        ((_, _, *lines),) = explained(capsys, "1")
        return [re.sub(" (for|after) [0-9].*? s", "", line.strip()) for line in lines]

    assert lines()[:3] == [
        "running on a, and a copy of it is running on b",
        "attempt 1 on a: running, beside its copy: the first result counts",
        "attempt 2 on b: running",
    ]
    tasks = Documents(bench.files).make()["tasks"]
    assert [(each["number"], each["attempt"], each["host"]) for each in tasks] == [(1, 1, "a"), (1, 2, "b")]
    straggler.end("a", straggler.first)
    straggler.turn()
    assert lines()[1:3] == [
        "attempt 1 on a: done", "attempt 2 on b: stopped: attempt 1 on a has ended the task",
    ]  # fmt: skip
    assert cli.main(["where", "1"]) == 0
    assert capsys.readouterr().out.split()[1:] == ["1", "a"]


def test_a_paused_sweep_says_why_a_task_waits(running: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    running.ask("pause")
    running.turn()
    (waits,) = explained(capsys, "4")
    assert "the sweep is paused" in waits[2]
    running.files.status.unlink()
    (waits,) = explained(capsys, "4")
    assert "the master has not started yet" in waits[2]


def test_where_the_logs_are(running: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["where", "3"]) == 0
    task, attempt, host = capsys.readouterr().out.split()
    assert (len(task), attempt, host) == (16, "1", "a")
    assert cli.main(["where", "4"]) == 1
    assert "has not begun yet" in capsys.readouterr().err
