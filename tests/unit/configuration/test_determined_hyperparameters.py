"""Determined: each type, drawn and in a grid, and what has no counterpart."""

from pathlib import Path

import pytest
from imported import lines, notes


@pytest.mark.parametrize(
    ("described", "drawn", "grid"),
    [
        ("type: const, val: 3", "3", "3"),
        ("type: categorical, vals: [sgd, adam]", "[sgd, adam]", "[sgd, adam]"),
        ("type: int, minval: 1, maxval: 8, count: 3", "{range: [1, 8, 1]}", "[1, 5, 8]"),
        ("type: int, minval: 1, maxval: 3, count: 9", "{range: [1, 3, 1]}", "[1, 2, 3]"),
        ("type: double, minval: 0.2, maxval: 0.5, count: 4", "{min: 0.2, max: 0.5, distribution: uniform}",
         "[0.2, 0.3, 0.4, 0.5]"),
        ("type: log, base: 10.0, minval: -4, maxval: -1, count: 4",
         "{min: 0.0001, max: 0.1, distribution: log_uniform_values}", "{logspace: [0.0001, 0.1, 4]}"),
        ("type: log, minval: -4, maxval: -2, count: 1",
         "{min: 0.0001, max: 0.01, distribution: log_uniform_values}", "[0.001]"),
    ],
)  # fmt: skip
def test_types(tmp_path: Path, described: str, drawn: str, grid: str) -> None:
    text = f"hyperparameters:\n  x: {{{described}}}\n  net: {{y: 2}}\nsearcher: {{name: "
    assert lines(tmp_path, text + "random, max_trials: 9}") == [f"x: {drawn}", "net.y: 2"]
    assert lines(tmp_path, text + "grid}") == [f"x: {grid}", "net.y: 2"]


def test_notes(tmp_path: Path) -> None:
    text = "hyperparameters: {x: 1}\nsearcher: {name: random, max_trials: 9, metric: loss}"
    assert notes(tmp_path, text) == [
        "in project.yml: method: random, run_cap: 9 (searcher random)",
        "in project.yml: metric: loss, goal: minimize",
    ]


@pytest.mark.parametrize(
    ("described", "problem"),
    [
        ("{type: int, minval: 1}", "1:4: x: no maxval"),
        ("{type: categorical, val: 1}", "1:4: x: no vals"),
        ("{type: int, minval: 1, maxval: 9, count: 0}", "1:45: x: count has to be a whole number"),
        ("{type: double, minval: a, maxval: 9}", "1:27: x: this has to be a number"),
    ],
)
def test_no_counterpart(tmp_path: Path, described: str, problem: str) -> None:
    (found,) = lines(tmp_path, f"x: {described}")
    assert found.startswith(problem)
