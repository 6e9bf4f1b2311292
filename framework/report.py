"""Metrics of a Python program: `from framework import report`."""

import operator
from typing import SupportsFloat, SupportsIndex

from framework.messages.metrics import is_plain, metric_problem


def report(**metrics: str | SupportsFloat | SupportsIndex) -> None:
    """Print metrics as one line that the framework reads at once, as in `report(accuracy=0.9, epoch=3)`.

    Values are numbers (also numpy's, and tensors with one element; true is 1) or text without spaces, commas
    and '='. Raises ValueError for a name or text that cannot be reported, TypeError for any other value.
    """
    if not metrics:
        raise ValueError("report() needs a metric, as in report(accuracy=0.9)")
    print("report: " + ", ".join(_pair(name, value) for name, value in metrics.items()), flush=True)


def _pair(name: str, value: str | SupportsFloat | SupportsIndex) -> str:
    text = value if isinstance(value, str) else _number(value)
    problem = metric_problem(name, text)
    if problem:
        raise ValueError(problem)
    if not is_plain(text):
        raise ValueError(f"metric {name}: {text!r} has spaces, commas or '=' in it, or is empty")
    return f"{name}={text}"


def _number(value: SupportsFloat | SupportsIndex) -> str:
    try:
        return repr(operator.index(value))  # type: ignore[arg-type]  # floats have no index: see below
    except TypeError:
        return repr(float(value))
