"""Value that a function returned: the metrics in it, and remarks on the rest."""

from __future__ import annotations

import inspect
import math
import operator
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from framework.messages.metrics import Metric, metric_problem


def metrics_in(returned: object, name: str) -> tuple[dict[str, Metric], list[str]]:
    """Return the metrics that the function `name` returned, and at most one remark on what is left out.

    Numbers may be numpy's, or tensors with one element. The names in a nested mapping are joined by dots.
    Raises TypeError if the function has not run, because it is a generator function or a coroutine function.
    """
    if inspect.isgenerator(returned) or inspect.isasyncgen(returned):
        raise TypeError(f"{name} has not run: it contains yield; let it return a mapping of its metrics")
    if inspect.iscoroutine(returned):
        returned.close()
        raise TypeError(f"{name} has not run: it is an async function; call asyncio.run() in a plain one")
    if returned is None:
        return {}, []
    if not isinstance(returned, Mapping):
        kind = type(returned).__name__
        return {}, [f'{name} returned {kind}, which is no metric; return a mapping, as in {{"loss": 0.1}}']
    metrics, problems = {}, []
    for metric, value in _flat(returned):
        problem = metric_problem(metric, value)
        if problem:
            problems.append(problem)
        else:
            metrics[metric] = value
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return metrics, [f"{name} returned what is no metric: {problem}{more}" for problem in problems[:1]]


def _flat(mapping: Mapping[Any, object], prefix: str = "", depth: int = 0) -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for key, value in mapping.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and depth < 100:  # it may hold itself
            pairs += _flat(value, f"{name}.", depth + 1)
        else:
            pairs.append((name, _plain_value(value)))
    return pairs


def _plain_value(value: Any) -> Any:
    """Return a number as Python's int or float, or as text where no float holds it; others as they are."""
    if isinstance(value, (str, bytes, bytearray)):
        return str(value) if isinstance(value, str) else value
    with suppress(Exception):
        value = value.item()  # an array or a tensor with one element
    with suppress(Exception):
        number = int(operator.index(value))  # int(): before Python 3.10, the index of true is true
        if abs(number) <= sys.float_info.max:
            return number
        return "inf" if number > 0 else "-inf"
    with suppress(Exception):
        real = float(value)
        return real if math.isfinite(real) else str(real)
    return value  # metric_problem describes what is wrong with it
