"""Tally of a sweep: how many combinations have ended, and how."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from framework.journal.provenance import Provenance
from framework.journal.records import ENDED, TaskOutcome
from framework.journal.store import Journal
from framework.project.project import Project

PAGE = 1000  # combinations looked up at once
STRIDE = 10_000  # combinations between two looks at whether the journal has any other task


class Tally:
    """The number of combinations of a sweep that have ended, by state."""

    def __init__(self, total: int, provenance: Provenance) -> None:
        self.total = total  # combinations of the sweep
        self.outdated = 0  # done combinations with an outdated result
        self._provenance = provenance
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

    def count(self, outcome: TaskOutcome, tasks: int = 1) -> None:
        """Add tasks that have ended with this outcome."""
        self._ended[outcome.state] += tasks
        self.outdated += tasks * self._provenance.is_outdated(outcome)

    def count_members(self, journal: Journal) -> None:
        """Add all tasks of the current sweep that have ended."""
        for outcome, tasks in journal.ended_counts():
            self.count(outcome, tasks)


@dataclass(frozen=True)
class KnownTask:
    """A combination whose task the journal knows."""

    number: int
    task: str
    outcome: TaskOutcome


class Enumeration:
    """One walk through the combinations of a sweep, which finds the tasks that the journal knows."""

    def __init__(self, project: Project, journal: Journal) -> None:
        self.position = 0  # the combinations below this number have been looked up
        self._project = project
        self._journal = journal
        self._total = project.space.count
        self._found = 0

    @property
    def is_complete(self) -> bool:
        return self.position >= self._total

    def skip(self) -> None:
        """End the walk: nothing is to be found."""
        self.position = self._total

    def advance(self, combinations: int) -> Iterator[KnownTask]:
        """Look up the next combinations; the walk ends where the journal has no other task."""
        if self._found == sum(self._journal.counts().values()):
            self.skip()
        until = min(self.position + combinations, self._total)
        while self.position < until:
            numbers = range(self.position, min(self.position + PAGE, until))
            tasks = tasks_of(self._project, numbers)
            outcomes = self._journal.outcomes(tasks)
            self._found += len(outcomes)
            self.position = numbers.stop
            for number, task in zip(numbers, tasks, strict=True):
                if task in outcomes:
                    yield KnownTask(number, task, outcomes[task])


def tally_sweep(project: Project, journal: Journal, provenance: Provenance) -> Tally:
    """The tally of a project's sweep; walks through it only if another sweep is the journal's current one."""
    tally = Tally(project.space.count, provenance)
    with journal.batch():
        if journal.has_sweep(project.definition):
            tally.count_members(journal)
            return tally
        enumeration = Enumeration(project, journal)
        while not enumeration.is_complete:
            for known in enumeration.advance(STRIDE):
                if known.outcome.state in ENDED:
                    tally.count(known.outcome)
    return tally


def open_numbers(project: Project, journal: Journal) -> list[int]:
    """The numbers of the combinations that have not ended; looks all of them up."""
    found = []
    for start in range(0, project.space.count, PAGE):
        numbers = range(start, min(start + PAGE, project.space.count))
        tasks = tasks_of(project, numbers)
        outcomes = journal.outcomes(tasks)
        found += [
            number
            for number, task in zip(numbers, tasks, strict=True)
            if task not in outcomes or outcomes[task].state not in ENDED
        ]
    return found


def tasks_of(project: Project, numbers: range) -> list[str]:
    """The tasks of some combinations."""
    return [project.task_id(project.space.combination(number)) for number in numbers]
