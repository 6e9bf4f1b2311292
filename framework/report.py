"""Metrics of a Python program: `from framework import report`."""

from __future__ import annotations

import json
import operator
from typing import SupportsFloat, SupportsIndex

from framework.messages.metric_lines import is_plain, is_plain_name
from framework.messages.metrics import Metric, as_metric, metric_problem


def report(**metrics: str | SupportsFloat | SupportsIndex) -> None:
    """Print metrics as lines that the framework reads at once, as in `report(accuracy=0.9, epoch=3)`.

    Values are numbers (also numpy's, and tensors with one element; true is 1) or text without spaces, commas
    and '='. Raises ValueError for a name or text that cannot be reported, TypeError for any other value.
    """
    if not metrics:
        raise ValueError("report() needs a metric, as in report(accuracy=0.9)")
    values = {name: _checked(name, value) for name, value in metrics.items()}
    plain = [f"{name}={value}" for name, value in values.items() if is_plain_name(name)]
    if plain:
        print("report: " + ", ".join(plain), flush=True)
    others = {name: value for name, value in values.items() if not is_plain_name(name)}
    if others:
        print(json.dumps(others), flush=True)


def _checked(name: str, value: str | SupportsFloat | SupportsIndex) -> Metric:
    metric = value if isinstance(value, str) else _number(value)
    problem = metric_problem(name, metric)
    if problem:
        raise ValueError(problem)
    if isinstance(value, str) and not is_plain(value):
        raise ValueError(f"metric {name}: {value!r} has spaces, commas or '=' in it, or is empty")
    if isinstance(value, str) and not is_plain_name(name):
        raise ValueError(f"metric {name}: text needs a name of letters, digits and _./@%+-")
    return metric


def _number(value: SupportsFloat | SupportsIndex) -> Metric:
    try:
        # int(): before Python 3.10, the index of true is true.
        number: int | float = int(operator.index(value))  # type: ignore[arg-type]  # floats have none: see below
    except TypeError:
        number = float(value)
    metric = as_metric(number)
    return metric if isinstance(metric, str) else number
