"""Events of a sweep: what has happened, in one line each, for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

EventKind: TypeAlias = Literal[
    "best",  # a result is better than all before
    "failed",  # a task has failed for good
    "copy",  # a task that takes long runs on a second host, too, or has ended there or on its first
    "silent",  # a host with tasks is not heard of any more
    "back",  # it is heard of again
    "suspended",  # a host on which different tasks fail is sent nothing
    "healthy",  # it gets tasks again
    "metric",  # tasks are done, and none has reported the project's metric
    "paused",  # the master itself has paused the sweep
    "request",  # what people have asked for
    "ended",  # every combination has ended
]


@dataclass(frozen=True)
class Event:
    """An event; `text` is one line of bounded length, fit for a terminal."""

    number: int  # from 1, in the order of events
    time: float  # Unix time
    kind: EventKind
    text: str
