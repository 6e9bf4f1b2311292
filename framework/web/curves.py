"""Learning curves: the values of the metric that tasks have printed, one after the other."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from framework.files import read_regular
from framework.messages.metric_lines import parse_metrics
from framework.messages.metrics import as_number

MOST_CURVES = 100
_MOST_POINTS = 300  # of one curve: of more, every second, third, … is left out
_LARGEST_OUTPUT = 4 * 2**20  # bytes


def learning_curves(tasks: Iterable[str], directory: Path, metric: str) -> dict[str, list[float]]:
    """The values of `metric` of each of these tasks that has printed several, the first ones of them.

    `directory` holds TASK/ATTEMPT/stdout; that of the last attempt counts. An output that cannot be read, or
    is longer than 4 MiB, has no curve.
    """
    curves: dict[str, list[float]] = {}
    for task in tasks:
        if len(curves) == MOST_CURVES:
            break
        values = _values(directory / task, metric)
        if len(values) > 1:
            step = -(-len(values) // _MOST_POINTS)
            curves[task] = values[::step]
    return curves


def _values(task: Path, metric: str) -> list[float]:
    numbers = [int(path.name) for path in task.glob("[0-9]*") if path.name.isdecimal()]
    if not numbers:
        return []
    try:
        output = read_regular(task / str(max(numbers)) / "stdout", _LARGEST_OUTPUT)
    except (OSError, ValueError):
        return []
    lines = output.decode("utf-8", errors="replace").splitlines()
    found = (as_number(parse_metrics(line, metric).get(metric)) for line in lines)
    return [value for value in found if value is not None]
