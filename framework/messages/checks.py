"""Checks of the fields of messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from framework.errors import MessageError
from framework.messages.metrics import metric_problem
from framework.space.values import name_problem, value_problem

Check: TypeAlias = Callable[[object], bool]

LONGEST_TEXT = 255  # characters
LONGEST_REASON = 2000  # characters


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


def is_optional_text(value: object) -> bool:
    return value == "" or is_text(value)


def is_reason(value: object) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_REASON and value_problem(value) is None


def is_bool(value: object) -> bool:
    return isinstance(value, bool)


def is_number(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and value_problem(value) is None
        and 0 <= value < 2**53  # the journal holds no more
    )


def is_count(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def are_parameters(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str) and name_problem(name) is None and value_problem(item) is None
        for name, item in value.items()
    )


def are_metrics(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str) and metric_problem(name, item) is None for name, item in value.items()
    )
