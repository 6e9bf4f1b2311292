"""Events of workers: heartbeats, starts, metrics and refusals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from framework.errors import MessageError
from framework.messages.assignment import (
    are_metrics,
    checked,
    is_attempt,
    is_number,
    is_reason,
    is_task,
    is_text,
)
from framework.messages.metrics import as_number

Message: TypeAlias = Mapping[str, Any]

_MOST_HELD = 100_000  # attempts that one worker holds
_MOST_SLOTS = 100_000
_MOST_REPORTS = 100


def _is_slots(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_SLOTS


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def is_attempt_name(value: object) -> bool:
    """TASK.ATTEMPT, as in 0123456789abcdef.2"""
    if not isinstance(value, str):
        return False
    task, _, attempt = value.partition(".")
    return is_task(task) and attempt.isascii() and attempt.isdecimal() and is_attempt(int(attempt[:20]))


def _are_attempt_names(value: object) -> bool:
    return isinstance(value, list) and len(value) <= _MOST_HELD and all(map(is_attempt_name, value))


def _are_reports(value: object) -> bool:
    return isinstance(value, list) and len(value) <= _MOST_REPORTS and all(map(_is_report, value))


def _is_report(value: object) -> bool:
    """What the project's metric was at one report: [its number, value], as in [9, 0.5] or [27, "nan"]"""
    return (
        isinstance(value, list)
        and len(value) == 2
        and is_attempt(value[0])
        and as_number(value[1]) is not None
    )


_HEADER: dict[str, Callable[[object], bool]] = {
    "kind": is_text,
    "infrastructure": is_text,
    "project": is_text,
    "host": is_text,
}
_KINDS: dict[str, dict[str, Callable[[object], bool]]] = {
    "beat": {
        "incarnation": is_text,
        "slots": _is_slots,
        "running": _are_attempt_names,
        "reserved": _are_attempt_names,
        "notice": is_reason,  # what a person should know of this worker; empty if all is well
        "unfit": _is_bool,  # its host can never run a task of this project; the notice says why
    },
    "started": {"task": is_task, "attempt": is_attempt, "started": is_number},
    "metrics": {
        "task": is_task,
        "attempt": is_attempt,
        "metrics": are_metrics,
        "reports": _are_reports,  # of early termination: all so far
    },
    "refused": {"reason": is_reason, "message": is_reason},  # a message that a worker did not execute
}


# fields that workers of an older framework do not send, and what they mean by that
_NOT_IN_OLDER_ONES: dict[str, dict[str, Any]] = {
    "beat": {"notice": "", "unfit": False},
    "metrics": {"reports": []},
}


def check_news(content: object) -> Mapping[str, Any]:
    """The news, if they are exactly what they have to be; raises MessageError if not."""
    kind = content.get("kind") if isinstance(content, dict) else None
    if not isinstance(content, dict) or not isinstance(kind, str) or kind not in _KINDS:
        raise MessageError(f"news of no known kind: {kind!r:.100}")
    content = _NOT_IN_OLDER_ONES.get(kind, {}) | content
    return checked(content, _HEADER | _KINDS[kind])
