"""Hydra: sweeps as text, the places that they stand in, and what has no counterpart."""

from pathlib import Path

import pytest
from imported import lines, notes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,2,3", "[1, 2, 3]"),
        ("'[64,32],[128]'", '["[64,32]", "[128]"]'),
        ("choice(-5, 0, 5)", "[-5, 0, 5]"),
        ("choice('a b', c, true)", '["a b", c, true]'),
        ("range(-5.5, 5.5, step=0.5)", "{range: [-5.5, 5.5, 0.5]}"),
        ("range(3)", "{range: [0, 3, 1]}"),
        ("range(start=1, stop=3)", "{range: [1, 3, 1]}"),
        ("interval(0, 1)", "{min: 0, max: 1, distribution: uniform}"),
        ("tag(log, interval(1e-5, 1))", "{min: 1e-05, max: 1, distribution: log_uniform_values}"),
        ("int(interval(1, 5))", "{min: 1, max: 5, distribution: int_uniform}"),
        ("shuffle(1, 2)", "[1, 2]"),
        ("sort(3, 1, 2)", "[1, 2, 3]"),
        ("relu", "relu"),
        ("null,1", '["null", 1]'),
        ("null", '"null"'),
        ("{type: categorical, choices: [null, 1]}", '["null", 1]'),
        ("{type: categorical, choices: [-5, 0]}", "[-5, 0]"),
        ("{type: float, low: -5.5, high: 5.5, step: 0.5}", "{range: [-5.5, 6.0, 0.5]}"),
        ("{type: int, low: 1, high: 5, step: 2}", "{range: [1, 7, 2]}"),
        ("{type: int, low: 1, high: 5}", "{min: 1, max: 5, distribution: int_uniform}"),
        (
            "{type: float, low: 1, high: 5, step: 0.5, log: true}",  # its sweeper ignores the step, too
            "{min: 1, max: 5, distribution: log_uniform_values}",
        ),
    ],
)
def test_sweeps(tmp_path: Path, text: str, expected: str) -> None:
    assert lines(tmp_path, f"hydra:\n  sweeper:\n    params:\n      x: {text}\n") == [f"x: {expected}"]


@pytest.mark.parametrize(
    "text",
    [
        "hydra.sweeper.params.x: 1,2",
        "hydra.sweeper: {params: {x: '1,2'}}",
        "hydra: {sweeper.params.x: '1,2'}",
        "hydra: {sweeper: {search_space: {x: {type: categorical, choices: [1, 2]}}}}",
        "hydra: {overrides: {task: ['x=1,2']}}",
        "['x=1,2']",
        "x: 1,2",
    ],
)
def test_places(tmp_path: Path, text: str) -> None:
    assert lines(tmp_path, text) == ["x: [1, 2]"]


def test_notes(tmp_path: Path) -> None:
    text = "- +x=1,2\n- y=interval(0,1)\n"
    assert lines(tmp_path, text) == ["x: [1, 2]", "y: {min: 0, max: 1, distribution: uniform}"]
    assert [note.partition(":")[0] for note in notes(tmp_path, text)] == [
        "Hydra takes name=value", "Hydra adds +x", "in project.yml",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- x=glob(*)", "1:3: x: glob(*) has no counterpart"),
        ("- x=1,1", "1:3: x: 1 is in the list twice"),
        ("- ~x=1", "1:3: ~x: '~x' cannot be an option"),
        ("- db@a=b,c", "1:3: db@a: 'db@a' cannot be an option"),
        ("- x=range(a)", "1:3: x: this has to be a number"),
        ("- x=range(start=1)", "1:3: x: range takes start, stop and step"),
        ("- x=tag(log, int(interval(1, 5)))", "1:3: x: tag(log, int(interval(1, 5))) has no counterpart"),
        (
            "hydra: {sweeper: {params: {x: {type: float, low: 0, high: 1, step: 0.3}}}}",
            "1:68: x: the steps",
        ),
        (
            "hydra: {sweeper: {params: {x: {type: int, low: 1, high: 9, log: true}}}}",
            "1:31: x: whole",
        ),
    ],
)
def test_no_counterpart(tmp_path: Path, text: str, problem: str) -> None:
    (found,) = lines(tmp_path, text)
    assert found.startswith(problem)
