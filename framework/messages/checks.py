"""Checks of the fields of messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from framework.errors import MessageError
from framework.messages.metrics import as_metric, metric_problem
from framework.space.values import name_problem, value_problem

Check: TypeAlias = Callable[[object], bool]

LONGEST_TEXT = 255  # characters
LONGEST_REASON = 2000  # characters
MOST_METRICS = 1000  # metrics of one attempt; a worker sends fewer
END_OF_TIME = 4_102_444_800  # seconds since the epoch: the beginning of the year 2100
LONGEST_SECONDS = 10**9  # about 30 years


def checked(message: object, checks: Mapping[str, Check]) -> dict[str, Any]:
    """The message, if it has exactly the fields of `checks` and each is valid; raises MessageError if not."""
    if not isinstance(message, dict):
        raise MessageError(f"a message that is no object: {message!r:.100}")
    if message.keys() != checks.keys():
        raise MessageError(
            f"a message with the fields {sorted(map(str, message))!r:.300}, not {sorted(checks)}"
        )
    for field, is_valid in checks.items():
        if not is_valid(message[field]):
            raise MessageError(f"a message with an impossible {field}: {message[field]!r:.100}")
    return message


def is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_TEXT and value_problem(value) is None


def is_host(value: object) -> bool:
    """True for what can name a host in tables and messages for people."""
    return isinstance(value, str) and is_text(value) and value.isprintable()


def is_optional_text(value: object) -> bool:
    return value == "" or is_text(value)


def is_reason(value: object) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_REASON and value_problem(value) is None


def is_bool(value: object) -> bool:
    return isinstance(value, bool)


def is_time(value: object) -> bool:
    """True for seconds since the epoch that a clock can show, be it wrong: from 1970 to 2100."""
    return is_size(value, END_OF_TIME)


def is_duration(value: object) -> bool:
    """True for seconds that something can have taken."""
    return is_size(value, LONGEST_SECONDS)


def is_count(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def are_parameters(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str) and name_problem(name) is None and value_problem(item) is None
        for name, item in value.items()
    )


def are_metrics(value: object) -> bool:
    return (
        isinstance(value, dict)
        and len(value) <= MOST_METRICS
        and all(
            isinstance(name, str) and metric_problem(name, item) is None and is_in_range(item)
            for name, item in value.items()
        )
    )


def is_in_range(value: object) -> bool:
    """False for an integer that is larger than all floats: a metric has "inf" in its place."""
    return as_metric(value) is value


def is_size(value: object, most: int) -> bool:
    """True for a number from 0 to `most`, be it whole or not."""
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and value_problem(value) is None
        and 0 <= value <= most
    )
