"""Adaptive sets: what is suggested, what is ended early, and what a restarted master still knows of it."""

from __future__ import annotations

import dataclasses
import json
import math
import random
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from master_bench import Bench, Message, stand_still
from project_directory import numeric

from framework.cli.task_selection import find_tasks
from framework.configuration.load import load_project
from framework.files import AttemptFiles
from framework.journal.store import Journal
from framework.journal.trials import so_far
from framework.messages.assignment import Assignment, AttemptResult, AttemptState
from framework.messages.metrics import Metric
from framework.project.early_termination import EarlyTermination, Reports
from framework.project.project import Goal, Project
from framework.runner.attempt import run_attempt
from framework.runner.programs import Command
from framework.scheduler.optuna_study import Study
from framework.space.distributions import LogUniform, Quantized, Uniform
from framework.space.product import Space
from framework.space.sampling import Method
from framework.space.values import Value

RULES = Space(
    {"a": [1, 2], "b": ["x", "y"], "c": ["X", "Y"], "d": [True, 1, 1.0], "e": range(3)},
    conditions={"e": {"a": [2]}},
    zipped=[("b", "c")],
    excluded=[{"a": [1], "b": ["x"]}],
).including([{"a": 7}])


def adaptive(
    space: Space,
    run_cap: int = 100,
    goal: Goal = "minimize",
    early: EarlyTermination | None = None,
    seed: int = 0,
) -> Project:
    method = Method("tpe", run_cap, seed)
    return Project("p", Path("/"), ("run",), "loss", goal, None, 0, None, method.choose(space),
                   search_space=space, method=method, early_termination=early)  # fmt: skip


class Tasks:
    """Runs the tasks that a study suggests, one after the other, and writes the journal as a master does."""

    def __init__(self, of: Project, journal: Journal) -> None:
        self.project = of
        self.journal = journal
        self.study = Study.of_journal(of, journal)
        self.ids = [record.task for record in journal.in_order()]

    def begin(self) -> tuple[str, Mapping[str, Value]]:
        number = len(self.ids)
        suggested = self.study.suggest(number, self.ids)
        assert suggested
        task, parameters = suggested
        self.journal.assign(task, number, parameters, "a", 1.0)
        self.ids.append(task)
        return task, parameters

    def end(self, task: str, loss: float, state: AttemptState = "done") -> None:
        result = AttemptResult(
            task, 1, "a", state, 1.0, 1.0, 0, "", {"loss": loss}, "c1", "i", "infra-1", "p"
        )  # fmt: skip
        self.journal.finish(result, final=True)
        record = self.journal.get(task)
        assert record
        self.study.end(record)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield journal


# What is suggested.


def test_all_of_a_finite_space_is_suggested_once_and_then_nothing() -> None:
    of = adaptive(RULES)
    study, tried = Study(of), list[str]()
    while suggested := study.suggest(len(tried), tried):
        tried.append(suggested[0])
    assert len(tried) == RULES.count
    assert set(tried) == {of.task_id(combination) for combination in RULES}
    assert tried[0] == of.task_id({"a": 7})


def test_what_is_drawn_and_rounded_is_suggested_until_it_repeats() -> None:
    space = Space({"n": Quantized(Uniform(1, 5), 1)})
    study, tried = Study(adaptive(space)), list[str]()
    values = []
    while suggested := study.suggest(len(tried), tried):
        tried.append(suggested[0])
        values.append(suggested[1]["n"])
    assert sorted(map(numeric, values)) == [1, 2, 3, 4, 5]


def loss_of(parameters: Mapping[str, Value]) -> float:
    rate, width, depth = numeric(parameters["rate"]), numeric(parameters["width"]), parameters.get("depth", 5)
    return (math.log10(rate) + 2) ** 2 + abs(width - 64) / 100 + numeric(depth) / 10


SEARCHED = Space(
    {
        "rate": LogUniform(1e-6, 10),
        "width": [256, 8, 16, 32, 64, 128],
        "kind": ["linear", "deep"],
        "depth": Quantized(Uniform(1, 9), 1),
    },
    conditions={"depth": {"kind": ["deep"]}},
)


def test_what_is_suggested_gets_better_than_what_is_drawn_at_random(journal: Journal) -> None:
    tasks = Tasks(adaptive(SEARCHED), journal)
    found = []
    for _ in range(60):
        task, parameters = tasks.begin()
        assert ("depth" in parameters) == (parameters["kind"] == "deep")
        found.append(loss_of(parameters))
        tasks.end(task, found[-1])
    drawn = sorted(loss_of(SEARCHED.draw(random.Random(number).random)) for number in range(60))
    assert min(found) < drawn[0]
    assert sorted(found[-20:])[10] < drawn[10]  # the middle of the last ones


def test_suggestions_depend_on_the_seed_the_number_and_the_results_alone(tmp_path: Path) -> None:
    ids = {}
    for name, seed, sign in (("one", 0, 1), ("same", 0, 1), ("seed", 1, 1), ("results", 0, -1)):
        with Journal(tmp_path / name) as journal:
            tasks = Tasks(adaptive(SEARCHED, seed=seed), journal)
            for _ in range(15):
                task, parameters = tasks.begin()
                tasks.end(task, sign * loss_of(parameters))
            ids[name] = tasks.ids
    assert ids["one"] == ids["same"]
    assert ids["seed"][0] != ids["one"][0]
    assert ids["results"][:10] == ids["one"][:10]  # the first ones are random
    assert ids["results"][10:] != ids["one"][10:]


def test_a_study_made_anew_from_the_journal_goes_on_as_if_nothing_had_been(journal: Journal) -> None:
    space = Space({"a": range(40), "b": ["x", "y", "z"], "c": [0.1, 0.2, 0.4, 0.8], "d": [1, 2]})
    unbroken = Tasks(adaptive(space), journal)
    for number in range(30):
        task, parameters = unbroken.begin()
        if number % 10 == 4:
            unbroken.end(task, 0.0, "failed")
        elif number != 20:  # that one is still running
            unbroken.end(task, abs(numeric(parameters["a"]) - 7) + numeric(parameters["c"]))
    anew = Study.of_journal(unbroken.project, journal)
    for number in range(30, 36):
        known = unbroken.study.suggest(number, unbroken.ids)
        assert known == anew.suggest(number, unbroken.ids)
        assert known
        unbroken.ids.append(known[0])


# What is ended early.


def test_no_report_of_a_fast_program_is_missed(tmp_path: Path) -> None:
    files = AttemptFiles(tmp_path / "data", "0123456789abcdef", 1)
    reports = Reports("loss", EarlyTermination("asha", 2, None, 3))
    told: list[dict[int, Metric]] = []
    program = (
        "for i in range(1, 101):\n print(f'Epoch {i}: loss={i / 2}, other=1'); print('other=1')\n"
        " if i > 30: print('loss=unknown')\nprint('loss=nan')"
    )
    (tmp_path / "project").mkdir()
    execution = run_attempt(
        Command([sys.executable, "-c", program]), files, tmp_path / "project", {}, 30.0,
        lambda metrics: told.append(dict(reports.at_rungs)), threading.Event(), reports,
    )  # fmt: skip
    assert (execution.state, execution.metrics["loss"], reports.count) == ("done", "nan", 101)
    assert reports.at_rungs == {2: 1.0, 6: 3.0, 18: 9.0, 54: 27.0}
    assert told[-1] == reports.at_rungs


# The master.


class AdaptiveBench(Bench):
    """One that tells the master what tasks report."""

    def settings(self, x: str, more: str) -> None:
        self.write_project(x=x, more=more)
        self.master = self.start()

    def reports(self, host: str, assignment: Assignment, *reports: tuple[int, Metric]) -> None:
        content = {
            "kind": "metrics", "infrastructure": "infra-1", "project": "p", "host": host,
            "task": assignment.task, "attempt": assignment.attempt, "metrics": {"loss": reports[-1][1]},
            "reports": [list(report) for report in reports],
        }  # fmt: skip
        self.messenger.incoming.append(Message("reports", content))

    def ends(self, host: str, assignment: Assignment, loss: Metric, state: str = "done") -> None:
        content = dict(self.messenger.result(host, assignment, state, seconds=7.0))
        self.messenger.incoming[-1] = Message("results", content | {"metrics": {"loss": loss}})

    def state_of(self, assignment: Assignment) -> str:
        with Journal(self.files.journal, read_only=True) as journal:
            record = journal.get(assignment.task)
            assert record
            return record.state


TPE = "goal: minimize\nmethod: tpe\nrun_cap: {}\n"
ASHA = "goal: minimize\nearly_terminate: {type: asha, min_iter: 2, eta: 2}\n"


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AdaptiveBench:
    stand_still(monkeypatch)
    return AdaptiveBench(tmp_path)


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


def test_a_set_ends_with_its_space(bench: AdaptiveBench) -> None:
    bench.settings("{min: 1, max: 3}", TPE.format(50))
    bench.messenger.beat("a", slots=8)
    for host, assignment in bench.turn():
        bench.ends(host, assignment, 1.0)
    bench.turn()
    assert (bench.status().total, bench.status().done, bench.status().finished) == (3, 3, True)


def test_a_restarted_master_knows_what_was_tried_and_what_runs(bench: AdaptiveBench) -> None:
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


def test_what_a_grid_has_tried_counts_and_raising_the_cap_goes_on(bench: AdaptiveBench) -> None:
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


def test_a_failed_task_of_an_adaptive_set_is_tried_again_as_any_other(bench: AdaptiveBench) -> None:
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


def test_a_task_of_an_adaptive_set_is_cancelled_by_its_number(bench: AdaptiveBench) -> None:
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


@pytest.mark.parametrize("method", ["", "method: tpe\nrun_cap: 4\n", "method: random\n"])
def test_what_does_worse_than_others_is_ended_early(bench: AdaptiveBench, method: str) -> None:
    bench.settings("[1, 2, 3, 4]", ASHA + method)
    bench.messenger.beat("a", slots=4)
    (_, good), (_, fair), (_, bad), (_, broken) = bench.turn()
    bench.reports("a", good, (2, 0.1))
    bench.reports("a", fair, (2, 0.2))
    bench.reports("a", broken, (2, "nan"))
    assert bench.turn() == []
    assert sorted(bench.messenger.stopped) == sorted([("a", f"{fair.task}.1"), ("a", f"{broken.task}.1")])
    bench.reports("a", bad, (2, 0.9))
    bench.reports("a", good, (2, 0.1), (4, 0.05))
    bench.turn()
    assert bench.messenger.stopped[-1] == ("a", f"{bad.task}.1")
    assert [bench.state_of(each) for each in (good, fair, bad, broken)] == ["sent", *["pruned"] * 3]
    bench.ends("a", bad, 0.8, "stopped")  # what its worker still has to say of it
    bench.ends("a", good, 0.01)
    bench.turn()
    status = bench.status()
    assert (status.done, status.pruned, status.failed, status.finished) == (1, 3, 0, True)
    row = next(row for row in bench.rows() if row["task"] == bad.task)
    assert (row["state"], row["seconds"], row["loss"]) == ("pruned", "7.000", "0.8")


def test_what_is_done_before_it_can_be_ended_early_is_done(bench: AdaptiveBench) -> None:
    bench.settings("[1, 2]", ASHA)
    bench.messenger.beat("a", slots=2)
    (_, good), (_, bad) = bench.turn()
    bench.reports("a", good, (2, 0.1))
    bench.turn()
    bench.reports("a", bad, (2, 0.9))
    bench.ends("a", bad, 0.9)
    bench.turn()
    assert (bench.state_of(bad), bench.messenger.stopped) == ("done", [])


def test_a_pruned_task_stays_pruned_and_its_worker_is_told_until_it_hears(bench: AdaptiveBench) -> None:
    bench.settings("[1, 2]", ASHA)
    bench.messenger.beat("a", slots=2)
    (_, good), (_, bad) = bench.turn()
    bench.reports("a", good, (2, 0.1))
    bench.turn()
    bench.reports("a", bad, (2, 0.9))
    bench.turn()
    bench.messenger.stopped = []  # it got lost
    bench.master = bench.start()
    for _ in range(2):
        bench.messenger.beat("a", slots=2, running=[f"{good.task}.1", f"{bad.task}.1"])
        assert bench.turn() == []
    assert bench.messenger.stopped == [("a", f"{bad.task}.1")]
    bench.ends("a", bad, 0.01)
    bench.turn()
    assert bench.state_of(bad) == "pruned"


def test_a_restarted_master_compares_with_what_was_reported_before(bench: AdaptiveBench) -> None:
    bench.settings("[1, 2, 3]", ASHA)
    bench.messenger.beat("a", slots=3)
    (_, good), (_, bad), (_, later) = bench.turn()
    bench.reports("a", good, (2, 0.1))
    bench.turn()
    bench.ends("a", good, 0.1)
    bench.turn()
    bench.master = bench.start()
    bench.reports("a", bad, (2, 0.9))
    bench.reports("a", later, (2, 0.05))
    bench.turn()
    assert [bench.state_of(each) for each in (good, bad, later)] == ["done", "pruned", "sent"]


def test_reports_that_come_twice_late_or_of_another_attempt_change_nothing(bench: AdaptiveBench) -> None:
    bench.settings("[1, 2]", ASHA)
    bench.messenger.beat("a", slots=2)
    (_, one), (_, other) = bench.turn()
    bench.reports("a", one, (2, 0.5))
    bench.reports("a", one, (2, 0.9))
    bench.reports("a", dataclasses.replace(other, attempt=2), (2, 0.1))
    bench.turn()
    bench.ends("a", one, 0.5)
    bench.turn()
    bench.reports("a", one, (2, 0.1), (4, 0.1))
    bench.turn()
    with Journal(bench.files.journal, read_only=True) as journal:
        assert journal.reports() == {one.task: {2: 0.5}}
    assert bench.messenger.stopped == []


def test_hyperband_spares_some_tasks_the_first_comparison(tmp_path: Path) -> None:
    def judged_at(kind: Any) -> set[int]:
        early = EarlyTermination(kind, 1, 27, 3)
        study = Study(dataclasses.replace(adaptive(Space({"x": Uniform(0, 1)}), early=early)))
        ended = set()
        for number in range(60):
            suggested = study.suggest(number, [])
            assert suggested
            steps = (step for step in (1, 3, 9) if study.report(suggested[0], step, number))  # ever worse
            ended.add(next(steps, 27))
        return ended

    assert judged_at("asha") == {1, 27}  # the first one is as good as any
    assert judged_at("hyperband") == {1, 3, 9, 27}


@pytest.mark.parametrize("is_strict", [True, False])
def test_bands_keep_the_best_of_those_that_came_to_a_rung(is_strict: bool) -> None:
    early = EarlyTermination("bands", 1, None, 3, (1, 3), is_strict)
    project = adaptive(Space({"x": Uniform(0, 1)}), early=early)
    study = Study(dataclasses.replace(project, goal="minimize"))
    reports = [
        ("a", 1, 0.5, False),  # the first one is as good as any
        ("b", 1, 0.9, True),
        ("c", 1, 0.1, False),
        ("d", 1, 0.3, False),  # 4 are there: one in 3 is the second, too
        ("c", 2, 0.0, False),  # no rung
        ("c", 3, 0.35, False),
        ("d", 3, 0.4, is_strict),  # its best, 0.3, is better than that of c at this rung
        ("e", 1, math.nan, True),
    ]
    for task, step, value, is_pruned in reports:
        assert study.report(task, step, value) == is_pruned, (task, step)


def test_the_records_in_order_are_read_page_by_page(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("framework.journal.store._PAGE", 2)
    numbers: Sequence[int] = (4, 0, 2, 2, 1)
    for task, number in enumerate(numbers):
        journal.assign(f"{task:016}", number, {}, "a", 1.0)
    assert [record.number for record in journal.in_order()] == sorted(numbers)


def test_what_was_reported_before_a_task_was_asked_for_again_does_not_count(journal: Journal) -> None:
    task = "0" * 16
    journal.assign(task, 0, {}, "a", 1.0)
    journal.report(task, 1, 3, 0.5)
    assert journal.prune(task, "pruned at report 3")
    assert not journal.prune(task, "pruned at report 9")
    journal.again([task])
    assert journal.reports() == {}
    assert journal.assign(task, 0, {}, "a", 2.0) == 2
    journal.report(task, 2, 3, 0.7)
    assert journal.reports() == {task: {3: 0.7}}
