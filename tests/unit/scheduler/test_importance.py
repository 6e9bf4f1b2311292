"""Importance of metaparameters: the one that decides comes first, and why there is none."""

from __future__ import annotations

import random
import sys

import pytest

from framework.scheduler.importance import LEAST_TASKS, importance_of


def combinations(number: int) -> list[tuple[dict[str, object], float]]:
    """The metric is the distance of log10(rate) from -2; nothing else matters."""
    draw = random.Random(1)
    found = []
    for _ in range(number):
        exponent = draw.uniform(-5, 0)
        parameters: dict[str, object] = {
            "rate": 10**exponent,
            "kind": draw.choice(["a", None, [1]]),
            "size": draw.randint(1, 9),
            "fixed": 1,
        }
        found.append((parameters, abs(exponent + 2)))
    return found


def test_what_decides_comes_first() -> None:
    shares, reason = importance_of(combinations(300), minimize=True)
    assert reason == ""
    assert shares.keys() == {"rate", "kind", "size"}
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["rate"] > 0.8


def test_the_goal_counts() -> None:
    tasks: list[tuple[dict[str, object], float]] = [
        ({"x": x, "y": y}, 100.0 if x == 1 else float(y)) for x in range(10) for y in range(20)
    ]
    best_is_high, _ = importance_of(tasks, minimize=False)
    best_is_low, _ = importance_of(tasks, minimize=True)
    assert best_is_high["x"] > best_is_high["y"]
    assert best_is_low["y"] > best_is_low["x"]


def test_why_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert importance_of(combinations(LEAST_TASKS - 1), True) == (
        {},
        "needs at least 10 tasks that are done and have reported the metric",
    )
    fixed: list[tuple[dict[str, object], float]] = [({"x": 1, "y": "a"}, float(n)) for n in range(20)]
    assert importance_of(fixed, True) == ({}, "needs a metaparameter with several values")
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert importance_of(combinations(20), True)[1].startswith("needs Optuna")
