"""Records of the journal: tasks, attempts and their states."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from framework.messages.metrics import Metric
from framework.space.values import Value

# waiting: an attempt has ended, and the task will run again; pruned: ended early, worse than others
TaskState: TypeAlias = Literal["waiting", "sent", "running", "done", "failed", "cancelled", "pruned"]
ENDED: frozenset[str] = frozenset(("done", "failed", "cancelled", "pruned"))
# copied: it runs, and so does a copy of it, the attempt under way; the first result of the two counts
AttemptState: TypeAlias = Literal["sent", "running", "copied"]
# lost: no worker holds it any more; if its result arrives after all, it counts
AttemptEnd: TypeAlias = Literal["done", "failed", "timeout", "stopped", "lost"]


@dataclass(frozen=True)
class TaskRecord:
    """A task. Times are seconds since the epoch."""

    task: str
    number: int  # of its combination, in the latest sweep that it belongs to
    parameters: Mapping[str, Value]
    state: TaskState
    attempts: int  # until now; also the number of the latest, which need not be the one under way
    host: str  # of the attempt under way, else of the one that ended the task, else of the latest
    sent: float
    started: float | None
    seconds: float | None  # duration of the attempt that ended the task
    exit_code: int | None
    reason: str
    code: str
    image: str
    metrics: Mapping[str, Metric]  # the last value of each
    first: int  # number of the first attempt since the task was requested again: earlier ones do not count


@dataclass(frozen=True)
class TaskOutcome:
    """The state of a task and, if it has a result, the code and image that produced it."""

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
class TimedTask:
    """How long a task took on a host."""

    task: str
    host: str
    parameters: Mapping[str, Value]
    seconds: float


@dataclass(frozen=True)
class NewAttempt:
    """The next attempt of a task, which is about to be sent."""

    task: str
    number: int  # of its combination
    parameters: Mapping[str, Value]
    host: str


@dataclass(frozen=True)
class AttemptRecord:
    """An attempt of a task. Times are seconds since the epoch."""

    task: str
    attempt: int
    host: str
    state: AttemptState | AttemptEnd
    sent: float | None
    started: float | None
    seconds: float | None
    exit_code: int | None
    reason: str
