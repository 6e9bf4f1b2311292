"""NNI: each type, nested choices, rows, and what has no counterpart."""

from pathlib import Path

import pytest
from imported import lines, notes


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        ('"choice", "_value": [1, "a", true]', "[1, a, true]"),
        ('"choice", "_value": ["no way", "null"]', '["no way", "null"]'),
        ('"randint", "_value": [2, 9]', "{range: [2, 9, 1]}"),
        ('"randint", "_value": [9]', "{range: [0, 9, 1]}"),
        ('"uniform", "_value": [0, 1]', "{min: 0, max: 1, distribution: uniform}"),
        ('"loguniform", "_value": [1e-4, 1]', "{min: 0.0001, max: 1, distribution: log_uniform_values}"),
        ('"quniform", "_value": [0.5, 2, 0.5]', "{min: 0.5, max: 2, q: 0.5, distribution: q_uniform}"),
        (
            '"qloguniform", "_value": [1, 8, 1]',
            "{min: 1, max: 8, q: 1.0, distribution: q_log_uniform_values}",
        ),
        ('"normal", "_value": [1, 2]', "{mu: 1, sigma: 2, distribution: normal}"),
        ('"lognormal", "_value": [1, 2]', "{mu: 1, sigma: 2, distribution: log_normal}"),
        ('"qnormal", "_value": [1, 2, 0.5]', "{mu: 1, sigma: 2, q: 0.5, distribution: q_normal}"),
        ('"qlognormal", "_value": [1, 2, 2]', "{mu: 1, sigma: 2, q: 2.0, distribution: q_log_normal}"),
    ],
)
def test_types(tmp_path: Path, described: str, expected: str) -> None:
    assert lines(tmp_path, f'{{"x": {{"_type": {described}}}}}') == [f"x: {expected}"]


def test_nested_choices(tmp_path: Path) -> None:
    text = (
        '{"layer": {"_type": "choice", "_value": [{"_name": "none"}, {"_name": "conv", "size": 3, '
        '"act": {"_type": "choice", "_value": [{"_name": "leaky", "slope": {"_type": "uniform", '
        '"_value": [0, 1]}}, {"_name": "relu"}]}}]}}'
    )
    assert lines(tmp_path, text) == [
        "layer: [none, conv]",
        "layer.size: {value: 3, when: {layer: conv}}",
        "layer.act: {values: [leaky, relu], when: {layer: conv}}",
        "layer.act.slope: {min: 0, max: 1, distribution: uniform, when: {layer: conv, layer.act: leaky}}",
    ]


def test_rows_of_the_batch_tuner(tmp_path: Path) -> None:
    text = '{"rows": {"_type": "choice", "_value": [{"a": 1, "b": "x"}, {"a": 1, "b": "y"}]}}'
    assert lines(tmp_path, text) == ["a: [1, 1]", "b: [x, y]", "zip: [[a, b]]"]


def test_notes(tmp_path: Path) -> None:
    (note,) = notes(tmp_path, "x: {_type: choice, _value: [1]}")
    assert "method: random" in note


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "x: {_type: quniform, _value: [0, 1, 0.3]}",
            "1:30: x: 0 and 1 are no multiples of 0.3",
        ),
        ("x: {_type: choice, _value: [1, 2, 1]}", "1:35: x: 1 is in the list twice"),
        ("x: {_type: choice, _value: 3}", "1:28: x: not a list of values"),
        ("x: {_type: choice}", "1:4: x: _type without _value"),
        (
            "x: {_type: choice, _value: [{a: 1}, {b: 1}]}",
            "1:37: x: each item has to have the names a, in",
        ),
        ("x: {_type: choice, _value: [{_name: a}, {_name: a}]}", "1:41: x: each item needs a _name"),
        ("-x: {_type: choice, _value: [1]}", "1:5: -x: '-x' cannot be an option"),
    ],
)
def test_no_counterpart(tmp_path: Path, text: str, problem: str) -> None:
    (found,) = lines(tmp_path, text)
    assert found.startswith(problem)
