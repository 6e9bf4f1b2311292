"""Queue of an adaptive sweep: makes a combination when a host has room."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

import pytest
from journal_bench import RESULT, project_of
from master_bench import AdaptiveBench
from project_directory import numeric

from framework.cli.task_selection import find_tasks
from framework.configuration.load import load_project
from framework.journal.provenance import Provenance
from framework.journal.store import Journal
from framework.journal.trials import so_far
from framework.messages.assignment import Assignment
from framework.project.project import Project
from framework.scheduler.adaptive_queue import AdaptiveQueue
from framework.scheduler.queue import QueuedTask
from framework.space.distributions import Uniform
from framework.space.product import Space
from framework.space.sampling import Method
from framework.space.values import Value

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
            bench.ends(host, assignment, numeric(assignment.parameters["x"]))
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
            bench.ends(host, assignment, numeric(assignment.parameters["x"]))
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
            bench.ends(host, assignment, numeric(assignment.parameters["x"]))
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


# The queue alone, with a study that suggests what it is told.


class Suggestions:
    """Stands for a study: suggests these values of x, one after the other."""

    def __init__(self, project: Project, *values: float) -> None:
        self._project = project
        self.values = list(values)

    def suggest(self, number: int, tried: Container[str]) -> tuple[str, dict[str, Value]] | None:
        if not self.values:
            return None
        parameters: dict[str, Value] = {"x": self.values.pop(0)}
        return self._project.task_id(parameters), parameters


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield journal


def adaptive(run_cap: int) -> Project:
    method, space = Method("tpe", run_cap, 0), Space({"x": Uniform(0, 1)})
    project = dataclasses.replace(project_of({}), space=method.choose(space), search_space=space)
    return dataclasses.replace(project, method=method)


def queue_of(project: Project, journal: Journal, *values: float) -> AdaptiveQueue:
    study: Any = Suggestions(project, *values)
    return AdaptiveQueue(project, journal, Provenance(journal, "", ""), study)


def test_suggestions_are_taken_until_the_cap(journal: Journal) -> None:
    project = adaptive(2)
    queue = queue_of(project, journal, 0.25, 0.5, 0.75)
    taken = [queue.take() for _ in range(3)]
    assert taken[:2] == [
        QueuedTask(number, project.task_id({"x": x}), "", {"x": x}) for number, x in ((0, 0.25), (1, 0.5))
    ]
    assert taken[2] is None
    assert (queue.is_ready, queue.is_counted, queue.tally.total) == (True, True, 2)


def test_a_study_without_further_suggestions_ends_the_sweep(journal: Journal) -> None:
    project = adaptive(9)
    queue = queue_of(project, journal, 0.25)
    assert queue.take() is not None
    assert queue.take() is None
    assert (queue.tally.total, queue.is_finished) == (1, False)
    end_trial(journal, project, 0, 0.25)
    queue.close(project.task_id({"x": 0.25}))
    assert queue.is_finished
    queue.close(project.task_id({"x": 0.25}))
    assert queue.tally.done == 1, "it is counted once"


def end_trial(journal: Journal, project: Project, number: int, x: float) -> str:
    task = project.task_id({"x": x})
    attempt = journal.assign(task, number, {"x": x}, "a", 1.0)
    journal.finish(dataclasses.replace(RESULT, task=task, attempt=attempt), final=True)
    return task


def test_known_trials_are_marked_and_counted_and_those_that_wait_are_taken_first(journal: Journal) -> None:
    project = adaptive(5)
    done = end_trial(journal, project, 3, 0.25)
    waiting, running = project.task_id({"x": 0.5}), project.task_id({"x": 0.75})
    journal.assign(waiting, 4, {"x": 0.5}, "bad", 1.0)
    journal.lost(waiting, 1, "lost", final=False)
    journal.assign(running, 6, {"x": 0.75}, "a", 1.0)
    queue = queue_of(project, journal, 0.1)
    assert journal.has_sweep(project.definition)
    assert {number: member.task for number, member in journal.members(range(9)).items()} == {
        0: done, 1: waiting, 2: running,
    }  # fmt: skip
    assert (queue.tally.done, queue.tally.total) == (1, 5)
    assert queue.take() == QueuedTask(1, waiting, "bad", {"x": 0.5})
    assert (queue.is_open(done), queue.is_open(waiting), queue.is_open(running)) == (False, True, True)
    following = queue.take()
    assert following is not None
    assert (following.number, following.parameters) == (3, {"x": 0.1})


def test_a_trial_is_requeued_only_if_it_waits_and_only_once(journal: Journal) -> None:
    project = adaptive(5)
    queue = queue_of(project, journal, 0.25)
    taken = queue.take()
    assert taken is not None
    assert not queue.requeue(taken.task), "the journal does not know it"
    journal.assign(taken.task, 0, {"x": 0.25}, "a", 1.0)
    assert not queue.requeue(taken.task), "it is sent"
    journal.lost(taken.task, 1, "lost", final=False)
    assert queue.requeue(taken.task)
    assert not queue.requeue(taken.task), "it is queued"
    queue.withdraw(taken.task)
    assert queue.take() is None
    assert queue.requeue(taken.task)
    again = queue.take()
    assert again is not None
    assert (again.task, again.avoid) == (taken.task, "a")
