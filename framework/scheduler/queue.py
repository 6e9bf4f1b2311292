"""Queue of a sweep: its combinations in order, and tasks to be sent again.

Two readers go through the set: the census, which counts what has ended, and behind it the search for what is
to be sent, which stops where it has found something.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from framework.journal.provenance import Origins
from framework.journal.records import ENDED, TaskRecord
from framework.journal.store import Journal
from framework.journal.tally import Census, tasks_of
from framework.project.project import Project
from framework.space.values import Value

SCAN_LIMIT = 10_000  # combinations looked up in one go, so that the master stays responsive
PAGE = 512  # combinations looked up at once


@dataclass(frozen=True, order=True)
class Waiting:
    """A task to be sent."""

    number: int  # of its combination
    task: str
    avoid: str  # the host of its last attempt; empty if it had none
    parameters: Mapping[str, Value] = field(compare=False)


class Backlog:
    """Reads the set by index and keeps only what is next or under way, however many combinations it has."""

    def __init__(self, project: Project, journal: Journal, origins: Origins) -> None:
        self.census = Census(project, journal, origins)
        self._project = project
        self._journal = journal
        self._ahead: Waiting | None = None
        self._again: list[Waiting] = []  # a heap
        self._position = 0  # combinations below it have been met: looked at for sending them
        self._open: set[str] = set()  # their tasks that have not ended; none of an older set is among them

    @property
    def scanned(self) -> bool:
        return self._position >= self.census.total

    @property
    def finished(self) -> bool:
        """Has every combination a terminal record?"""
        return self.census.ended == self.census.total

    @property
    def ready(self) -> bool:
        """Is it known what is next, or that nothing is? If not, call look_ahead again."""
        return self._ahead is not None or self.scanned

    def go_on_counting(self) -> None:
        """Take the census further, if it is not complete."""
        if not self.census.complete:
            for number, task in self.census.advance(SCAN_LIMIT):
                self._journal.renumber(task, number)
            self._position = max(self._position, self.census.begins)

    def look_ahead(self, is_sent: Callable[[str], bool]) -> None:
        """Find the next combination with no terminal record and not under way, as `is_sent(task)` tells."""
        scanned, page = 0, 1
        while scanned < SCAN_LIMIT and not self.ready and self._position < self.census.counted:
            # Most often the first one looked at will do; where many have results, whole pages are read.
            numbers = range(self._position, min(self._position + page, self.census.counted))
            combinations = [self._project.space.combination(number) for number in numbers]
            tasks = [self._project.task_id(parameters) for parameters in combinations]
            records = self._journal.records(tasks)
            for number, task, parameters in zip(numbers, tasks, combinations, strict=True):
                if self.ready:
                    break
                self._meet(Waiting(number, task, "", parameters), records.get(task), is_sent(task))
            scanned, page = scanned + len(numbers), min(2 * page, PAGE)

    def _meet(self, met: Waiting, record: TaskRecord | None, sent: bool) -> None:
        self._position = met.number + 1
        if record is not None and record.state in ENDED:
            return
        self._open.add(met.task)
        if not sent:
            self._ahead = replace(met, avoid=record.host) if record else met

    def take(self) -> Waiting | None:
        """The next task to be sent, those to be sent again first; None if none is known (yet)."""
        if self._again:
            return heapq.heappop(self._again)
        following, self._ahead = self._ahead, None
        return following

    def send_again(self, task: str) -> bool:
        """Queue a task whose attempt ended without ending it; False if it is not waiting, or queued."""
        record = self._journal.get(task)
        if record is None or record.state != "waiting" or task not in self._open:
            return False
        known = [self._ahead, *self._again] if self._ahead else self._again
        if any(waiting.task == task for waiting in known):
            return False
        self.put_back(Waiting(record.number, task, record.host, record.parameters))
        return True

    def put_back(self, waiting: Waiting) -> None:
        """Queue a task that was taken and cannot be sent now."""
        heapq.heappush(self._again, waiting)

    def withdraw(self, task: str) -> None:
        """Do not send a task after all."""
        if self._ahead and self._ahead.task == task:
            self._ahead = None
        if any(waiting.task == task for waiting in self._again):
            self._again = [waiting for waiting in self._again if waiting.task != task]
            heapq.heapify(self._again)

    def is_open(self, task: str) -> bool:
        """Does the task belong to the set, as far as it has been looked through, and has not ended?"""
        return task in self._open

    def count(self, task: str) -> None:
        """Count a task that has ended now; what the census has not looked at yet, it will count itself."""
        self.withdraw(task)  # a lost attempt may end a task that waits to be sent again
        if task in self._open or self._is_ahead(task):
            self._open.discard(task)
            self.census.count(self._journal.outcomes([task])[task])

    def _is_ahead(self, task: str) -> bool:
        """Is it a task of the set that the census has looked at, and the search has not met yet?"""
        record = self._journal.get(task)
        if record is None or not self._position <= record.number < self.census.counted:
            return False
        return tasks_of(self._project, range(record.number, record.number + 1)) == [task]
