"""results.csv: rows, columns and quoting."""

import csv
import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from journal_bench import count_combinations, end, project_of, take_up

from framework.journal.ranking import best, render_best
from framework.journal.results_csv import column_names, shown, write_results
from framework.journal.store import Journal
from framework.messages.task_ids import task_id
from framework.space.product import Space
from framework.space.values import Value

FIXED = ["task", "state", "attempts", "host", "started", "seconds", "exit_code", "code", "reason"]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield journal


def read(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_rows_follow_the_sweep_and_columns_its_metaparameters_and_metrics(
    journal: Journal, tmp_path: Path
) -> None:
    of = project_of({"C": [0.1, 1], "text": ['a, "b"\n', "it's\r$*"], "on": [True]})
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
    of = project_of({"x": [1]})
    task = task_id(of.command, {"x": 1})
    journal.assign(task, 0, {"x": 1}, "a", 1.0)
    journal.lost(task, 1, "lost", final=True)
    write_results(of, journal, tmp_path / "results.csv")
    assert read(tmp_path / "results.csv")[1] == [task, "failed", "1", "a", "", "", "", "", "lost", "1"]


def test_a_removed_value_is_left_out_and_the_order_is_that_of_the_set(
    journal: Journal, tmp_path: Path
) -> None:
    before = project_of({"x": [1, 2, 3]})
    for number in range(3):
        end(journal, before, number, "done", {})
    now = project_of({"x": [3, 1]})
    take_up(journal, now)
    write_results(now, journal, tmp_path / "results.csv")
    assert [row[len(FIXED)] for row in read(tmp_path / "results.csv")] == ["x", "3", "1"]


def test_removed_values_follow_when_asked_for(journal: Journal, tmp_path: Path) -> None:
    before = project_of({"old": [1, 2], "x": [5]})
    end(journal, before, 1, "failed", {"aaa": 7})
    now = project_of({"x": [6, 5], "new": [3]})
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


def test_more_results_than_a_page_are_all_written(journal: Journal, tmp_path: Path) -> None:
    of = project_of({"x": list(range(2500))})
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


def test_a_column_name_that_is_taken_gets_a_prefix() -> None:
    assert column_names(["C", "host", "metric.C"], ["C", "code", "loss", "host"]) == [
        *FIXED, "C", "parameter.host", "metric.C", "metric.metric.C", "metric.code", "loss", "metric.host",
    ]  # fmt: skip


@given(
    st.lists(st.sampled_from([*FIXED, "x", "metric.x"]), unique=True),
    st.lists(st.sampled_from([*FIXED, "x", "y"]), unique=True),
)
def test_no_column_name_occurs_twice(parameters: list[str], metrics: list[str]) -> None:
    names = column_names(parameters, metrics)
    assert len(set(names)) == len(names) == len(FIXED) + len(parameters) + len(metrics)


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1, unique=True
    )
)
def test_any_text_value_is_read_back(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.mktemp("results")
    of = project_of({"x": list(texts)})
    with Journal(path / "journal.sqlite") as journal:
        with journal.batch():
            for number in range(len(texts)):
                end(journal, of, number, "done", {})
        write_results(of, journal, path / "results.csv")
    assert [row[len(FIXED)] for row in read(path / "results.csv")[1:]] == texts


def test_a_metaparameter_that_is_missing_from_a_combination_is_an_empty_cell(
    journal: Journal, tmp_path: Path
) -> None:
    space = Space({"x": [1, 2], "y": [3]}, conditions={"y": {"x": [2]}})
    of = dataclasses.replace(project_of({"x": [1]}), space=space)
    for number in range(2):
        end(journal, of, number, "done", {"accuracy": number})
    write_results(of, journal, tmp_path / "results.csv")
    assert [row[-3:] for row in read(tmp_path / "results.csv")] == [
        ["x", "y", "accuracy"], ["1", "", "0"], ["2", "3", "1"],
    ]  # fmt: skip
    assert render_best(of, best(of, journal, 2)).splitlines()[2].split()[:2] == ["0", "1"]


@pytest.mark.parametrize("removed", [False, True])
def test_no_combination_is_computed_to_write_the_results(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, removed: bool
) -> None:
    of = project_of({"x": list(range(10))})
    take_up(journal, of)
    for number in range(10):
        end(journal, of, number, "done", {"accuracy": number})
    calls = count_combinations(monkeypatch)
    write_results(of, journal, tmp_path / "results.csv", removed=removed)
    assert len(read(tmp_path / "results.csv")) == 1 + 10
    assert calls == []


def test_results_are_written_completely_or_not_at_all(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = project_of({"x": [1, 2]})
    end(journal, of, 0, "done", {})
    write_results(of, journal, tmp_path / "results.csv")
    before = (tmp_path / "results.csv").read_bytes()
    end(journal, of, 1, "done", {})

    def fail(*_: object) -> list[str]:
        raise KeyError("half way")

    monkeypatch.setattr("framework.journal.results_csv._row", fail)
    with pytest.raises(KeyError):
        write_results(of, journal, tmp_path / "results.csv")
    assert (tmp_path / "results.csv").read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir() if "results" in file.name) == ["results.csv"]


def test_many_metrics_cost_no_more_than_their_number() -> None:
    names = [f"metric {number}" for number in range(100_000)]
    began = time.process_time()
    assert column_names(["task"], ["task", *names])[9:12] == ["parameter.task", "metric.task", "metric 0"]
    assert time.process_time() - began < 5, "one search for each name would take minutes"
