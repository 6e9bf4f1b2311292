"""Rerun of tasks that have ended, page by page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from journal_bench import end, project_of, take_up
from master_bench import Bench

from framework.journal.provenance import Provenance, note_program
from framework.journal.store import Journal
from framework.messages.requests import Which
from framework.scheduler import queue as queue_module
from framework.scheduler import rerun
from framework.scheduler.rerun import Rerun


def test_failed_tasks_run_again_with_all_their_retries_when_asked_for(bench: Bench) -> None:
    bench.write_project(x="[1, 2, 3, 4]", retries=1)
    bench.master = bench.start()
    assert sorted(bench.run_to_the_end({2: "failed", 4: "timeout"})) == [1, 2, 2, 3, 4, 4]
    bench.ask("cancel", 0)
    bench.ask("again", which="failed")
    assert sorted(bench.run_to_the_end({4: "failed"})) == [2, 4, 4]
    assert [(row["x"], row["state"], row["attempts"]) for row in bench.rows()] == [
        ("1", "done", "1"), ("2", "done", "3"), ("3", "done", "1"), ("4", "failed", "4"),
    ]  # fmt: skip
    assert (bench.status().done, bench.status().failed) == (3, 1)


def test_all_tasks_run_again_and_a_late_result_of_before_counts_no_more(bench: Bench) -> None:
    bench.write_project(x="[1, 2]")
    bench.master = bench.start()
    bench.messenger.beat("a", slots=2)
    (host, first), _ = bench.turn()
    bench.ask("cancel", 0, 1)
    bench.turn()
    bench.ask("again", which="all")
    again = bench.turn()
    assert [(assignment.attempt, assignment.parameters) for _, assignment in again] == [
        (2, {"x": 1}), (2, {"x": 2}),
    ]  # fmt: skip
    bench.messenger.result(host, first)
    assert bench.turn() == []
    assert bench.status().done == 0
    for _ in range(2):
        bench.messenger.beat("a", slots=2, running=[f"{first.task}.1", f"{first.task}.2"])
        bench.turn()
    assert set(bench.messenger.stopped) >= {("a", f"{first.task}.1")}
    assert ("a", f"{first.task}.2") not in bench.messenger.stopped
    for host, assignment in again:
        bench.messenger.result(host, assignment)
    bench.turn()
    assert [(row["state"], row["attempts"]) for row in bench.rows()] == [("done", "2")] * 2


def test_tasks_run_again_by_name(bench: Bench) -> None:
    bench.run_to_the_end()
    bench.ask("again", 1, 77)
    assert bench.run_to_the_end() == [2]
    assert bench.status().done == 4


def test_results_of_another_program_or_image_are_counted_and_kept(bench: Bench) -> None:
    bench.run_to_the_end({4: "failed"})
    assert bench.status().outdated == 0
    bench.write_project(x="[1, 2, 3, 4, 5]", version="v2")
    (bench.path / "code/v2/project/train.py").write_text("print('better')")
    bench.master = bench.start()
    assert bench.run_to_the_end(code="v2") == [5]
    assert (bench.status().outdated, bench.status().done) == (3, 4)
    assert any("3 of 4 results were made with other files" in notice for notice in bench.status().notices)
    bench.ask("again", which="outdated")
    assert bench.run_to_the_end(code="v2") == [1, 2, 3]
    assert bench.status().outdated == 0
    # Its files are gone where a master begins anew; the journal knows what was in them.
    shutil.rmtree(bench.path / "code/v2")
    bench.write_project(x="[1, 2, 3, 4, 5]", version="v1")
    bench.master = bench.start()
    bench.turn()
    assert bench.status().outdated == 4
    bench.write_project(x="[1, 2, 3, 4, 5]", version="v3")
    (bench.path / "code/v3/project/train.py").write_text("print('better')")
    bench.master = bench.start(image="another")
    bench.turn()
    assert bench.status().outdated == 4


def run_again_page_by_page(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have all tasks run again, of which two have been looked at."""
    bench.run_to_the_end()
    monkeypatch.setattr(rerun, "PAGE", 1)
    monkeypatch.setattr(rerun, "PAGES_PER_TURN", 1)
    bench.ask("again", which="all")
    bench.messenger.beat("a", slots=4)
    assert [bench.turn(), bench.turn()] == [[], []]


def test_a_large_sweep_runs_again_page_by_page_and_nothing_is_sent_meanwhile(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_again_page_by_page(bench, monkeypatch)
    assert not bench.status().finished
    assert len(list(bench.files.requests.iterdir())) == 1
    bench.master = bench.start()  # it died half-way
    bench.messenger.beat("a", slots=4)
    sent = [assignment for _ in range(6) for _, assignment in bench.turn()]
    assert [(assignment.attempt, assignment.parameters["x"]) for assignment in sent] == [
        (2, 1), (2, 2), (2, 3), (2, 4),
    ]  # fmt: skip
    assert list(bench.files.requests.iterdir()) == []


def test_a_request_that_is_taken_back_half_way_holds_nothing_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_again_page_by_page(bench, monkeypatch)
    (bench.files.requests / "1.json").unlink()
    assert bench.run_to_the_end() == [1, 2]


def test_a_rerun_waits_until_the_sweep_is_enumerated(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bench.run_to_the_end() == [1, 2, 3, 4]
    bench.write_project(x="[9, 4, 3, 2, 1]")
    monkeypatch.setattr(queue_module, "SCAN_LIMIT", 2)
    bench.master = bench.start()
    bench.ask("again", which="all")
    bench.messenger.beat("a", slots=10)
    for _ in range(2):
        assert bench.turn() == []
        assert len(list(bench.files.requests.iterdir())) == 1
        assert not bench.status().finished
    sent = [assignment for _ in range(8) for _, assignment in bench.turn()]
    assert [(assignment.parameters["x"], assignment.attempt) for assignment in sent] == [
        (9, 1), (4, 2), (3, 2), (2, 2), (1, 2),
    ]  # fmt: skip
    assert list(bench.files.requests.iterdir()) == []
    assert bench.status().done == 0


# The rerun alone.


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield journal


def rerun_of(journal: Journal, which: Which) -> Rerun:
    return Rerun("1.json", which, journal, Provenance(journal, "now", ""))


@pytest.mark.parametrize(("which", "again"), [("failed", [1]), ("outdated", [0]), ("all", [0, 1, 2, 3])])
@pytest.mark.parametrize("page", [1, 2, 4, 1000])
def test_the_tasks_of_a_kind_run_again_and_no_others(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, which: Which, again: list[int], page: int
) -> None:
    monkeypatch.setattr(rerun, "PAGE", page)
    monkeypatch.setattr(rerun, "PAGES_PER_TURN", 1)
    project = project_of({"x": list(range(6))})
    take_up(journal, project)
    note_program(journal, "c1", "another")
    end(journal, project, 0, "done", {})
    end(journal, project, 1, "failed", {})
    journal.cancel(project.task_id({"x": 2}), 2, {"x": 2}, 1.0)
    journal.assign(project.task_id({"x": 3}), 3, {"x": 3}, "a", 1.0)
    journal.prune(project.task_id({"x": 3}), "pruned")
    journal.assign(project.task_id({"x": 4}), 4, {"x": 4}, "a", 1.0)
    before = project_of({"x": [7]})
    journal.assign(before.task_id({"x": 7}), 5, {"x": 7}, "a", 1.0)
    request = rerun_of(journal, which)
    turns = 1
    while not request.advance():
        turns += 1
    assert turns <= 8
    members = journal.members(range(10))
    assert [number for number, member in members.items() if member.state == "waiting"] == again
    assert members[4].state == "sent"


def test_tasks_that_are_not_in_the_sweep_do_not_run_again(journal: Journal) -> None:
    before = project_of({"x": [1, 2]})
    for number in range(2):
        end(journal, before, number, "done", {})
    take_up(journal, project_of({"x": [2]}))
    assert rerun_of(journal, "all").advance()
    assert journal.counts()["waiting"] == 1


def test_a_rerun_of_nothing_is_complete_at_once(journal: Journal) -> None:
    assert rerun_of(journal, "all").advance()
    take_up(journal, project_of({"x": [1, 2]}))
    assert rerun_of(journal, "failed").advance()
