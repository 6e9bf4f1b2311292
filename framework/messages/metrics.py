"""Metrics: what their names and values can be, and numbers written as text."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from typing import Union

from framework.text import text_problem

Metric = Union[int, float, str]

LONGEST_TEXT = 200  # characters of a name, or of a value that is text: anything longer is no metric

_INTEGER = re.compile(r"[-+]?[0-9]{1,300}")
_DECIMAL = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)")
_FLOAT = re.compile(rf"{_DECIMAL.pattern}([eE][-+]?[0-9]+)?")
_NOT_FINITE = {
    "nan": "nan",
    "+nan": "nan",
    "-nan": "nan",  # as C and awk print it
    "inf": "inf",
    "+inf": "inf",
    "-inf": "-inf",
    "infinity": "inf",
    "+infinity": "inf",
    "-infinity": "-inf",
}


def metric_problem(name: str, value: object) -> str | None:
    """The reason why `name` and `value` cannot be a metric; None if they can."""
    if not name or not name.isprintable() or name != name.strip() or len(name) > LONGEST_TEXT:
        return f"{name!r:.100} cannot name a metric; write one line of up to {LONGEST_TEXT} characters"
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return f"metric {name}: a value is a number or text, not {type(value).__name__}"
    if isinstance(value, float) and not math.isfinite(value):
        return f"metric {name}: {value} has to be text"
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        return f"metric {name}: a text of {len(value)} characters, more than {LONGEST_TEXT}"
    problem = text_problem(value) if isinstance(value, str) else None
    return f"metric {name}: {problem}" if problem else None


def as_metric(value: object) -> object:
    """The value as metrics hold it; anything that is no number is returned as it is.

    True is 1. What JSON does not have is text, nan, inf or -inf; so are integers larger than all floats.
    """
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        return "inf" if value > 0 else "-inf"
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def as_number(value: object) -> float | None:
    """The number that a metric's value is, not-a-number and infinities included; None for other text."""
    if isinstance(value, bool):
        return None
    value = as_metric(value)
    if isinstance(value, str):
        return float(value) if value in _NOT_FINITE.values() else None
    return float(value) if isinstance(value, (int, float)) else None


def read_number(text: str) -> Metric | None:
    """The metric that a number written as text is; None for other text. 93% is 0.93."""
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        number = float(text)
    elif text.endswith("%") and _DECIMAL.fullmatch(text[:-1]):
        number = float(f"{text[:-1]}e-2")
    else:
        return _NOT_FINITE.get(text.lower())
    return number if math.isfinite(number) else str(number)


def flat_metrics(content: Mapping[str, object]) -> tuple[dict[str, Metric], list[str]]:
    """The metrics of a JSON object, nested names joined by dots; and the problems with its other values."""
    metrics: dict[str, Metric] = {}
    problems = []
    left = list(content.items())[::-1]
    while left:
        name, value = left.pop()
        if isinstance(value, Mapping) and len(name) <= LONGEST_TEXT:
            left += [(f"{name}.{inner}", each) for inner, each in value.items()][::-1]
            continue
        metric = as_metric(value)
        if problem := metric_problem(name, metric):
            problems.append(problem)
        elif isinstance(metric, (int, float, str)):
            metrics[name] = metric
    return metrics, problems
