"""Assignment of an attempt to a worker, and the result of an attempt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from framework.messages.checks import (
    Check,
    are_metrics,
    are_parameters,
    checked,
    is_count,
    is_duration,
    is_host,
    is_optional_text,
    is_reason,
    is_text,
    is_time,
)
from framework.messages.metrics import Metric
from framework.messages.task_ids import AttemptId, is_attempt_number, is_task_id
from framework.space.values import Value

AttemptState: TypeAlias = Literal["done", "failed", "timeout", "stopped", "lost"]


@dataclass(frozen=True)
class Assignment:
    """One attempt of one task, assigned to one worker."""

    infrastructure: str
    project: str
    task: str
    attempt: int  # from 1
    parameters: Mapping[str, Value]  # in the order of parameters.yml

    @property
    def id(self) -> AttemptId:
        return AttemptId(self.task, self.attempt)

    def to_message(self) -> dict[str, Any]:
        return dict(vars(self))

    @classmethod
    def from_message(cls, message: object) -> Assignment:
        """Raises MessageError on anything that is not exactly an assignment."""
        return cls(**checked(message, _ASSIGNMENT))


@dataclass(frozen=True)
class AttemptResult:
    """The end of an attempt of a task."""

    task: str
    attempt: int  # from 1
    host: str
    state: AttemptState  # stopped: by the master or with its host; lost: nothing is known of its end
    started: float  # seconds since the epoch, by the worker's clock
    seconds: float  # from start to end
    exit_code: int | None  # 128 + signal if one ended it, None if it never started
    reason: str  # why it is not done; remarks if it is
    metrics: Mapping[str, Metric]  # the last value of each
    code: str  # version of the code that ran
    image: str  # id of the image that it ran in
    infrastructure: str
    project: str

    @property
    def id(self) -> AttemptId:
        return AttemptId(self.task, self.attempt)

    def to_message(self) -> dict[str, Any]:
        return dict(vars(self))

    @classmethod
    def from_message(cls, message: object) -> AttemptResult:
        """Raises MessageError on anything that is not exactly a result."""
        return cls(**checked(message, _RESULT))


def is_exit_code(value: object) -> bool:
    return value is None or is_count(value, 255)


def _is_state(value: object) -> bool:
    return value in ("done", "failed", "timeout", "stopped", "lost")


_ASSIGNMENT: dict[str, Check] = {
    "infrastructure": is_text,
    "project": is_text,
    "task": is_task_id,
    "attempt": is_attempt_number,
    "parameters": are_parameters,
}
_RESULT: dict[str, Check] = {
    "task": is_task_id,
    "attempt": is_attempt_number,
    "host": is_host,
    "state": _is_state,
    "started": is_time,
    "seconds": is_duration,
    "exit_code": is_exit_code,
    "reason": is_reason,
    "metrics": are_metrics,
    "code": is_optional_text,
    "image": is_optional_text,
    "infrastructure": is_text,
    "project": is_text,
}
