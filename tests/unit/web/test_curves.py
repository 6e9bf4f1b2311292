"""Learning curves, from what tasks have printed."""

from __future__ import annotations

from pathlib import Path

from framework.web import curves
from framework.web.curves import MOST_CURVES, learning_curves


def printed(directory: Path, task: str, attempt: int, text: str) -> None:
    path = directory / task / str(attempt)
    path.mkdir(parents=True)
    (path / "stdout").write_text(text)


def test_the_last_attempt_counts_and_one_value_is_no_curve(tmp_path: Path) -> None:
    printed(tmp_path, "a", 1, "Epoch 1: loss=9, other=1\n")
    printed(tmp_path, "a", 10, "Epoch 1: loss=3\nhello\nEpoch 2: loss=nan\nloss: 2\n")
    printed(tmp_path, "b", 1, "Epoch 1: loss=3\n")
    found = learning_curves(["b", "a", "gone"], tmp_path, "loss")
    assert list(found) == ["a"]
    assert (found["a"][0], found["a"][2]) == (3, 2)
    assert found["a"][1] != found["a"][1], "not a number"


def test_long_curves_are_thinned_and_there_are_not_too_many(tmp_path: Path) -> None:
    printed(tmp_path, "long", 1, "".join(f"Step {n}: loss={n}\n" for n in range(1000)))
    tasks = [f"t{n}" for n in range(MOST_CURVES + 5)]
    for task in tasks:
        printed(tmp_path, task, 1, "Epoch 1: loss=1\nEpoch 2: loss=2\n")
    found = learning_curves(["long", *tasks], tmp_path, "loss")
    assert found["long"] == [float(n) for n in range(0, 1000, 4)]
    assert list(found) == ["long", *tasks[: MOST_CURVES - 1]]


def test_an_output_that_is_none_or_too_long_has_no_curve(tmp_path: Path) -> None:
    (tmp_path / "a" / "1" / "stdout").mkdir(parents=True)
    printed(tmp_path, "b", 1, "x" * curves._LARGEST_OUTPUT + "\nEpoch 1: loss=1\nEpoch 2: loss=2\n")
    (tmp_path / "c" / "notes").mkdir(parents=True)
    assert learning_curves(["a", "b", "c"], tmp_path, "loss") == {}
