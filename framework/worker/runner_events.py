"""Events of the runner: checked on arrival, as tasks share its container"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from framework.errors import MessageError
from framework.messages.assignment import is_exit_code
from framework.messages.checks import LONGEST_REASON, Check, are_metrics, is_duration, is_reason, is_time
from framework.messages.worker_events import are_reports

log = logging.getLogger(__name__)

_IMPOSSIBLE: dict[str, Any] = {
    "exit_code": None,
    "seconds": 0.0,
    "state": "lost",
    "reason": "its runner reported an impossible outcome, see the worker's log",
    "metrics": {},
}


def is_hello(message: Mapping[str, Any]) -> bool:
    """True if a runner says all that the worker needs of it."""
    environment, mounts = message.get("environment"), message.get("mounts")
    return (
        isinstance(environment, dict)
        and all(isinstance(value, str) for value in environment.values())
        and isinstance(message.get("image"), str)
        and (mounts is None or isinstance(mounts, str))
    )


def checked_event(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """The event, whose fields are valid for its kind; raises MessageError. Others are ignored.

    An outcome that no attempt can have is replaced by one that is lost: the attempt has ended.
    """
    kind = event.get("event")
    if not isinstance(kind, str):
        raise MessageError(f"it is of no kind: {event!r:.200}")
    for field, is_valid in _KINDS.get(kind, {}).items():
        if not is_valid(event.get(field)):
            raise MessageError(f"{kind} with an impossible {field}: {event!r:.200}")
    outcome = {"ended": "execution", "held": "ended"}.get(kind)
    ended = event.get(str(outcome))
    if outcome is None or _is_execution(ended) or (kind == "held" and ended in ("running", "lost")):
        return event
    log.error("the runner reports an impossible outcome: %.300r", event)
    return {**event, outcome: _IMPOSSIBLE}


def _is_execution(value: object) -> bool:
    return isinstance(value, dict) and all(
        field in value and is_valid(value[field]) for field, is_valid in _EXECUTION.items()
    )


def _is_text(value: object) -> bool:
    """True for text that is a reason once it is cut."""
    return isinstance(value, str) and is_reason(value[:LONGEST_REASON])


def _is_state(value: object) -> bool:
    return value in ("done", "failed", "timeout", "stopped")


def _is_start(value: object) -> bool:
    return value is None or is_time(value)


_KINDS: dict[str, dict[str, Check]] = {
    "held": {"started": _is_start},
    "started": {"when": is_time},
    "metrics": {"metrics": are_metrics, "reports": are_reports},
    "ended": {"started": _is_start},
    "refused": {"reason": _is_text},
}
_EXECUTION: dict[str, Check] = {
    "exit_code": is_exit_code,
    "seconds": is_duration,
    "state": _is_state,
    "reason": _is_text,
    "metrics": are_metrics,
}
