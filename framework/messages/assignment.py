"""Assignment of an attempt to a worker, and the result of an attempt."""

import dataclasses
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from framework.errors import MessageError
from framework.messages.metrics import Metric, metric_problem
from framework.space.values import Value, canonical, name_problem, value_problem

AttemptState: TypeAlias = Literal["done", "failed", "timeout", "stopped"]

TASK_DIGITS = 16
_TASK = re.compile(f"[0-9a-f]{{{TASK_DIGITS}}}")
LONGEST_REASON = 2000  # characters


def task_id(command: Sequence[str], parameters: Mapping[str, Value], function: str | None = None) -> str:
    """The identity of a task: 16 hex digits of the SHA-256 of what runs and with which metaparameters.

    Independent of the order of the metaparameters; 1, 1.0, true and "1" are different values.
    """
    what = {"function": function} if function is not None else {"command": list(command)}
    content = canonical({**what, "parameters": dict(parameters)})
    return hashlib.sha256(content.encode()).hexdigest()[:TASK_DIGITS]


@dataclass(frozen=True)
class Assignment:
    """One attempt of one task, for one worker to run."""

    infrastructure: str
    project: str
    task: str
    attempt: int  # from 1
    parameters: Mapping[str, Value]  # in the order of parameters.yml

    def to_message(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_message(cls, message: object) -> "Assignment":
        """Raises MessageError on anything that is not exactly an assignment."""
        return cls(**checked(message, _ASSIGNMENT))


@dataclass(frozen=True)
class AttemptResult:
    """How an attempt of a task ended."""

    task: str
    attempt: int  # from 1
    host: str
    state: AttemptState  # stopped: by the master or with its worker, no failure
    started: float  # seconds since the epoch, by the worker's clock
    seconds: float  # from start to end
    exit_code: int | None  # 128 + signal if one ended it, None if it never started
    reason: str  # why it is not done; remarks if it is
    metrics: Mapping[str, Metric]  # the last value of each
    code: str  # version of the code that ran
    image: str  # id of the image that it ran in
    infrastructure: str
    project: str

    def to_message(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_message(cls, message: object) -> "AttemptResult":
        """Raises MessageError on anything that is not exactly a result."""
        return cls(**checked(message, _RESULT))


def is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 255 and value_problem(value) is None


def _is_optional_text(value: object) -> bool:
    return value == "" or is_text(value)


def is_reason(value: object) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_REASON and value_problem(value) is None


def is_task(value: object) -> bool:
    return isinstance(value, str) and _TASK.fullmatch(value) is not None


def is_number(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and value_problem(value) is None
        and 0 <= value < 2**53  # more would not fit into the journal
    )


def is_attempt(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 2**31


def _is_exit_code(value: object) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255)


def _is_state(value: object) -> bool:
    return value in ("done", "failed", "timeout", "stopped")


def _are_parameters(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str) and name_problem(name) is None and value_problem(item) is None
        for name, item in value.items()
    )


def are_metrics(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str) and metric_problem(name, item) is None for name, item in value.items()
    )


_ASSIGNMENT: dict[str, Callable[[object], bool]] = {
    "infrastructure": is_text,
    "project": is_text,
    "task": is_task,
    "attempt": is_attempt,
    "parameters": _are_parameters,
}
_RESULT: dict[str, Callable[[object], bool]] = {
    "task": is_task,
    "attempt": is_attempt,
    "host": is_text,
    "state": _is_state,
    "started": is_number,
    "seconds": is_number,
    "exit_code": _is_exit_code,
    "reason": is_reason,
    "metrics": are_metrics,
    "code": _is_optional_text,
    "image": _is_optional_text,
    "infrastructure": is_text,
    "project": is_text,
}


def checked(message: object, checks: Mapping[str, Callable[[object], bool]]) -> dict[str, Any]:
    """The message, if it has exactly the fields of `checks` and each is right; raises MessageError if not."""
    if not isinstance(message, dict):
        raise MessageError(f"a message that is no object: {message!r:.100}")
    if message.keys() != checks.keys():
        raise MessageError(
            f"a message with the fields {sorted(map(str, message))!r:.300}, not {sorted(checks)}"
        )
    for field, is_right in checks.items():
        if not is_right(message[field]):
            raise MessageError(f"a message with an impossible {field}: {message[field]!r:.100}")
    return message
