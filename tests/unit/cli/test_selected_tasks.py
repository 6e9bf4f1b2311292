"""Command `select`: choices of tasks, over a sweep.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from framework.cli.main import main
from framework.cli.selected_tasks import select
from framework.errors import UsageError
from framework.export.sweep_results import SweepResults


def task(number: int, state: str = "done", **metrics: Any) -> dict[str, Any]:
    return {
        "task": f"{number:x}{'a' * 15}", "number": number, "state": state, "metrics": metrics, "host": "a",
        "started": 5.0, "seconds": None, "exit_code": None, "code": "v", "reason": "", "program": "a",
        "parameters": {},
    }  # fmt: skip


SWEEP: dict[str, Any] = {
    "version": 1,
    "metric": "loss",
    "goal": "minimize",
    "project": "p",
    "written": 5.0,
    "combinations": 9,
    "parameters": [],
    "metrics": ["loss"],
    "warning": None,
    "tasks": [
        task(1, loss=3),
        task(2, loss=1),
        task(3, "failed", loss=0),
        task(4, loss="NaN"),
        task(5, loss=2.5),
        task(6),
    ],
    "under_way": [task(7, "running")],
}


def numbers(sweep: dict[str, Any], *which: str) -> list[int]:
    return [int(found[0], 16) for found in select(SweepResults(Path(), sweep), which)]


def test_the_best_are_those_that_are_done_and_have_the_metric() -> None:
    assert numbers(SWEEP, "best:2") == [2, 5]
    assert numbers(SWEEP, "best:99") == [2, 5, 1]
    assert numbers({**SWEEP, "goal": "maximize"}, "best:1") == [1]


def test_choices_add_up() -> None:
    assert numbers(SWEEP, "failed") == [3]
    assert numbers(SWEEP, "7", "best:1", "2", "6aaa", "failed") == [7, 2, 6, 3]


def test_each_invalid_choice_has_its_line() -> None:
    with pytest.raises(UsageError) as caught:
        numbers(
            {**SWEEP, "tasks": [*SWEEP["tasks"], {**task(9), "task": "2ab" + "0" * 13}]},
            *("2a", "worst:3", "best:0", "8", "2a"),
        )
    assert str(caught.value).splitlines() == [
        "'2a': the ids of 2 tasks begin like this; see results.csv",
        "'worst:3': is no choice of tasks; write best:N, failed, a number from 1, or the beginning of an id",
        "'best:0': is no choice of tasks; write best:N, failed, a number from 1, or the beginning of an id",
        "'8': no such task has begun; see results.csv",
        "'2a': the ids of 2 tasks begin like this; see results.csv",
    ]
    with pytest.raises(UsageError, match=r"best:N: project\.yml names no metric to rank by"):
        numbers({**SWEEP, "metric": None}, "best:1")


def test_the_command_reads_what_get_results_has_brought(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["select", "--results", str(tmp_path), "best:1"]) == 2
    assert "has neither sweep.json, as results have, nor a project.yml" in capsys.readouterr().err
    (tmp_path / "sweep.json").write_text(json.dumps(SWEEP))
    assert main(["select", "--results", str(tmp_path), "best:1"]) == 0
    assert capsys.readouterr().out == f"2{'a' * 15}\n"
