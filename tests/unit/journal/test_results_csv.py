"""results.csv and the best combinations."""

import csv
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.errors import UsageError
from framework.journal.ranking import best, best_over_seeds, render_best, render_seeds
from framework.journal.results_csv import column_names, shown, write_results
from framework.journal.store import Journal
from framework.journal.tally import STRIDE, Enumeration
from framework.messages.assignment import AttemptResult, AttemptState
from framework.messages.metrics import Metric
from framework.messages.task_ids import task_id
from framework.project.project import Project
from framework.space.product import Space
from framework.space.sampling import Method
from framework.space.values import Value

FIXED = ["task", "state", "attempts", "host", "started", "seconds", "exit_code", "code", "reason"]


def project(values: Mapping[str, list[Value]], metric: str | None = "accuracy") -> Project:
    return Project("p", Path("/"), ("run",), metric, "maximize", None, 0, None, Space(values))


def end(
    journal: Journal, of: Project, number: int, state: AttemptState, metrics: Mapping[str, Metric]
) -> None:
    parameters = of.space.combination(number)
    task = task_id(of.command, parameters)
    attempt = journal.assign(task, number, parameters, "a", 1.0)
    result = AttemptResult(
        task,
        attempt,
        "a",
        state,
        1_700_000_000.5,
        1.23456,
        0 if state == "done" else 1,
        "" if state == "done" else "exit code 1",
        metrics,
        "c1",
        "",
        "i",
        "p",
    )
    journal.finish(result, final=True)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield journal


def take_up(journal: Journal, now: Project) -> None:
    """Make it the journal's sweep, as a master does."""
    with journal.batch():
        assert not journal.open_sweep(now.definition)
        journal.mark((known.number, known.task) for known in Enumeration(now, journal).advance(STRIDE))
        journal.complete_sweep()


def read(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_the_table(journal: Journal, tmp_path: Path) -> None:
    of = project({"C": [0.1, 1], "text": ['a, "b"\n', "it's\r$*"], "on": [True]})
    end(journal, of, 2, "failed", {"f1": "nan"})
    end(journal, of, 0, "done", {"accuracy": 0.9, "aaa": 3})
    journal.assign(task_id(of.command, of.space.combination(1)), 1, of.space.combination(1), "a", 1.0)
    write_results(of, journal, tmp_path / "results.csv")
    first, third = (task_id(of.command, of.space.combination(number)) for number in (0, 2))
    started = "2023-11-14T22:13:20.500Z"
    assert read(tmp_path / "results.csv") == [
        [*FIXED, "C", "text", "on", "accuracy", "aaa", "f1"],
        [first, "done", "1", "a", started, "1.235", "0", "c1", "", "0.1", 'a, "b"\n', "true", "0.9", "3", ""],
        [
            third,
            "failed",
            "1",
            "a",
            started,
            "1.235",
            "1",
            "c1",
            "exit code 1",
            "1",
            'a, "b"\n',
            "true",
            "",
            "",
            "nan",
        ],
    ]
    assert b"\r\n" not in (tmp_path / "results.csv").read_bytes()


def test_a_task_without_any_result_that_failed(journal: Journal, tmp_path: Path) -> None:
    of = project({"x": [1]})
    task = task_id(of.command, {"x": 1})
    journal.assign(task, 0, {"x": 1}, "a", 1.0)
    journal.lost(task, 1, "lost", final=True)
    write_results(of, journal, tmp_path / "results.csv")
    assert read(tmp_path / "results.csv")[1] == [task, "failed", "1", "a", "", "", "", "", "lost", "1"]


def test_a_removed_value_is_left_out_and_the_order_is_that_of_the_set(
    journal: Journal, tmp_path: Path
) -> None:
    before = project({"x": [1, 2, 3]})
    for number in range(3):
        end(journal, before, number, "done", {})
    now = project({"x": [3, 1]})
    take_up(journal, now)
    write_results(now, journal, tmp_path / "results.csv")
    assert [row[len(FIXED)] for row in read(tmp_path / "results.csv")] == ["x", "3", "1"]


def test_removed_values_follow_when_asked_for(journal: Journal, tmp_path: Path) -> None:
    before = project({"old": [1, 2], "x": [5]})
    end(journal, before, 1, "failed", {"aaa": 7})
    now = project({"x": [6, 5], "new": [3]})
    take_up(journal, now)
    for number in range(2):
        end(journal, now, number, "done", {"accuracy": number})
    journal.assign("f" * 16, 0, {"older": 1}, "a", 1.0)
    write_results(now, journal, tmp_path / "all.csv", removed=True)
    assert [[row[1], *row[len(FIXED) :]] for row in read(tmp_path / "all.csv")] == [
        ["state", "x", "new", "old", "accuracy", "aaa"],
        ["done", "6", "3", "", "0", ""],
        ["done", "5", "3", "", "1", ""],
        ["failed", "5", "", "2", "", "7"],
    ]


def test_more_than_a_page(journal: Journal, tmp_path: Path) -> None:
    of = project({"x": list(range(2500))})
    with journal.batch():
        for number in range(2500):
            end(journal, of, number, "done", {"accuracy": number})
    write_results(of, journal, tmp_path / "results.csv")
    assert [row[len(FIXED)] for row in read(tmp_path / "results.csv")[1:]] == [
        str(number) for number in range(2500)
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        ([64, None, "é"], '[64, null, "é"]'),
        ({"a": 0.5}, '{"a": 0.5}'),
        (1e-5, "1e-05"),
    ],
)
def test_a_value_that_is_no_text_is_json(value: Value, text: str) -> None:
    assert shown(value) == text


def test_names_that_are_taken() -> None:
    assert column_names(["C", "host", "metric.C"], ["C", "code", "loss", "host"]) == [
        *FIXED, "C", "parameter.host", "metric.C", "metric.metric.C", "metric.code", "loss", "metric.host",
    ]  # fmt: skip


@given(
    st.lists(st.sampled_from([*FIXED, "x", "metric.x"]), unique=True),
    st.lists(st.sampled_from([*FIXED, "x", "y"]), unique=True),
)
def test_no_name_is_there_twice(parameters: list[str], metrics: list[str]) -> None:
    names = column_names(parameters, metrics)
    assert len(set(names)) == len(names) == len(FIXED) + len(parameters) + len(metrics)


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1, unique=True
    )
)
def test_any_text_is_read_back(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.mktemp("results")
    of = project({"x": list(texts)})
    with Journal(path / "journal.sqlite") as journal:
        with journal.batch():
            for number in range(len(texts)):
                end(journal, of, number, "done", {})
        write_results(of, journal, path / "results.csv")
    assert [row[len(FIXED)] for row in read(path / "results.csv")[1:]] == texts


def test_best(journal: Journal) -> None:
    of = project({"x": [1, 2, 3, 4, 5, 6]})
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
    of = project({"text": ["a\n\x1b[2J"]})
    end(journal, of, 0, "done", {"accuracy": 1})
    assert render_best(of, best(of, journal, 1)).splitlines()[1].split()[:2] == ["1", r"'a\n\x1b[2J'"]


def test_best_of_nothing(journal: Journal) -> None:
    assert best(project({"x": [1]}), journal, 5) == []
    with pytest.raises(UsageError, match="metric"):
        best(project({"x": [1]}, metric=None), journal, 5)


def test_the_best_over_their_seeds(journal: Journal) -> None:
    space = Space({"x": [1, 2, 3]}, seeds=3)
    of = dataclasses.replace(project({"x": [1]}), space=Method().choose(space), search_space=space)
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


def test_a_metaparameter_that_is_missing_from_a_combination_is_an_empty_cell(
    journal: Journal, tmp_path: Path
) -> None:
    space = Space({"x": [1, 2], "y": [3]}, conditions={"y": {"x": [2]}})
    of = dataclasses.replace(project({"x": [1]}), space=space)
    for number in range(2):
        end(journal, of, number, "done", {"accuracy": number})
    write_results(of, journal, tmp_path / "results.csv")
    assert [row[-3:] for row in read(tmp_path / "results.csv")] == [
        ["x", "y", "accuracy"], ["1", "", "0"], ["2", "3", "1"],
    ]  # fmt: skip
    assert render_best(of, best(of, journal, 2)).splitlines()[2].split()[:2] == ["0", "1"]
