"""Guild: flags with one value, several values, functions and limits, and what has no counterpart."""

from pathlib import Path

import pytest
from imported import lines, notes


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        ("0.1", "0.1"),
        ("yes", "true"),
        ("[1, 2]", "[1, 2]"),
        ("{default: 3, description: depth}", "3"),
        ("{choices: [a, {value: b, description: it}], default: a}", "[a, b]"),
        ("{min: 1, max: 9, default: 3, type: int}", "{min: 1, max: 9, distribution: int_uniform}"),
        ("{min: 0.1, max: 1, distribution: log-uniform}",
         "{min: 0.1, max: 1, distribution: log_uniform_values}"),
        ("logspace[-5:-1:5]", "{logspace: [1e-05, 0.1, 5]}"),
        ("linspace[0:1:3]", "[0.0, 0.5, 1.0]"),
        ("range[1:4]", "{range: [1, 5, 1]}"),
        ("range[0.1:0.4:0.1]", "{range: [0.1, 0.5, 0.1]}"),
        ("uniform[0.1:0.9]", "{min: 0.1, max: 0.9, distribution: uniform}"),
        ("loguniform[0.1:0.9]", "{min: 0.1, max: 0.9, distribution: log_uniform_values}"),
        ("[1:5]", "{min: 1, max: 5, distribution: int_uniform}"),
    ],
)  # fmt: skip
def test_flags(tmp_path: Path, described: str, expected: str) -> None:
    assert lines(tmp_path, f"train:\n  flags:\n    x: {described}\n") == [f"x: {expected}"]


def test_flags_without_a_value_and_names_of_options(tmp_path: Path) -> None:
    text = "- operations:\n    train:\n      flags:\n        x: null\n        y: {default: 3, arg-name: z}\n"
    assert lines(tmp_path, text) == ["z: 3"]
    assert notes(tmp_path, text) == ["x has no value: Guild leaves the option out"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: {flags: {x: 1}}\nb: {flags: {x: 1}}", "2:5: flags of a second operation"),
        ("a: {flags: {$include: base}}", "1:23: $include: flags of another place"),
        ("a: {flags: {x: 'uniform[1]'}}", "1:16: x: uniform needs two numbers"),
        ("a: {flags: {x: 'linspace[0:1:1]'}}", "1:16: x: linspace needs a whole number"),
        ("a: {flags: {x: {min: 1, max: 2, distribution: normal}}}", "1:16: x: distribution normal has no"),
        ("a: {flags: {x: {maximum: 1}}}", "1:26: x: maximum has no counterpart"),
    ],
)
def test_no_counterpart(tmp_path: Path, text: str, problem: str) -> None:
    (found,) = lines(tmp_path, text)
    assert found.startswith(problem)
