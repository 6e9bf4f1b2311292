"""Queue of an indexed sweep: enumerated once, in order, and every end counted once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from journal_bench import count_combinations, end, project_of
from master_bench import Bench

from framework.journal.provenance import Provenance
from framework.journal.records import NewAttempt
from framework.journal.store import Journal
from framework.project.project import Project
from framework.scheduler import queue as queue_module
from framework.scheduler.queue import IndexedQueue, QueuedTask


def test_the_same_sweep_again_runs_nothing_and_a_new_value_only_the_new_tasks(bench: Bench) -> None:
    assert bench.run_to_the_end() == [1, 2, 3, 4]
    bench.master = bench.start()
    assert bench.run_to_the_end() == []
    bench.write_project(x="[0, 1, 5, 2, 3, 4]", version="v2")
    bench.master = bench.start()
    assert bench.run_to_the_end() == [0, 5]
    assert bench.status().outdated == 0, "no file but the sets' own has changed"
    bench.write_project(x="[5, 1]", version="v3")
    bench.master = bench.start()
    assert bench.run_to_the_end() == []
    assert [row["x"] for row in bench.rows()] == ["5", "1"]


def test_tasks_that_have_ended_are_counted_before_the_search_meets_them(bench: Bench) -> None:
    assert bench.run_to_the_end({3: "failed"}) == [1, 2, 3, 4]
    bench.write_project(x="[20, 21, 22, 23, 1, 2, 3, 4, 5, 10]")
    bench.master = bench.start()
    bench.messenger.beat("a", slots=1)
    ((host, assignment),) = bench.turn()
    assert assignment.parameters == {"x": 20}
    status = bench.status()
    assert (status.done, status.failed, status.waiting) == (3, 1, 6)
    bench.ask("cancel", 9)
    bench.turn()
    assert bench.status().cancelled == 1
    bench.messenger.result(host, assignment)
    assert bench.run_to_the_end() == [21, 22, 23, 5]


def test_a_task_that_ends_before_the_search_has_met_it_is_counted_once(bench: Bench) -> None:
    bench.messenger.beat("a", slots=4)
    sent = bench.turn()
    bench.write_project(x="[7, 8, 4, 3, 2, 1]")
    bench.master = bench.start()
    bench.turn()
    for host, assignment in sent:
        bench.messenger.result(host, assignment)
    bench.turn()
    assert (bench.status().done, bench.status().waiting) == (4, 2)
    assert bench.run_to_the_end() == [7, 8]


# The queue alone.


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield journal


def queue_of(project: Project, journal: Journal) -> IndexedQueue:
    return IndexedQueue(project, journal, Provenance(journal, "", ""))


def nothing_is_sent(_: str) -> bool:
    return False


def taken(queue: IndexedQueue) -> list[int]:
    """The numbers of all tasks, in the order in which they are taken."""
    numbers: list[int] = []
    while True:
        queue.count_known()
        queue.look_ahead(nothing_is_sent)
        queued = queue.take()
        if queued is None:
            if queue.is_counted and queue.is_ready:
                return numbers
            continue
        numbers.append(queued.number)


@pytest.mark.parametrize("limit", [1, 2, 3, 10_000])
@pytest.mark.parametrize("page", [1, 2, 512])
def test_every_combination_without_a_result_is_taken_once_and_in_order(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, limit: int, page: int
) -> None:
    monkeypatch.setattr(queue_module, "SCAN_LIMIT", limit)
    monkeypatch.setattr(queue_module, "PAGE", page)
    project = project_of({"x": list(range(9))})
    for number in (0, 1, 4, 8):
        end(journal, project, number, "failed" if number == 4 else "done", {})
    queue = queue_of(project, journal)
    assert not queue.is_exhausted
    assert taken(queue) == [2, 3, 5, 6, 7]
    assert queue.is_exhausted
    assert (queue.tally.done, queue.tally.failed) == (3, 1)
    assert not queue.is_finished


def test_a_sweep_that_the_journal_knows_is_not_enumerated_again(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = project_of({"x": list(range(50))})
    taken(queue_of(project, journal))
    for number in range(50):
        end(journal, project, number, "done", {})
    calls = count_combinations(monkeypatch)
    queue = queue_of(project, journal)
    assert queue.is_counted
    assert taken(queue) == []
    assert queue.is_finished
    assert calls == []


def test_only_the_combinations_that_are_taken_are_computed_after_a_restart(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = project_of({"x": list(range(50))})
    taken(queue_of(project, journal))
    for number in range(47):
        end(journal, project, number, "done", {})
    calls = count_combinations(monkeypatch)
    assert taken(queue_of(project, journal)) == [47, 48, 49]
    assert calls == [47, 48, 49]


@pytest.mark.parametrize("limit", [1, 2, 3, 10_000])
def test_a_changed_sweep_is_enumerated_exactly_once_and_its_tasks_are_marked(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(queue_module, "SCAN_LIMIT", limit)
    before = project_of({"x": [1, 2, 3, 4]})
    taken(queue_of(before, journal))
    for number in range(4):
        end(journal, before, number, "done", {})
    now = project_of({"x": [9, 4, 2, 8, 1]})
    calls = count_combinations(monkeypatch)
    queue = queue_of(now, journal)
    assert not queue.is_counted
    while not queue.is_counted:
        assert not journal.has_sweep(now.definition), "its tasks are not all marked yet"
        queue.count_known()
    assert sorted(calls) == [0, 1, 2, 3, 4]
    assert journal.has_sweep(now.definition)
    marked = {number: member.task for number, member in journal.members(range(10)).items()}
    assert marked == {1: now.task_id({"x": 4}), 2: now.task_id({"x": 2}), 4: now.task_id({"x": 1})}
    assert (queue.tally.done, queue.tally.total) == (3, 5)
    calls.clear()
    queue.count_known()
    assert calls == [], "it is complete"
    assert taken(queue) == [0, 3]
    assert calls == [0, 3]


def test_an_enumeration_that_a_killed_master_began_begins_anew(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_module, "SCAN_LIMIT", 2)
    before = project_of({"x": [1, 2, 3, 4]})
    for number in range(4):
        end(journal, before, number, "done", {})
    now = project_of({"x": [4, 3, 2, 1, 0]})
    first = queue_of(now, journal)
    first.count_known()
    assert first.tally.done == 2
    second = queue_of(now, journal)
    assert (second.is_counted, second.tally.done) == (False, 0)
    assert taken(second) == [4]
    assert second.tally.done == 4


def test_a_failed_task_of_an_older_sweep_is_counted_and_not_sent_again(journal: Journal) -> None:
    before = project_of({"x": [1, 2, 3]})
    taken(queue_of(before, journal))
    end(journal, before, 1, "failed", {})
    queue = queue_of(project_of({"x": [3, 2]}), journal)
    assert taken(queue) == [0]
    assert queue.tally.failed == 1


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_a_task_that_is_cancelled_is_counted_wherever_the_search_is(journal: Journal, number: int) -> None:
    project = project_of({"x": [0, 1, 2, 3]})
    queue = queue_of(project, journal)
    queue.count_known()
    queue.look_ahead(nothing_is_sent)
    first = queue.take()
    assert first is not None
    assert first.number == 0, "the search is at number 1 now"
    task = project.task_id({"x": number})
    assert journal.cancel(task, number, {"x": number}, 1.0)
    queue.close(task)
    assert queue.tally.cancelled == 1
    assert taken(queue) == [other for other in (1, 2, 3) if other != number]


def test_a_task_that_is_not_in_the_sweep_is_not_counted(journal: Journal) -> None:
    before = project_of({"x": [7, 0, 1]})
    journal.open_sweep(before.definition)
    end(journal, before, 0, "done", {})
    queue = queue_of(project_of({"x": [0, 1]}), journal)
    queue.count_known()
    queue.close(before.task_id({"x": 7}))
    assert queue.tally.ended == 0


def test_a_task_that_waits_avoids_the_host_of_its_last_attempt_after_a_restart(journal: Journal) -> None:
    project = project_of({"x": [0, 1]})
    taken(queue_of(project, journal))
    end(journal, project, 0, "failed", {}, host="bad", final=False)
    queue = queue_of(project, journal)
    queue.count_known()
    queue.look_ahead(nothing_is_sent)
    queued = queue.take()
    assert queued == QueuedTask(0, project.task_id({"x": 0}), "bad", {"x": 0})
    queue.look_ahead(nothing_is_sent)
    queued = queue.take()
    assert queued is not None
    assert (queued.number, queued.avoid) == (1, "")


def test_a_task_is_requeued_only_if_it_waits_and_only_once(journal: Journal) -> None:
    project = project_of({"x": [0, 1]})
    queue = queue_of(project, journal)
    assert taken(queue) == [0, 1]
    task = project.task_id({"x": 0})
    assert not queue.requeue(task), "the journal does not know it"
    journal.assign(task, 0, {"x": 0}, "a", 1.0)
    assert not queue.requeue(task), "it is sent"
    journal.lost(task, 1, "lost", final=False)
    assert queue.requeue(task)
    assert not queue.requeue(task), "it is queued"
    assert queue.take() == QueuedTask(0, task, "a", {"x": 0})
    assert queue.take() is None
    assert queue.requeue(task)
    queue.withdraw(task)
    assert queue.take() is None
    other = project_of({"x": [5]})
    journal.assign(other.task_id({"x": 5}), 0, {"x": 5}, "a", 1.0)
    journal.lost(other.task_id({"x": 5}), 1, "lost", final=False)
    assert not queue.requeue(other.task_id({"x": 5})), "it is not in the sweep"


def test_tasks_to_be_sent_again_come_first_in_the_order_of_their_numbers(journal: Journal) -> None:
    project = project_of({"x": list(range(5))})
    queue = queue_of(project, journal)
    queue.count_known()
    tasks = []
    for _ in range(3):
        queue.look_ahead(nothing_is_sent)
        queued = queue.take()
        assert queued is not None
        tasks.append(queued)
    queue.look_ahead(nothing_is_sent)
    for queued in (tasks[2], tasks[0]):
        queue.put_back(queued)
    again = [queue.take() for _ in range(3)]
    assert [queued.number for queued in again if queued] == [0, 2, 3]


def test_a_task_that_is_sent_is_not_taken_but_is_open(journal: Journal) -> None:
    project = project_of({"x": [0, 1]})
    sent = project.task_id({"x": 0})
    queue = queue_of(project, journal)
    queue.count_known()
    queue.look_ahead(lambda task: task == sent)
    queued = queue.take()
    assert queued is not None
    assert queued.number == 1
    assert queue.is_open(sent)
    assert not queue.is_open(project.task_id({"x": 5}))


def test_as_many_tasks_are_found_at_once_as_are_wanted(journal: Journal) -> None:
    project = project_of({"x": list(range(9))})
    end(journal, project, 1, "done", {})
    queue = queue_of(project, journal)
    queue.count_known()
    sent = project.task_id({"x": 3})
    queue.look_ahead(lambda task: task == sent, 4)
    queue.look_ahead(nothing_is_sent, 100)
    withdrawn = project.task_id({"x": 4})
    queue.withdraw(withdrawn)
    assert [queued.number for _ in range(4) if (queued := queue.take())] == [0, 2, 5], "no more were wanted"
    assert not queue.is_ready
    assert queue.is_open(sent)
    queue.look_ahead(nothing_is_sent, 100)
    assert [queued.number for _ in range(4) if (queued := queue.take())] == [6, 7, 8]


def test_a_task_that_is_withdrawn_and_queued_again_is_taken_once(journal: Journal) -> None:
    project = project_of({"x": [0, 1]})
    queue = queue_of(project, journal)
    queue.count_known()
    queue.look_ahead(nothing_is_sent)
    queued = queue.take()
    assert queued is not None
    for _ in range(3):
        queue.put_back(queued)
        queue.withdraw(queued.task)
    queue.put_back(queued)
    assert queue.take() == queued
    assert queue.take() is None


def test_thousands_of_tasks_that_are_sent_again_cost_no_more_than_their_number(journal: Journal) -> None:
    count = 5000
    project = project_of({"x": list(range(count))})
    queue = queue_of(project, journal)
    queue.count_known()
    queue.look_ahead(nothing_is_sent, count)
    tasks = [queued for _ in range(count) if (queued := queue.take())]
    assert len(tasks) == count
    journal.assign_all([NewAttempt(each.task, each.number, each.parameters, "a") for each in tasks], 1.0)
    with journal.batch():
        for each in tasks:
            journal.lost(each.task, 1, "lost", final=False)
    began = time.process_time()
    assert all(queue.requeue(each.task) for each in tasks)
    assert not any(queue.requeue(each.task) for each in tasks)
    for each in tasks[1:]:
        queue.withdraw(each.task)
    assert [queue.take(), queue.take()] == [QueuedTask(0, tasks[0].task, "a", {"x": 0}), None]
    assert time.process_time() - began < 5


# Restarted masters.


def test_a_restarted_master_computes_no_combination_of_an_unchanged_sweep_that_is_done(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.write_project(x=str(list(range(1, 31))))
    bench.master = bench.start()
    assert len(bench.run_to_the_end()) == 30
    calls = count_combinations(monkeypatch)
    bench.master = bench.start()
    assert bench.run_to_the_end() == []
    assert bench.status().done == 30
    assert len(bench.rows()) == 30
    assert calls == []
