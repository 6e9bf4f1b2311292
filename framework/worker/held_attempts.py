"""Attempts that a worker holds, from their arrival to their end."""

from __future__ import annotations

import math
import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from enum import Enum

from framework.messages.assignment import Assignment, AttemptResult
from framework.messages.task_ids import AttemptId
from framework.runner.job import Job
from framework.worker.allocator import Allocation


class Phase(Enum):
    """How far an attempt has come."""

    WAITING = "waiting"  # for devices
    GIVEN = "given"  # to the runner, which has not confirmed it
    TAKEN = "taken"  # the runner has it on its disk, and runs it
    EXITED = "exited"  # its processes have ended; its outcome comes, or cannot be kept yet


@dataclass(eq=False)
class HeldAttempt:
    """An attempt that has begun: it was received, and is this worker's to end."""

    assignment: Assignment
    phase: Phase = Phase.WAITING
    is_unwanted: bool = False  # it is to be stopped
    was_given: bool = False  # a runner may have begun it, whatever its phase
    hand_back_at: float = math.inf  # value of time.monotonic() from which it goes back if it still waits
    retry_at: float = 0.0  # not to be tried again before
    started: float | None = None  # Unix time
    code: str = ""  # version of the code that it runs with
    allocation: Allocation | None = None
    job: Job | None = None
    outcome: AttemptResult | None = None
    taken: threading.Event = field(default_factory=threading.Event)  # its message can be acknowledged
    over: threading.Event = field(default_factory=threading.Event)  # nobody need wait for it any more

    @property
    def id(self) -> AttemptId:
        return self.assignment.id

    @property
    def runs(self) -> bool:
        return self.phase in (Phase.TAKEN, Phase.EXITED)

    @property
    def awaits_outcome(self) -> bool:
        """True if the runner has it, or had it, and has not told how it ended."""
        return self.runs and self.outcome is None


class HeldAttempts:
    """Attempts that were received, wait for devices, or run. Not for several threads at a time."""

    def __init__(self) -> None:
        self._reserved: set[AttemptId] = set()  # received, and not begun
        self._begun: dict[AttemptId, HeldAttempt] = {}
        self._unwanted: set[AttemptId] = set()  # reserved attempts that are to be stopped when they begin

    def __iter__(self) -> Iterator[HeldAttempt]:
        return iter(list(self._begun.values()))

    def __len__(self) -> int:
        return len(self._begun)

    def get(self, attempt: AttemptId) -> HeldAttempt | None:
        """The attempt, if it has begun."""
        return self._begun.get(attempt)

    def in_phase(self, *phases: Phase) -> list[HeldAttempt]:
        return [held for held in self._begun.values() if held.phase in phases]

    def running_and_reserved(self) -> tuple[frozenset[AttemptId], frozenset[AttemptId]]:
        """The attempts that execute, and those that do not yet."""
        running = frozenset(held.id for held in self._begun.values() if held.runs)
        return running, frozenset(self._reserved.union(self._begun)) - running

    def reserve(self, attempt: AttemptId) -> None:
        """Hold an attempt that was received."""
        self._reserved.add(attempt)

    def release(self, attempt: AttemptId) -> None:
        """Forget an attempt that was received and has not begun, whatever became of it."""
        self._reserved.discard(attempt)
        if attempt not in self._begun:
            self._unwanted.discard(attempt)

    def begin(self, held: HeldAttempt) -> None:
        """Hold an attempt that begins, or that the runner has from earlier."""
        self._begun[held.id] = held
        held.is_unwanted = held.is_unwanted or held.id in self._unwanted

    def end(self, held: HeldAttempt) -> None:
        """Forget an attempt that had begun."""
        del self._begun[held.id]
        self._reserved.discard(held.id)
        self._unwanted.discard(held.id)

    def hand_back(self, attempts: Collection[AttemptId]) -> None:
        """Note that those of them are to be handed back that no runner can have begun."""
        begun = {held.id for held in self if held.phase is not Phase.WAITING or held.was_given}
        self.stop([attempt for attempt in attempts if attempt not in begun])

    def stop(self, attempts: Collection[AttemptId]) -> list[HeldAttempt]:
        """Note that these are to be stopped; return those that have begun."""
        self._unwanted |= self._reserved.intersection(attempts)
        begun = [self._begun[attempt] for attempt in attempts if attempt in self._begun]
        for held in begun:
            held.is_unwanted = True
        return begun
