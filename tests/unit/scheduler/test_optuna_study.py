"""Optuna study: suggestions, early termination, and its state after a restart of the master."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from master_bench import AdaptiveBench, Clock
from project_directory import numeric

from framework.journal.store import Journal
from framework.messages.assignment import Assignment, AttemptResult, AttemptState
from framework.project.early_termination import EarlyTermination
from framework.project.project import Goal, Project
from framework.scheduler.optuna_study import Study
from framework.space.distributions import LogUniform, Quantized, Uniform
from framework.space.expressions import parse_expression
from framework.space.product import Space
from framework.space.sampling import Method
from framework.space.values import Value, canonical

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


def test_every_combination_of_a_finite_space_is_suggested_once() -> None:
    of = adaptive(RULES)
    study, tried = Study(of), list[str]()
    while suggested := study.suggest(len(tried), tried):
        tried.append(suggested[0])
    assert len(tried) == RULES.count
    assert set(tried) == {of.task_id(combination) for combination in RULES}
    assert tried[0] == of.task_id({"a": 7})


def test_suggestions_have_computed_metaparameters_and_obey_where() -> None:
    space = Space(
        {"a": [1, 2, 3], "twice": parse_expression("2 * a"), "b": [1, 2, 3]},
        where=[parse_expression("twice * b <= 6")],
    )
    study, tried, found = Study(adaptive(space)), list[str](), list[Mapping[str, Value]]()
    while suggested := study.suggest(len(tried), tried):
        tried.append(suggested[0])
        found.append(suggested[1])
    assert sorted(map(canonical, map(dict, found))) == sorted(map(canonical, space))


def test_rounded_draws_are_suggested_until_they_repeat() -> None:
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


def test_suggestions_become_better_than_random_draws(journal: Journal) -> None:
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


def test_a_study_restored_from_the_journal_makes_the_same_suggestions(journal: Journal) -> None:
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


# The master.


TPE = "goal: minimize\nmethod: tpe\nrun_cap: {}\n"
ASHA = "goal: minimize\nearly_terminate: {type: asha, min_iter: 2, eta: 2}\n"


@pytest.fixture
def bench(adaptive_bench: AdaptiveBench) -> AdaptiveBench:
    return adaptive_bench


@pytest.mark.parametrize("method", ["", "method: tpe\nrun_cap: 4\n", "method: random\n"])
def test_a_task_that_does_worse_than_others_is_pruned(bench: AdaptiveBench, method: str) -> None:
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


@pytest.mark.parametrize(
    ("x", "more", "key"),
    [
        ("{min: 0.0, max: 1.0}", TPE.format(9), "method: tpe"),
        ("[1, 2, 3, 4, 5]", ASHA, "early_terminate:"),
    ],
)
def test_a_sweep_that_needs_a_metric_that_nobody_reports_is_paused(
    bench: AdaptiveBench, x: str, more: str, key: str
) -> None:
    bench.settings(x, more)
    bench.messenger.beat("a", slots=2)
    under_way = bench.turn()
    for _ in range(3):
        assert len(under_way) == 2
        host, assignment = under_way.pop(0)
        bench.ends(host, assignment, "unknown")
        under_way += bench.turn()
    assert len(under_way) == 1, "three are enough"
    assert not bench.status().paused, "one still runs, and nobody has asked to end it"
    bench.ends("a", under_way[0][1], "unknown")
    assert bench.turn() == []
    reason = f"no task has reported loss as a number; {key} has nothing to compare"
    assert reason in bench.status().paused
    assert bench.messenger.stopped == []
    bench.ask("resume")
    under_way = bench.turn()
    assert under_way, "people decide: it goes on, for as many tasks"


def test_a_metric_that_a_running_task_reports_is_not_missing(bench: AdaptiveBench) -> None:
    bench.settings("[1, 2, 3, 4, 5, 6]", ASHA)
    bench.messenger.beat("a", slots=4)
    (_, runs), *others = bench.turn()
    for host, assignment in others:
        bench.ends(host, assignment, "unknown")
    assert bench.turn() == []
    bench.reports("a", runs, (1, 0.5))
    assert len(bench.turn()) == 2
    assert not bench.status().paused


def good_and_bad(bench: AdaptiveBench) -> tuple[Assignment, Assignment]:
    """Two tasks that run, of which the second one has reported what will have it pruned."""
    bench.settings("[1, 2]", ASHA)
    bench.messenger.beat("a", slots=2)
    (_, good), (_, bad) = bench.turn()
    bench.reports("a", good, (2, 0.1))
    bench.turn()
    bench.reports("a", bad, (2, 0.9))
    return good, bad


def test_a_task_that_is_done_before_it_can_be_pruned_is_done(bench: AdaptiveBench) -> None:
    _, bad = good_and_bad(bench)
    bench.ends("a", bad, 0.9)
    bench.turn()
    assert (bench.state_of(bad), bench.messenger.stopped) == ("done", [])


def test_a_pruned_task_stays_pruned_and_its_worker_is_told_until_it_hears(bench: AdaptiveBench) -> None:
    good, bad = good_and_bad(bench)
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


def test_late_reports_of_a_lost_attempt_are_not_those_of_the_attempt_under_way(
    bench: AdaptiveBench, clock: Clock
) -> None:
    bench.settings("[1]", ASHA)
    bench.messenger.beat("a")
    ((_, lost),) = bench.turn()
    bench.let_leases_end(clock)
    bench.messenger.beat("b")
    ((_, second),) = bench.turn()
    bench.reports("a", lost, (2, 0.9))
    bench.reports("b", second, (2, 0.5))
    bench.turn()
    with Journal(bench.files.journal, read_only=True) as journal:
        assert journal.reports() == {second.task: {2: 0.5}}


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
