"""Rerun of tasks that have ended, page by page."""

from __future__ import annotations

import shutil

import pytest
from master_bench import Bench

from framework.scheduler import rerun


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


def test_a_large_sweep_runs_again_page_by_page_and_nothing_is_sent_meanwhile(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.run_to_the_end()
    monkeypatch.setattr(rerun, "PAGE", 1)
    monkeypatch.setattr(rerun, "PAGES_PER_TURN", 1)
    bench.ask("again", which="all")
    bench.messenger.beat("a", slots=4)
    assert [bench.turn(), bench.turn()] == [[], []]
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
    bench.run_to_the_end()
    monkeypatch.setattr(rerun, "PAGE", 1)
    monkeypatch.setattr(rerun, "PAGES_PER_TURN", 1)
    bench.ask("again", which="all")
    bench.messenger.beat("a", slots=4)
    assert [bench.turn(), bench.turn()] == [[], []]
    (bench.files.requests / "1.json").unlink()
    assert bench.run_to_the_end() == [1, 2]
