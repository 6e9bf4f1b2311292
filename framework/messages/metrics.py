"""Metrics in lines of output: `Title: name=value, name=value`."""

import math
import re
from typing import TypeAlias

from framework.space.values import value_problem

Metric: TypeAlias = int | float | str

LONGEST_TEXT = 200  # characters of a name, or of a value that is text: anything longer is no metric

_NAME = re.compile(r"[A-Za-z_][\w./@%+-]*")
_TEXT = re.compile(r"[^\s,=]+")
_INTEGER = re.compile(r"[-+]?[0-9]{1,300}")
_FLOAT = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_NOT_FINITE = {
    "nan": "nan",
    "inf": "inf",
    "+inf": "inf",
    "-inf": "-inf",
    "infinity": "inf",
    "-infinity": "-inf",
}


def parse_metrics(line: str) -> dict[str, Metric]:
    """The metrics of one line of output; empty if the line is anything else. Never raises.

    Not-a-number and infinities, which JSON does not have, are the texts nan, inf and -inf.
    """
    head, separator, _ = line.partition("=")
    if not separator:
        return {}
    title, colon, _ = head.rpartition(": ")
    pairs = line[len(title) + len(colon) :].split(",")
    metrics = {}
    for pair in pairs:
        name, separator, text = (part.strip() for part in pair.partition("="))
        value = _value(text)
        if not separator or not is_plain(text) or metric_problem(name, value):
            return {}
        metrics[name] = value
    return metrics


def is_plain(text: str) -> bool:
    """True if a line can carry `text` as a value: it is not empty, and has no spaces, commas or '='."""
    return _TEXT.fullmatch(text) is not None


def metric_problem(name: str, value: object) -> str | None:
    """The reason why `name` and `value` cannot be a metric; None if they can."""
    if not _NAME.fullmatch(name) or len(name) > LONGEST_TEXT:
        return f"{name!r:.100} cannot name a metric; use letters, digits and _./@%+-, a letter or _ first"
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return f"metric {name}: a value is a number or text, not {type(value).__name__}"
    if isinstance(value, float) and not math.isfinite(value):
        return f"metric {name}: {value} has to be text"
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        return f"metric {name}: a text of {len(value)} characters, more than {LONGEST_TEXT}"
    problem = value_problem(value)
    return f"metric {name}: {problem}" if problem else None


def as_number(value: object) -> float | None:
    """The number that a metric's value is, not-a-number and infinities included; None for other text."""
    if isinstance(value, str):
        return float(value) if value in _NOT_FINITE.values() else None
    try:
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    except OverflowError:
        return None


def _value(text: str) -> Metric:
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        number = float(text)
        return number if math.isfinite(number) else str(number)
    return _NOT_FINITE.get(text.lower(), text)
