"""Queue of an adaptive sweep: makes combinations when a host has room."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from framework.journal.provenance import Origins
from framework.journal.records import ENDED
from framework.journal.store import Journal
from framework.journal.tally import Counts
from framework.journal.trials import Tried, most_combinations
from framework.project.project import Project
from framework.scheduler.queue import Waiting

if TYPE_CHECKING:
    from framework.scheduler.optuna_study import Study


class AdaptiveSet:
    """What of an adaptive set is still to be sent; for the master it is what Backlog is for others."""

    ready = True  # what is next is known when it is asked for

    def __init__(self, project: Project, journal: Journal, origins: Origins, study: Study) -> None:
        self.census = Counts(most_combinations(project), origins)
        self._journal = journal
        self._study = study
        self._tasks: set[str] = set()
        self._open: set[str] = set()  # those of them that have not ended
        self._again: dict[str, Waiting] = {}  # those that are to be sent again
        for number, record in enumerate(Tried(project, journal).records):
            journal.renumber(record.task, number)
            self._tasks.add(record.task)
            self._open.add(record.task)
            if record.state in ENDED:
                self.count(record.task)
            elif record.state == "waiting":
                self.put_back(Waiting(number, record.task, record.host, record.parameters))

    @property
    def finished(self) -> bool:
        """Have as many combinations a terminal record as there are to be?"""
        return self.census.ended == self.census.total

    def go_on_counting(self) -> None:
        """All that has ended was counted at the beginning: there are not as many as a grid may have."""

    def look_ahead(self, is_sent: Callable[[str], bool]) -> None:
        """Nothing is made before it is asked for: the results until then are to count."""

    def take(self) -> Waiting | None:
        """The next task to be sent, those to be sent again first; None if there is none."""
        if self._again:
            return self._again.pop(min(self._again.values()).task)
        if len(self._tasks) >= self.census.total:
            return None
        number = len(self._tasks)
        suggested = self._study.suggest(number, self._tasks)
        if suggested is None:  # all that can be suggested has been
            self.census.total = number
            return None
        task, parameters = suggested
        self._tasks.add(task)
        self._open.add(task)
        return Waiting(number, task, "", parameters)

    def send_again(self, task: str) -> bool:
        """Queue a task whose attempt ended without ending it; False if it is not waiting, or queued."""
        record = self._journal.get(task)
        if record is None or record.state != "waiting" or task not in self._open or task in self._again:
            return False
        self.put_back(Waiting(record.number, task, record.host, record.parameters))
        return True

    def put_back(self, waiting: Waiting) -> None:
        """Queue a task that was taken and cannot be sent now."""
        self._again[waiting.task] = waiting

    def withdraw(self, task: str) -> None:
        """Do not send a task after all."""
        self._again.pop(task, None)

    def is_open(self, task: str) -> bool:
        """Does the task belong to the set, and has not ended?"""
        return task in self._open

    def count(self, task: str) -> None:
        """Count a task that has ended now."""
        self.withdraw(task)
        if task in self._open:
            self._open.remove(task)
            self.census.count(self._journal.outcomes([task])[task])
