"""Records of the journal: tasks, attempts and their states."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from framework.messages.metrics import Metric
from framework.space.values import Value

# waiting: an attempt ended and the task is to be run again; pruned: ended early, as it did worse than others
TaskState: TypeAlias = Literal["waiting", "sent", "running", "done", "failed", "cancelled", "pruned"]
ENDED: frozenset[str] = frozenset(("done", "failed", "cancelled", "pruned"))
# lost: no worker holds it any more; if its result comes after all, it counts
AttemptEnd: TypeAlias = Literal["done", "failed", "timeout", "stopped", "lost"]


@dataclass(frozen=True)
class TaskRecord:
    """What the journal knows of a task. Times are seconds since the epoch."""

    task: str
    number: int  # of its combination, in the latest sweep that it belongs to
    parameters: Mapping[str, Value]
    state: TaskState
    attempts: int  # so far; also the number of the latest one, which need not be the one under way
    host: str  # of the attempt under way, else of the latest, or of the one that ended the task
    sent: float
    started: float | None
    seconds: float | None  # that the attempt took which ended the task
    exit_code: int | None
    reason: str
    code: str
    image: str
    metrics: Mapping[str, Metric]  # the last value of each
    first: int  # attempt since the task was asked for again; those before it count no more


@dataclass(frozen=True)
class TaskOutcome:
    """Where a task stands and, if it has ended with a result, which code and image made that."""

    state: TaskState
    code: str
    image: str


@dataclass(frozen=True)
class Member:
    """A task of the current sweep, in brief."""

    number: int  # of its combination
    task: str
    state: TaskState
    host: str  # as in TaskRecord


@dataclass(frozen=True)
class AttemptRecord:
    """What the journal knows of one attempt. Times are seconds since the epoch."""

    task: str
    attempt: int
    host: str
    state: Literal["sent", "running"] | AttemptEnd
    sent: float | None
    started: float | None
    seconds: float | None
    exit_code: int | None
    reason: str
