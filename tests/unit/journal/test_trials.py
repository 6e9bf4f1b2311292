"""Trials: the combinations of an adaptive sweep that the journal knows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from journal_bench import project_of

from framework.journal.store import Journal
from framework.journal.trials import Trials, most_combinations, so_far
from framework.project.project import Project
from framework.space.distributions import Uniform
from framework.space.product import Space
from framework.space.sampling import Method


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield journal


def adaptive(space: Space, run_cap: int = 100) -> Project:
    method = Method("tpe", run_cap, 0)
    return dataclasses.replace(
        project_of({}), space=method.choose(space), search_space=space, method=method
    )  # fmt: skip


def assign(journal: Journal, project: Project, number: int, x: float) -> str:
    task = project.task_id({"x": x})
    journal.assign(task, number, {"x": x}, "a", 1.0)
    return task


def test_trials_are_the_known_tasks_of_the_space_in_the_order_of_their_numbers(journal: Journal) -> None:
    project = adaptive(Space({"x": Uniform(0, 1)}))
    second = assign(journal, project, 7, 0.25)
    first = assign(journal, project, 2, 0.5)
    assign(journal, project, 3, 5.0)  # not in the space
    journal.assign("f" * 16, 4, {"x": 0.75}, "a", 1.0)  # of another command
    trials = Trials(project, journal)
    assert [record.task for record in trials.records] == [first, second]
    assert trials.count == 2
    assert list(trials) == [{"x": 0.5}, {"x": 0.25}]
    for number in (-1, 2):
        with pytest.raises(IndexError):
            trials.combination(number)


def test_there_are_no_more_trials_than_the_cap(journal: Journal) -> None:
    project = adaptive(Space({"x": Uniform(0, 1)}), run_cap=2)
    tasks = [assign(journal, project, number, (number + 1) / 10) for number in range(4)]
    assert [record.task for record in Trials(project, journal).records] == tasks[:2]


def test_an_adaptive_project_has_its_trials_as_combinations_and_any_other_its_own(journal: Journal) -> None:
    project = adaptive(Space({"x": Uniform(0, 1)}))
    assign(journal, project, 0, 0.5)
    assert list(so_far(project, journal).space) == [{"x": 0.5}]
    other = project_of({"x": [1, 2]})
    assert so_far(other, journal) is other


def test_the_most_combinations_are_those_of_the_space_or_the_cap() -> None:
    assert most_combinations(project_of({"x": [1, 2, 3]})) == 3
    assert most_combinations(adaptive(Space({"x": Uniform(0, 1)}), run_cap=50)) == 50
    assert most_combinations(adaptive(Space({"x": [1, 2, 3]}), run_cap=50)) == 3
    assert most_combinations(adaptive(Space({"x": [1, 2, 3]}), run_cap=2)) == 2
