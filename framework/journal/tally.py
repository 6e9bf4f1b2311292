"""Tally of a sweep: how many combinations have ended, and how."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from framework.journal.provenance import Origins
from framework.journal.records import ENDED, TaskOutcome
from framework.journal.store import Journal
from framework.messages.requests import Which
from framework.project.project import Project

PAGE = 1000  # combinations looked up at once

_STATES: Mapping[Which, frozenset[str]] = {
    "failed": frozenset({"failed"}),
    "outdated": frozenset({"done"}),
    "all": ENDED,
}


class Counts:
    """How many combinations of a set have ended, and how."""

    def __init__(self, total: int, origins: Origins) -> None:
        self.total = total  # combinations of the set
        self.outdated = 0  # of those that are done
        self._origins = origins
        self._ended: Counter[str] = Counter()  # by state

    @property
    def done(self) -> int:
        return self._ended["done"]

    @property
    def failed(self) -> int:
        return self._ended["failed"]

    @property
    def cancelled(self) -> int:
        return self._ended["cancelled"]

    @property
    def pruned(self) -> int:
        return self._ended["pruned"]

    @property
    def ended(self) -> int:
        return self._ended.total()

    def count(self, outcome: TaskOutcome) -> None:
        """Count a task that has ended."""
        self._ended[outcome.state] += 1
        self.outdated += self._origins.is_outdated(outcome)


class Census(Counts):
    """Goes through a set and counts the combinations that have ended."""

    def __init__(self, project: Project, journal: Journal, origins: Origins) -> None:
        super().__init__(project.space.count, origins)
        self._project = project
        self._journal = journal
        self._met = 0  # tasks of the journal that were met
        self.counted = 0  # combinations; those below this number have been looked at
        self.begins = 0  # all combinations below this number had ended when they were looked at

    @property
    def complete(self) -> bool:
        return self.counted >= self.total

    def advance(self, combinations: int) -> list[tuple[int, str]]:
        """Look at the next ones; number and task of those the journal knows that have not ended.

        It is complete as soon as no task of the journal is left that could be one of the set.
        """
        open_ones: list[tuple[int, str]] = []
        if self._met == sum(self._journal.counts().values()):
            self.counted = self.total
        until = min(self.counted + combinations, self.total)
        while self.counted < until:
            numbers = range(self.counted, min(self.counted + PAGE, until))
            tasks = tasks_of(self._project, numbers)
            outcomes = self._journal.outcomes(tasks)
            self._met += len(outcomes)
            for number, task in zip(numbers, tasks, strict=True):
                outcome = outcomes.get(task)
                if outcome and outcome.state in ENDED:
                    self.count(outcome)
                    self.begins += self.begins == number
                elif outcome:
                    open_ones.append((number, task))
            self.counted = numbers.stop
        return open_ones


def again(project: Project, journal: Journal, origins: Origins, which: Which) -> Iterator[int]:
    """Have tasks of the set run again, page by page; yields for each page how many."""
    states = _STATES[which]
    for start in range(0, project.space.count, PAGE):
        if not journal.has_any(states):
            return  # what is left was never run
        tasks = tasks_of(project, range(start, min(start + PAGE, project.space.count)))
        yield journal.again(
            [
                task
                for task, outcome in journal.outcomes(tasks).items()
                if outcome.state in states and (which != "outdated" or origins.is_outdated(outcome))
            ]
        )


def tasks_of(project: Project, numbers: range) -> list[str]:
    """The tasks of some combinations."""
    return [project.task_id(project.space.combination(number)) for number in numbers]
