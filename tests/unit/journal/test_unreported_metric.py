"""What is said when tasks are done and have not reported the project's metric."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from framework.journal.ranking import ranking
from framework.journal.store import Journal
from framework.journal.unreported_metric import metric_warning
from framework.messages.assignment import AttemptResult, AttemptState
from framework.messages.metrics import Metric
from framework.project.project import Project
from framework.space.product import Space

PROJECT = Project("p", Path("/"), ("run",), "accuracy", "maximize", None, 0, None, Space({"x": range(40)}))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield journal


def end(journal: Journal, number: int, state: AttemptState = "done", /, **metrics: Metric) -> None:
    parameters = PROJECT.space.combination(number)
    task = PROJECT.task_id(parameters)
    attempt = journal.assign(task, number, parameters, "a", 1.0)
    result = AttemptResult(task, attempt, "a", state, 1.0, 1.0, 0, "", metrics, "c", "", "i", "p")
    journal.finish(result, final=True)


def test_nothing_is_said_before_a_task_is_done_or_once_all_have_reported(journal: Journal) -> None:
    assert metric_warning(PROJECT, journal) == ""
    end(journal, 0, "failed")
    assert metric_warning(PROJECT, journal) == ""
    end(journal, 1, accuracy=0.5)
    end(journal, 2, accuracy="nan")
    assert metric_warning(PROJECT, journal) == ""


def test_a_metric_that_nobody_reports_and_what_is_reported_in_its_place(journal: Journal) -> None:
    end(journal, 0)
    assert metric_warning(PROJECT, journal) == (
        "no task has reported accuracy, or any other metric; print lines such as 'accuracy=0.5'"
    )
    end(journal, 1, loss=0.5, acc=1)
    assert metric_warning(PROJECT, journal) == "no task has reported accuracy; reported: acc, loss"
    end(journal, 2, "done", **{f"m{number:02}": number for number in range(20)})
    assert metric_warning(PROJECT, journal).endswith("reported: acc, loss, m00, m01, m02, m03, m04, m05, "
                                                     "m06, m07 and 12 more")  # fmt: skip
    end(journal, 3, accuracy="high")
    assert metric_warning(PROJECT, journal) == "no task has reported accuracy as a number"
    assert ranking(PROJECT, journal, 5) == "", "no table without a row"


def test_a_metric_that_some_tasks_do_not_report(journal: Journal) -> None:
    end(journal, 0, accuracy=0.5)
    end(journal, 1, loss=0.5)
    end(journal, 2, accuracy="high")
    assert metric_warning(PROJECT, journal) == "2 of 3 tasks that are done have not reported accuracy"


def test_a_metric_that_is_never_a_finite_number(journal: Journal) -> None:
    end(journal, 0, accuracy="nan")
    end(journal, 1, accuracy="inf")
    assert metric_warning(PROJECT, journal).startswith("accuracy is nan or infinite in all tasks")
    assert ranking(PROJECT, journal, 5) == ""


def test_a_number_of_an_older_journal_that_is_larger_than_all_floats(journal: Journal) -> None:
    end(journal, 0, accuracy=10**400)
    end(journal, 1, accuracy=0.5)
    assert "0.5" in ranking(PROJECT, journal, 5)
    assert "000" not in ranking(PROJECT, journal, 5).replace("task", "").split("\n")[0]


def test_a_running_task_has_reported_too(journal: Journal) -> None:
    assert not journal.has_metric("accuracy")
    parameters = PROJECT.space.combination(0)
    task = PROJECT.task_id(parameters)
    attempt = journal.assign(task, 0, parameters, "a", 1.0)
    journal.metrics(task, attempt, {"accuracy": "high"})
    assert not journal.has_metric("accuracy")
    journal.metrics(task, attempt, {"accuracy": "nan"})
    assert journal.has_metric("accuracy")
