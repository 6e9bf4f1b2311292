"""Combinations of an adaptive sweep, as far as the journal knows them."""

from dataclasses import replace

from framework.journal.records import TaskRecord
from framework.journal.store import Journal
from framework.project.project import Project
from framework.space.product import Combinations
from framework.space.values import Value


class Trials(Combinations):
    """The combinations of an adaptive sweep until now, in the order of their numbers.

    Combinations of the same space that another method has tried belong to it.
    """

    def __init__(self, project: Project, journal: Journal) -> None:
        self.names = project.search_space.names
        most = project.method.run_cap
        self.records: list[TaskRecord] = []
        for record in journal.in_order():
            if most is not None and len(self.records) >= most:
                break
            known = project.task_id(record.parameters) == record.task
            if known and project.search_space.contains(record.parameters):
                self.records.append(record)

    @property
    def count(self) -> int:
        return len(self.records)

    def combination(self, index: int) -> dict[str, Value]:
        self._check(index)
        return dict(self.records[index].parameters)


def so_far(project: Project, journal: Journal) -> Project:
    """The project with the combinations that are known now: those of an adaptive sweep until now."""
    return replace(project, space=Trials(project, journal)) if project.method.is_adaptive else project


def most_combinations(project: Project) -> int:
    """The number of combinations that a project's sweep has in the end, at most."""
    space, run_cap = project.search_space, project.method.run_cap or 0
    if not project.method.is_adaptive:
        return project.space.count
    return min(run_cap, space.count) if space.is_finite else run_cap
