"""Ray Tune: each kind, as a mapping and as text, and what has no counterpart."""

from pathlib import Path

import pytest
from imported import lines, notes


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        ("{grid_search: [1, 4]}", "[1, 4]"),
        ("{choice: {categories: [a, yes]}}", "[a, true]"),
        ("{uniform: [0, 1]}", "{min: 0, max: 1, distribution: uniform}"),
        ("{tune.uniform: {upper: 1, lower: 0.5}}", "{min: 0.5, max: 1, distribution: uniform}"),
        ("{loguniform: ['1e-4', 0.1]}", "{min: 0.0001, max: 0.1, distribution: log_uniform_values}"),
        ("{quniform: [0, 1, 0.25]}", "{min: 0, max: 1, q: 0.25, distribution: q_uniform}"),
        ("{randint: [1, 9]}", "{range: [1, 9, 1]}"),
        ("{qrandint: [2, 8, 2]}", "{min: 2, max: 8, q: 2, distribution: q_uniform}"),
        ("{randn: [0, 1]}", "{mu: 0, sigma: 1, distribution: normal}"),
        ("{qrandn: [0, 1, 0.2]}", "{mu: 0, sigma: 1, q: 0.2, distribution: q_normal}"),
        ("tune.uniform(0, upper=0.5)", "{min: 0, max: 0.5, distribution: uniform}"),
        ("tune.choice(['a', 'b', 3])", "[a, b, 3]"),
    ],
)
def test_kinds(tmp_path: Path, described: str, expected: str) -> None:
    assert lines(tmp_path, f"x: {described}\ny: {{z: 3}}") == [f"x: {expected}", "y.z: 3"]


def test_an_experiment(tmp_path: Path) -> None:
    text = "mine:\n  run: PPO\n  num_samples: 4\n  config:\n    lr: {grid_search: [0.1, 1]}\n    n: 2\n"
    assert lines(tmp_path, text) == ["lr: [0.1, 1]", "n: 2"]
    assert notes(tmp_path, text)[0] == "in project.yml: run_cap: 4 (num_samples)"


@pytest.mark.parametrize(
    ("described", "problem"),
    [
        ("{sample_from: 'lambda spec: 3'}", "1:18: x: sample_from has no counterpart"),
        (
            "'tune.sample_from(lambda spec: 3)'",
            "1:4: x: tune.sample_from(lambda spec: 3) is computed",
        ),
        ("{lograndint: [1, 9]}", "1:17: x: lograndint has no counterpart"),
        ("{uniform: [0]}", "1:14: x: 2 numbers are needed"),
        ("{uniform: [a, b]}", "1:15: x: this has to be a number"),
        ("{uniform: {low: 0, upper: 1}}", "1:14: x: uniform has no low"),
        ("{quniform: [0, 1, 0.3]}", "1:15: x: 0 and 1 are no multiples of 0.3, and each tool"),
    ],
)
def test_no_counterpart(tmp_path: Path, described: str, problem: str) -> None:
    (found,) = lines(tmp_path, f"x: {described}")
    assert found.startswith(problem)
