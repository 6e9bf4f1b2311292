"""Queue of an adaptive sweep: makes a combination when a host has room."""

from __future__ import annotations

import json

import pytest
from master_bench import AdaptiveBench

from framework.cli.task_selection import find_tasks
from framework.configuration.load import load_project
from framework.journal.store import Journal
from framework.journal.trials import so_far
from framework.messages.assignment import Assignment

TPE = "goal: minimize\nmethod: tpe\nrun_cap: {}\n"


@pytest.fixture
def bench(adaptive_bench: AdaptiveBench) -> AdaptiveBench:
    return adaptive_bench


def test_a_combination_is_made_when_a_host_has_room_for_it(bench: AdaptiveBench) -> None:
    bench.settings("{min: 0.0, max: 1.0}", TPE.format(5))
    assert bench.turn() == []
    assert not bench.rows()
    bench.messenger.beat("a", slots=2)
    seen = []
    while under_way := bench.turn():
        seen += [assignment.task for _, assignment in under_way]
        with Journal(bench.files.journal, read_only=True) as journal:
            assert [record.task for record in journal.in_order()] == seen  # none was made ahead of time
        for host, assignment in under_way:
            bench.ends(host, assignment, float(assignment.parameters["x"]))
    assert len(set(seen)) == 5
    assert (bench.status().total, bench.status().done, bench.status().finished) == (5, 5, True)
    assert [row["task"] for row in bench.rows()] == seen


def test_a_sweep_ends_with_its_space(bench: AdaptiveBench) -> None:
    bench.settings("{min: 1, max: 3}", TPE.format(50))
    bench.messenger.beat("a", slots=8)
    for host, assignment in bench.turn():
        bench.ends(host, assignment, 1.0)
    bench.turn()
    assert (bench.status().total, bench.status().done, bench.status().finished) == (3, 3, True)


def test_a_restarted_master_knows_the_combinations_that_were_tried_and_that_run(bench: AdaptiveBench) -> None:
    bench.settings("{min: 0.0, max: 1.0}", TPE.format(20))
    bench.messenger.beat("a", slots=3)
    sent: list[Assignment] = []
    for _ in range(4):
        under_way = bench.turn()
        sent += [assignment for _, assignment in under_way]
        for host, assignment in under_way[:2]:
            bench.ends(host, assignment, float(assignment.parameters["x"]))
    bench.turn()  # in it, two more are sent
    sent += [assignment for _, assignment in bench.messenger.sent]
    left = [each for each in sent if bench.state_of(each) != "done"]
    assert len(left) == 3
    bench.master = bench.start()  # the one before is gone, as if killed
    for assignment in left:
        bench.ends("a", assignment, 1.0)
    for _ in range(20):
        bench.messenger.beat("a", slots=3)
        for host, assignment in bench.turn():
            sent.append(assignment)
            bench.ends(host, assignment, float(assignment.parameters["x"]))
    bench.turn()
    assert len({assignment.task for assignment in sent}) == len(sent) == 20
    assert {assignment.attempt for assignment in sent} == {1}
    assert bench.status().finished
    with Journal(bench.files.journal, read_only=True) as journal:
        records = list(journal.in_order())
        assert [record.number for record in records] == list(range(20))
        assert [record.task for record in records] == [assignment.task for assignment in sent]


def test_combinations_of_a_grid_count_and_a_raised_cap_adds_tasks(bench: AdaptiveBench) -> None:
    bench.settings("[1, 2, 3, 4, 5, 6, 7, 8]", "goal: minimize\nrun_cap: 3\n")
    bench.messenger.beat("a", slots=8)
    for host, assignment in bench.turn():
        bench.ends(host, assignment, 1.0)
    bench.turn()
    bench.settings("[2, 3, 4, 5, 6, 7, 8]", TPE.format(3))
    bench.messenger.beat("a", slots=8)
    ((_, only),) = bench.turn()
    assert only.parameters["x"] not in (1, 2, 3)
    assert (bench.status().done, bench.status().total) == (2, 3)
    bench.settings("[2, 3, 4, 5, 6, 7, 8]", TPE.format(5))
    bench.messenger.beat("a", slots=8)
    more = bench.turn()
    assert len(more) == 2
    assert not {assignment.parameters["x"] for _, assignment in more} & {1, 2, 3, only.parameters["x"]}
    assert [row["x"] for row in bench.rows()] == ["2", "3"]


def test_a_failed_task_of_an_adaptive_sweep_is_tried_again_as_any_other(bench: AdaptiveBench) -> None:
    bench.write_project(x="{min: 0.0, max: 1.0}", retries=1, more=TPE.format(1))
    bench.master = bench.start()
    bench.messenger.beat("a")
    ((host, first),) = bench.turn()
    bench.ends(host, first, 1.0, "failed")
    ((_, again),) = bench.turn()
    assert (again.task, again.attempt, again.parameters) == (first.task, 2, first.parameters)
    bench.ends(host, again, 1.0, "failed")
    bench.turn()
    assert (bench.status().failed, bench.status().finished) == (1, True)


def test_a_task_of_an_adaptive_sweep_is_cancelled_by_its_number(bench: AdaptiveBench) -> None:
    bench.settings("{min: 0.0, max: 1.0}", TPE.format(2))
    bench.messenger.beat("a", slots=2)
    (_, first), (_, second) = bench.turn()
    current = load_project(bench.path / "code/v1/project", "p")
    with Journal(bench.files.journal, read_only=True) as journal:
        chosen = find_tasks(so_far(current, journal), ["2"])
    assert chosen == [(1, second.task)]
    bench.files.requests.mkdir()
    (bench.files.requests / "1.json").write_text(json.dumps({"action": "cancel", "tasks": chosen}))
    bench.turn()
    assert bench.messenger.stopped == [("a", f"{second.task}.1")]
    assert (bench.state_of(first), bench.state_of(second)) == ("sent", "cancelled")
