"""Learning curves: the values of the metric that tasks have printed, one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from framework.files import read_regular
from framework.messages.metric_lines import parse_metrics
from framework.messages.metrics import Metric, as_number

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


def printed_metrics(task: Path, ranked: str | None, most: int) -> Iterator[dict[str, Metric]]:
    """The metrics of each line that the last attempt of a task has printed to stdout.

    `task`: the directory that holds ATTEMPT/stdout. `ranked`: the project's metric. Raises OSError if there
    is no output; ValueError if it is no regular file of at most `most` bytes.
    """
    numbers = [int(path.name) for path in task.glob("[0-9]*") if path.name.isdecimal()]
    output = read_regular(task / str(max(numbers, default=0)) / "stdout", most)
    lines = output.decode("utf-8", errors="replace").splitlines()
    return (parse_metrics(line, ranked) for line in lines)


def _values(task: Path, metric: str) -> list[float]:
    try:
        printed = printed_metrics(task, metric, _LARGEST_OUTPUT)
    except (OSError, ValueError):
        return []
    found = (as_number(metrics.get(metric)) for metrics in printed)
    return [value for value in found if value is not None]
