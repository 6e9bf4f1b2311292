"""Queue of a sweep: its combinations in order, and tasks to be sent again."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from framework.journal.provenance import Provenance
from framework.journal.records import ENDED, Member, TaskOutcome
from framework.journal.store import Journal
from framework.journal.tally import Enumeration, Tally
from framework.project.project import Project
from framework.space.values import Value

SCAN_LIMIT = 10_000  # combinations looked up in one call, so that the master stays responsive
PAGE = 512  # combinations looked up at once


@dataclass(frozen=True, order=True)
class QueuedTask:
    """A task to be sent."""

    number: int  # of its combination
    task: str
    avoid: str  # the host of its last attempt; empty if it had none
    parameters: Mapping[str, Value] = field(compare=False)


class TaskQueue(Protocol):
    """The tasks of a sweep that are still to be sent, and the tally of those that have ended.

    All methods raise JournalError if the journal cannot be used.
    """

    tally: Tally

    @property
    def is_counted(self) -> bool:
        """True if the tally counts all that has ended; if not, call count_known() again."""

    @property
    def is_ready(self) -> bool:
        """True if the next task is known, or that there is none; if not, call look_ahead() again."""

    @property
    def is_finished(self) -> bool:
        """True if every combination has a terminal record."""

    def count_known(self) -> None:
        """Count more of the results of earlier runs, if some are not counted yet."""

    def look_ahead(self, is_sent: Callable[[str], bool], /, wanted: int = 1) -> None:
        """Find the next tasks with no terminal record that `is_sent(task)` is false for, if none is known."""

    def take(self) -> QueuedTask | None:
        """Remove and return the next task, those to be sent again first; None if none is known (yet)."""

    def put_back(self, queued: QueuedTask, /) -> None:
        """Queue a task that was taken and cannot be sent now."""

    def requeue(self, task: str, /) -> bool:
        """Queue a task whose attempt did not end it; False if it is not waiting, or queued already."""

    def withdraw(self, task: str, /) -> None:
        """Remove a task from the queue, if it is there."""

    def is_open(self, task: str, /) -> bool:
        """True if the task was taken or met in this sweep, and has not ended."""

    def close(self, task: str, /, outcome: TaskOutcome | None = None) -> None:
        """Count a task that has ended now, if it belongs to the sweep; `outcome`: if the caller knows it."""


class IndexedQueue:
    """Queue of a sweep whose combinations are known by index; holds only tasks that are next or under way.

    A sweep that the journal does not know yet is enumerated once, which marks its tasks in the journal.
    """

    def __init__(
        self,
        project: Project,
        journal: Journal,
        provenance: Provenance,
        order: Sequence[int] = (),
    ) -> None:
        """`order`: the numbers of the combinations that have not ended, in the order in which they are sent.

        It is for a sweep whose tasks are marked already; empty: all combinations in their own order.
        """
        self._order = order or range(project.space.count)
        self._places = {number: place for place, number in enumerate(order)}  # empty: the numbers themselves
        self.tally = Tally(project.space.count, provenance)
        self._project = project
        self._journal = journal
        self._enumeration = Enumeration(project, journal)
        self._ahead: OrderedDict[str, QueuedTask] = OrderedDict()  # the next tasks, the first one first
        self._again: dict[str, QueuedTask] = {}  # the tasks that are to be sent again
        self._again_in_order: list[QueuedTask] = []  # a heap; those that are no more in _again are skipped
        self._position = 0  # the search for the next task has met so many combinations of the order
        self._open: set[str] = set()  # the tasks of these that have not ended
        if journal.open_sweep(project.definition):
            self._enumeration.skip()
            self.tally.count_members(journal)

    @property
    def is_counted(self) -> bool:
        return self._enumeration.is_complete

    @property
    def is_ready(self) -> bool:
        return bool(self._ahead) or self._position >= len(self._order)

    @property
    def is_finished(self) -> bool:
        return self.tally.ended == self.tally.total

    def count_known(self) -> None:
        if self._enumeration.is_complete:
            return
        with self._journal.batch():
            known = list(self._enumeration.advance(SCAN_LIMIT))
            self._journal.mark((each.number, each.task) for each in known)
            if self._enumeration.is_complete:
                self._journal.complete_sweep()
        for each in known:
            if each.outcome.state in ENDED:
                self.tally.count(each.outcome)

    @property
    def is_exhausted(self) -> bool:
        """True if nothing is left to be sent: all that has not ended is under way."""
        return not self._again and not self._ahead and self._position >= len(self._order)

    def upcoming(self) -> list[int]:
        """The numbers of the combinations that are still to be sent, some of which may have ended."""
        queued = [*self._again.values(), *self._ahead.values()]
        return [*(each.number for each in queued), *self._order[self._position :]]

    def look_ahead(self, is_sent: Callable[[str], bool], wanted: int = 1) -> None:
        if self._ahead:
            return
        scanned, page = 0, wanted
        counted = min(self._enumeration.position, len(self._order))
        while scanned < SCAN_LIMIT and len(self._ahead) < wanted and self._position < counted:
            # Most often the first combinations will do; where many have results, whole pages are read.
            numbers = self._order[self._position : min(self._position + page, counted)]
            members = self._journal.members(numbers)
            for number in numbers:
                if len(self._ahead) == wanted:
                    break
                self._meet(number, members.get(number), is_sent)
            scanned, page = scanned + len(numbers), max(wanted, min(2 * page, PAGE))

    def _meet(self, number: int, member: Member | None, is_sent: Callable[[str], bool]) -> None:
        self._position += 1
        if member is not None and member.state in ENDED:
            return
        parameters = self._project.space.combination(number)
        task = member.task if member else self._project.task_id(parameters)
        self._open.add(task)
        if not is_sent(task):
            self._ahead[task] = QueuedTask(number, task, member.host if member else "", parameters)

    def take(self) -> QueuedTask | None:
        while self._again:
            queued = heapq.heappop(self._again_in_order)
            if self._again.get(queued.task) is queued:
                del self._again[queued.task]
                return queued
        self._again_in_order.clear()
        return self._ahead.popitem(last=False)[1] if self._ahead else None

    def put_back(self, queued: QueuedTask) -> None:
        self._again[queued.task] = queued
        heapq.heappush(self._again_in_order, queued)

    def requeue(self, task: str) -> bool:
        record = self._journal.get(task)
        if record is None or record.state != "waiting" or task not in self._open:
            return False
        if task in self._ahead or task in self._again:
            return False
        self.put_back(QueuedTask(record.number, task, record.host, record.parameters))
        return True

    def withdraw(self, task: str) -> None:
        self._ahead.pop(task, None)
        self._again.pop(task, None)

    def is_open(self, task: str) -> bool:
        return task in self._open

    def close(self, task: str, outcome: TaskOutcome | None = None) -> None:
        self.withdraw(task)  # a lost attempt may end a task that waits to be sent again
        if task in self._open or self._is_counted_and_not_met(task):
            self._open.discard(task)
            self.tally.count(outcome or self._journal.outcomes([task])[task])

    def _is_counted_and_not_met(self, task: str) -> bool:
        """True for a task that the enumeration has passed, and the search for the next task has not."""
        record = self._journal.get(task)
        return (
            record is not None
            and self._position <= self._places.get(record.number, record.number) < self._enumeration.position
            and self._journal.is_member(task)
        )
