"""Failed tasks: a line for each reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from framework.cli import failures
from framework.cli.failures import GROUPS_SHOWN, print_failures
from framework.journal.store import Journal
from framework.messages.assignment import AttemptResult, AttemptState
from framework.project.project import Project
from framework.space.product import Space

NUMBERS = list(range(12))
PROJECT = Project("p", Path("/"), ("run",), "accuracy", "maximize", None, 0, None, Space({"x": NUMBERS}))


def printed(tmp_path: Path, capsys: pytest.CaptureFixture[str], *reasons: str | None) -> list[str]:
    """The lines for a sweep whose tasks have failed for these reasons; None: it is done."""
    with Journal(tmp_path / "journal.sqlite") as journal:
        for number, reason in enumerate(reasons):
            parameters = PROJECT.space.combination(number)
            task = PROJECT.task_id(parameters)
            attempt = journal.assign(task, number, parameters, f"gpu{number}", 1.0)
            state: AttemptState = "done" if reason is None else "failed"
            result = AttemptResult(
                task, attempt, f"gpu{number}", state, 1.0, 1.0, 0, reason or "", {}, "c", "", "i", "p"
            )  # fmt: skip
            journal.finish(result, final=True)
        print_failures(PROJECT, journal, lambda record: f"logs {record.number + 1}")
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()


def test_tasks_are_grouped_by_their_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(
        tmp_path, capsys, None, "exit code 1: a", "exit code 3: b\x1b[2J", "exit code 3: b\x1b[2J"
    ) == [
        "failed: 2 tasks, as x=2, on gpu2: exit code 3: b [2J; logs: logs 3",
        "failed: x=1 on gpu1: exit code 1: a; logs: logs 2",
    ]


def test_without_failures_nothing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(tmp_path, capsys, None, None) == []


def test_of_many_reasons_a_few_are_shown_and_the_others_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "_MOST_GROUPS", GROUPS_SHOWN + 2)
    lines = printed(tmp_path, capsys, *(str(number) for number in range(GROUPS_SHOWN + 5)))
    assert len(lines) == GROUPS_SHOWN + 1
    assert lines[-1] == "failed for other reasons: 5; see results.csv"
