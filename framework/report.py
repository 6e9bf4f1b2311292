"""Metrics of a Python program: `from framework import report`."""

import operator
from typing import SupportsFloat, SupportsIndex

from framework.messages.metrics import is_plain, metric_problem


def report(**metrics: str | SupportsFloat | SupportsIndex) -> None:
    """Prints the metrics as one line that the framework reads at once: `report(accuracy=0.9, epoch=3)`.

    Values are numbers (numpy's and tensors of one too; true is 1) or text without spaces, commas and '='.
    Raises ValueError for a name or text that cannot be reported, TypeError for neither number nor text.
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
        return repr(operator.index(value))  # type: ignore[arg-type]  # floats have no index: the next line is theirs
    except TypeError:
        return repr(float(value))
