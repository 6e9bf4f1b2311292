"""framework.results(): a data frame with the types of sweep.json, which says what is missing in it."""

from __future__ import annotations

import importlib.abc
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from export_bench import STARTED, write_results

import framework
from framework.errors import UsageError
from framework.export.data_frame import frame_of
from framework.export.sweep_results import SweepResults


def test_types_are_right_and_the_best_is_first(results: SweepResults) -> None:
    frame = framework.results(str(results.directory))
    assert list(frame.columns) == [
        "accuracy", "C", "depth", "kernel", "flag", "a@b", "loss", "note",
        "state", "attempts", "host", "started", "seconds", "exit_code", "code", "reason", "task",
    ]  # fmt: skip
    assert list(frame.index) == [1, 2, 3, 4, 5, 6]
    assert frame.index.name == "number"
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == {
        "accuracy": "float64", "C": "float64", "depth": "Int64", "kernel": "object", "flag": "bool",
        "a@b": "float64", "loss": "float64", "note": "object", "state": "object", "attempts": "int64",
        "host": "object", "started": "datetime64[ns, UTC]", "seconds": "float64", "exit_code": "int64",
        "code": "object", "reason": "object", "task": "object",
    }  # fmt: skip
    first = frame.loc[1]
    assert (first.accuracy, first.depth, first.kernel, first.flag) == (0.9, 3, "rbf", True)
    assert first.started == pd.Timestamp(STARTED, unit="s", tz="UTC")
    assert frame.loc[3, "kernel"] == [1, "a"], "a list stays one"
    assert frame.loc[5, "depth"] is pd.NA, "null"
    assert frame.accuracy.isna().tolist() == [False, False, False, False, True, True]
    assert frame.state.value_counts()["done"] == 4


def test_a_notebook_and_a_terminal_show_what_has_to_be_said_first(tmp_path: Path) -> None:
    frame = framework.results(write_results(tmp_path / "<b>").directory)
    assert repr(frame).splitlines()[: len(frame.notes)] == frame.notes
    sweep = {**SweepResults.read(tmp_path / "<b>").sweep, "project": "<b>"}
    page = frame_of(SweepResults(tmp_path, sweep))._repr_html_()
    assert page is not None
    assert page.startswith("<p>&lt;b&gt;: 6 of 16 combinations have ended (4 done")
    assert "<table" in page
    made = frame[frame.C == 0.1]
    assert type(made) is pd.DataFrame
    assert "combinations have ended" not in repr(made)


def a_frame(tasks: list[dict[str, object]], parameters: list[str], metrics: list[str]) -> pd.DataFrame:
    fixed = {
        "state": "done", "attempts": 1, "host": "a", "started": None, "seconds": None, "exit_code": None,
        "code": "c", "reason": "", "task": "t",
    }  # fmt: skip
    sweep = {
        "version": 1, "project": "p", "metric": None, "goal": "maximize", "written": 0, "combinations": 9,
        "parameters": parameters, "metrics": metrics, "warning": "", "under_way": [],
        "tasks": [
            {**fixed, "task": f"{number}", "number": number + 1, "metrics": {}, "parameters": {}, **task}
            for number, task in enumerate(tasks)
        ],
    }  # fmt: skip
    return frame_of(SweepResults(Path(), sweep))


def test_null_and_a_metaparameter_that_is_not_there_are_not_mixed_up_among_texts() -> None:
    frame = a_frame([{"parameters": {"x": None}}, {"parameters": {"x": "a"}}, {}], ["x"], [])
    assert frame.x.tolist()[:2] == [None, "a"]
    assert frame.x.iloc[2] is pd.NA
    assert frame.started.isna().all()
    assert str(frame.exit_code.dtype) == "object"


def test_integers_of_any_size_stay_exact() -> None:
    frame = a_frame([{"parameters": {"x": 2**63, "y": 2**62 + 1}}], ["x", "y"], [])
    assert (frame.x.iloc[0], frame.y.iloc[0], str(frame.y.dtype)) == (2**63, 2**62 + 1, "int64")


def test_metrics_of_all_tasks_that_are_whole_stay_so_and_names_are_those_of_the_table() -> None:
    tasks: list[dict[str, object]] = [
        {"metrics": {"n": 3, "state": "inf"}},
        {"metrics": {"n": 4, "state": 1}},
    ]
    frame = a_frame(tasks, [], ["n", "state"])
    assert (str(frame.n.dtype), frame["metric.state"].tolist()) == ("int64", [float("inf"), 1.0])
    mixed = a_frame([{"metrics": {"n": 3}}, {"metrics": {"n": "three"}}, {}], [], ["n"])
    assert mixed.n.tolist() == [3, "three", pd.NA]


def test_nothing_has_ended(tmp_path: Path) -> None:
    frame = a_frame([], ["x"], [])
    assert (len(frame), "0 of 9 combinations" in repr(frame)) == (0, True)


class Missing(importlib.abc.MetaPathFinder):
    """Finds no package of a name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def find_spec(self, fullname: str, *_: object) -> None:
        if fullname.partition(".")[0] == self._name:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def test_without_pandas_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "meta_path", [Missing("pandas"), *sys.meta_path])
    for name in [name for name in sys.modules if name.startswith(("pandas", "framework.export.data_frame"))]:
        monkeypatch.delitem(sys.modules, name)
    said = r"framework.results\(\): packages are missing \(pandas\); .*'\.\[pandas\]'"
    with pytest.raises(UsageError, match=said):
        framework.results(tmp_path)


def test_a_program_that_reports_imports_nothing_of_it() -> None:
    program = "import sys; from framework import report; print([n for n in sys.modules if 'export' in n])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
