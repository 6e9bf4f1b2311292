"""Check of sweep.json: whatever a host has sent in its place is refused, and said."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from export_bench import write_results

from framework.errors import UsageError
from framework.export.sweep_checks import sweep_problem
from framework.export.sweep_results import SweepResults
from framework.files import SWEEP_FILE


@pytest.mark.parametrize(
    ("field", "value"),
    [("project", 5), ("metric", []), ("goal", "most"), ("written", 10**20), ("written", math.nan),
     ("combinations", -1), ("combinations", None), ("parameters", [5]), ("metrics", "loss"), ("warning", 5),
     ("outdated", "3"), ("complete", 1), ("tasks", {}), ("tasks", [[]]), ("under_way", None)],
)  # fmt: skip
def test_a_file_with_an_impossible_field_is_an_error(tmp_path: Path, field: str, value: object) -> None:
    sweep = {**write_results(tmp_path).sweep, field: value}
    (tmp_path / SWEEP_FILE).write_text(json.dumps(sweep))
    with pytest.raises(UsageError, match=f"it has a wrong {field}: "):
        SweepResults.read(tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [("task", "../x"), ("number", "*"), ("number", True), ("state", None), ("host", "\ud800"),
     ("started", "now"), ("seconds", -1), ("exit_code", "0"), ("code", 5), ("reason", None),
     ("program", ["a"]), ("parameters", []), ("parameters", {"x": math.inf}), ("metrics", {"loss": None})],
)  # fmt: skip
@pytest.mark.parametrize("where", ["tasks", "under_way"])
def test_a_task_with_an_impossible_field_is_an_error(
    tmp_path: Path, where: str, field: str, value: object
) -> None:
    sweep = write_results(tmp_path).sweep
    (tmp_path / SWEEP_FILE).write_text(json.dumps({**sweep, where: [{**sweep["tasks"][0], field: value}]}))
    with pytest.raises(UsageError, match=f"number 1 of its {where} has a wrong {field}: "):
        SweepResults.read(tmp_path)


@pytest.mark.parametrize("field", ["project", "metric", "warning", "under_way"])
def test_a_field_that_is_missing_is_named(tmp_path: Path, field: str) -> None:
    sweep = dict(write_results(tmp_path).sweep)
    del sweep[field]
    assert sweep_problem(sweep) == f"it has no {field}"


def test_what_older_versions_have_not_written_is_not_missed(tmp_path: Path) -> None:
    sweep = dict(write_results(tmp_path, outdated=3).sweep)
    assert sweep_problem(sweep) is None
    del sweep["outdated"]
    assert sweep_problem({**sweep, "complete": False}) is None
    assert sweep_problem([]) == "it is no object"
