"""Ranking of results by the metric of the project."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from journal_bench import end, project_of, take_up

from framework.errors import UsageError
from framework.journal.ranking import best, best_over_seeds, ranking, render_best, render_seeds
from framework.journal.store import Journal
from framework.messages.task_ids import task_id
from framework.space.product import Space
from framework.space.sampling import Method


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield journal


def test_the_best_tasks_by_metric_and_goal(journal: Journal) -> None:
    of = project_of({"x": [1, 2, 3, 4, 5, 6]})
    for number, (state, metrics) in enumerate(
        [("done", {"accuracy": 0.5}), ("failed", {"accuracy": 1.0}), ("done", {"accuracy": "nan"}),
         ("done", {}), ("done", {"accuracy": 1}), ("done", {"accuracy": 0.5})]
    ):  # fmt: skip
        end(journal, of, number, state, metrics)  # type: ignore[arg-type]
    assert [record.parameters["x"] for record in best(of, journal, 2)] == [5, 1]
    assert [record.parameters["x"] for record in best(of, journal, 9)] == [5, 1, 6]
    worst = dataclasses.replace(of, goal="minimize")
    assert [record.parameters["x"] for record in best(worst, journal, 9)] == [1, 6, 5]
    assert render_best(of, best(of, journal, 2)).splitlines()[:2] == [
        "accuracy  x  task",
        f"1         5  {task_id(of.command, {'x': 5})}",
    ]


def test_the_best_are_shown_in_one_line_each(journal: Journal) -> None:
    of = project_of({"text": ["a\n\x1b[2J"]})
    end(journal, of, 0, "done", {"accuracy": 1})
    assert render_best(of, best(of, journal, 1)).splitlines()[1].split()[:2] == ["1", r"'a\n\x1b[2J'"]


def test_a_sweep_without_results_has_no_best_task(journal: Journal) -> None:
    assert best(project_of({"x": [1]}), journal, 5) == []
    with pytest.raises(UsageError, match="metric"):
        best(project_of({"x": [1]}, metric=None), journal, 5)


def test_the_best_over_their_seeds(journal: Journal) -> None:
    space = Space({"x": [1, 2, 3]}, seeds=3)
    of = dataclasses.replace(project_of({"x": [1]}), space=Method().choose(space), search_space=space)
    for number, accuracy in enumerate([0.5, 0.6, 0.7, 1.0, 0.1, 0.1, 0.9]):
        end(journal, of, number, "done", {"accuracy": accuracy})
    end(journal, of, 7, "failed", {"accuracy": 0.0})
    assert render_seeds(of, best_over_seeds(of, journal, 5)).splitlines() == [
        "mean accuracy  deviation  seeds  x",
        "0.9                       1      3",
        "0.6            0.1        3      1",
        "0.4            0.52       3      2",
    ]
    assert [each.number for each in best_over_seeds(of, journal, 1)] == [1]


def test_a_ranking_is_over_the_seeds_if_there_are_any(journal: Journal) -> None:
    plain = project_of({"x": [1, 2]})
    for number in range(2):
        end(journal, plain, number, "done", {"accuracy": number})
    assert ranking(plain, journal, 1).splitlines()[0] == "accuracy  x  task"
    assert len(ranking(plain, journal, 1).splitlines()) == 2
    space = Space({"x": [1, 2]}, seeds=2)
    seeded = dataclasses.replace(plain, space=Method().choose(space), search_space=space)
    assert ranking(seeded, journal, 1).splitlines()[0] == "mean accuracy  deviation  seeds  x"


def test_only_tasks_of_the_current_sweep_are_ranked(journal: Journal) -> None:
    before = project_of({"x": [1, 2, 3]})
    for number in range(3):
        end(journal, before, number, "done", {"accuracy": number})
    now = project_of({"x": [2, 1]})
    take_up(journal, now)
    assert [record.parameters["x"] for record in best(now, journal, 9)] == [2, 1]
