"""Tally of a sweep: what has ended is counted once, and nothing is enumerated that the journal knows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from journal_bench import count_combinations, end, project_of, take_up

from framework.journal import tally as tally_module
from framework.journal.provenance import Provenance, note_program
from framework.journal.records import TaskOutcome
from framework.journal.store import Journal
from framework.journal.tally import Enumeration, Tally, tally_sweep, tasks_of
from framework.messages.task_ids import task_id


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield journal


def test_each_outcome_is_counted_in_its_state(journal: Journal) -> None:
    note_program(journal, "old", "another")
    tally = Tally(9, Provenance(journal, "now", "i"))
    tally.count(TaskOutcome("done", "c", "i"))
    tally.count(TaskOutcome("done", "old", "i"), 2)
    tally.count(TaskOutcome("failed", "old", "i"))
    tally.count(TaskOutcome("cancelled", "", ""))
    tally.count(TaskOutcome("pruned", "c", "i"))
    assert (tally.done, tally.failed, tally.cancelled, tally.pruned) == (3, 1, 1, 1)
    assert (tally.ended, tally.outdated, tally.total) == (6, 2, 9)


def test_the_tally_of_the_current_sweep_is_read_without_enumerating_it(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = project_of({"x": list(range(20))})
    take_up(journal, project)
    for number in range(12):
        end(journal, project, number, "failed" if number == 3 else "done", {})
    journal.cancel(project.task_id({"x": 15}), 15, {"x": 15}, 1.0)
    calls = count_combinations(monkeypatch)
    tally = tally_sweep(project, journal, Provenance(journal, "", ""))
    assert (tally.done, tally.failed, tally.cancelled, tally.ended, tally.total) == (11, 1, 1, 13, 20)
    assert calls == []


def test_the_tally_of_another_sweep_is_enumerated_and_nothing_is_written(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = project_of({"x": list(range(20))})
    take_up(journal, before)
    for number in range(12):
        end(journal, before, number, "done", {})
    journal.assign(before.task_id({"x": 13}), 13, {"x": 13}, "a", 1.0)
    other = project_of({"x": [100, 3, 13, 7, 101]})
    with Journal(journal.path, read_only=True) as reader:
        calls = count_combinations(monkeypatch)
        tally = tally_sweep(other, reader, Provenance(reader, "", ""))
    assert (tally.done, tally.ended, tally.total) == (2, 2, 5)
    assert sorted(calls) == [0, 1, 2, 3, 4]
    assert journal.has_sweep(before.definition)


@pytest.mark.parametrize("page", [1, 2, 3, 7, 1000])
def test_an_enumeration_finds_every_known_task_once_whatever_its_pages(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(tally_module, "PAGE", page)
    project = project_of({"x": list(range(6))})
    for number in (5, 0, 3):
        end(journal, project, number, "done", {})
    for step in (1, 2, 3, 6, 100):
        enumeration = Enumeration(project, journal)
        found = []
        while not enumeration.is_complete:
            before = enumeration.position
            found += [(known.number, known.task, known.outcome.state) for known in enumeration.advance(step)]
            assert before < enumeration.position <= 6
        assert found == [(number, project.task_id({"x": number}), "done") for number in (0, 3, 5)]


def test_an_enumeration_ends_where_the_journal_has_no_other_task(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tally_module, "PAGE", 2)
    project = project_of({"x": list(range(100))})
    end(journal, project, 1, "done", {})
    calls = count_combinations(monkeypatch)
    enumeration = Enumeration(project, journal)
    assert [known.number for known in enumeration.advance(2)] == [1]
    assert not enumeration.is_complete
    assert list(enumeration.advance(2)) == []
    assert enumeration.is_complete
    assert calls == [0, 1]


def test_an_enumeration_of_an_empty_journal_looks_at_no_combination(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = count_combinations(monkeypatch)
    enumeration = Enumeration(project_of({"x": list(range(100))}), journal)
    assert list(enumeration.advance(50)) == []
    assert (enumeration.is_complete, calls) == (True, [])


def test_the_tasks_of_combinations_are_in_the_order_of_their_numbers() -> None:
    project = dataclasses.replace(project_of({"x": [5, 6, 7]}), command=("train",))
    assert tasks_of(project, range(1, 3)) == [task_id(("train",), {"x": x}) for x in (6, 7)]
