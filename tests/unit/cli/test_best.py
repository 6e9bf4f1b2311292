"""Command `best`, and the end of a run: a table, and a warning where it lacks results."""

from __future__ import annotations

from pathlib import Path

import pytest

from framework.cli.best import print_best
from framework.journal.store import Journal
from framework.messages.assignment import AttemptResult
from framework.messages.metrics import Metric
from framework.project.project import Project
from framework.space.product import Space

PROJECT = Project("p", Path("/"), ("run",), "accuracy", "maximize", None, 0, None, Space({"x": [1, 2]}))


def shown(tmp_path: Path, capsys: pytest.CaptureFixture[str], *metrics: dict[str, Metric]) -> tuple[str, str]:
    with Journal(tmp_path / "journal.sqlite") as journal:
        for number, each in enumerate(metrics):
            parameters = PROJECT.space.combination(number)
            task = PROJECT.task_id(parameters)
            attempt = journal.assign(task, number, parameters, "a", 1.0)
            result = AttemptResult(task, attempt, "a", "done", 1.0, 1.0, 0, "", each, "c", "", "i", "p")
            journal.finish(result, final=True)
        print_best(PROJECT, journal, 5)
    return capsys.readouterr()


def test_a_table_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = shown(tmp_path, capsys, {"accuracy": 0.5}, {"accuracy": 0.7})
    assert [line.split()[:2] for line in out.splitlines()] == [["accuracy", "x"], ["0.7", "2"], ["0.5", "1"]]
    assert err == ""


def test_a_warning_in_place_of_a_table_without_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(tmp_path, capsys, {"acc": 0.5, "loss": 1}) == (
        "", "no task has reported accuracy; reported: acc, loss\n"
    )  # fmt: skip


def test_a_table_that_lacks_a_task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = shown(tmp_path, capsys, {"accuracy": 0.5}, {})
    assert len(out.splitlines()) == 2
    assert err == "1 of 2 tasks that are done have not reported accuracy\n"
