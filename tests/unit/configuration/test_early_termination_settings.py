"""`early_terminate`: each way to give the rungs, and everything that is wrong with one."""

import pytest
from project_directory import ProjectDirectory

from framework.configuration.load import load_project
from framework.errors import ProjectError
from framework.project.project import Project


@pytest.mark.parametrize(
    ("said", "rungs"),
    [
        ("{type: asha, min_iter: 3}", [3, 9, 27, 81]),
        ("{type: hyperband, min_iter: 3, eta: 2}", [3, 6, 12, 24, 48, 96]),
        ("{type: hyperband, max_iter: 27, s: 2}", [3, 9]),
        ("{type: asha, min_iter: 3, s: 2, eta: 3, strict: true}", [3, 9]),
        ("{type: asha, min_iter: 1, max_iter: 30, eta: 4}", [1, 4, 16]),
        ("{type: asha, max_iter: 9, s: 2}", [1, 3]),
        ("{type: asha, max_iter: 2, s: 1, eta: 2}", [1]),
        ("{type: asha, min_iter: 1, eta: 100}", [1]),
        ("{type: asha, min_iter: 90, s: 30, eta: 2}", [90]),
        ("{type: asha, min_iter: 1000000000}", []),
    ],
)
def test_the_reports_at_which_tasks_are_compared(
    directory: ProjectDirectory, said: str, rungs: list[int]
) -> None:
    early = directory.load(
        settings=f"command: train\nmetric: loss\nearly_terminate: {said}\ngoal: minimize"
    ).early_termination
    assert early
    assert [step for step in range(1, 100) if early.is_rung(step)] == rungs


@pytest.mark.parametrize(
    ("said", "rungs"),  # as W&B's own hyperband_stopping.py says
    [
        ("{type: hyperband, max_iter: 27, s: 2}", [3, 9]),
        ("{type: hyperband, max_iter: 100, s: 3}", [3, 11, 33]),
        ("{type: hyperband, max_iter: 10, s: 5}", [1, 3]),
        ("{type: hyperband, max_iter: 50, s: 2, eta: 1.5}", [22, 33]),
        ("{type: hyperband, min_iter: 3, eta: 1.5}", [3, 4, 6, 10, 15, 22, 34, 51, 76]),
        ("{type: hyperband, min_iter: 12, s: 2}", [12, 36]),
        ("{type: hyperband, min_iter: 2, max_iter: 30, s: 2}", [3, 10]),
        ("{type: hyperband, min_iter: 2, max_iter: 30}", [2, 6, 18]),
        ("{type: asha, min_iter: 3, s: 2, eta: 3}", [3, 9]),  # a type of ours
    ],
)
def test_hyperband_in_a_sweep_file_compares_tasks_where_wandb_does(
    directory: ProjectDirectory, said: str, rungs: list[int]
) -> None:
    early = load_sweep(directory, said).early_termination
    assert early
    assert early.is_strict
    assert [step for step in range(1, 100) if early.is_rung(step)] == rungs


def test_what_wandb_ignores_is_said(directory: ProjectDirectory) -> None:
    (notice,) = load_sweep(directory, "{type: hyperband, min_iter: 12, s: 2}").notices
    assert notice == f"{directory.path}/sweep.yaml:5:50: s: changes nothing beside min_iter, as in W&B"
    early = load_sweep(directory, "{type: hyperband, min_iter: 12, strict: false}").early_termination
    assert early
    assert not early.is_strict


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("{type: hyperband}", "5:18: early_terminate: needs min_iter"),
        ("{type: hyperband, max_iter: 2, s: 3}", "has no rungs: max_iter has to be 3 or more"),
        ("{type: hyperband, min_iter: 1, eta: 1}", "5:54: eta: has to be a number above 1"),
        ("{type: hyperband, min_iter: 0}", "5:46: min_iter: has to be a whole number from 1"),
    ],
)
def test_a_hyperband_that_makes_no_sense(directory: ProjectDirectory, said: str, problem: str) -> None:
    with pytest.raises(ProjectError) as caught:
        load_sweep(directory, said)
    assert problem in str(caught.value)


def load_sweep(directory: ProjectDirectory, early_terminate: str) -> Project:
    (directory.path / "fit.py").touch()
    (directory.path / "sweep.yaml").write_text(
        "program: fit.py\nmethod: grid\nmetric: {name: loss}\nparameters: {x: {values: [1, 2]}}\n"
        f"early_terminate: {early_terminate}\n"
    )
    return load_project(directory.path)


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("asha", "3:18: early_terminate: has to be a mapping"),
        ("{min_iter: 3}", "3:18: early_terminate: has no type"),
        ("{type: median, min_iter: 3}", "3:25: type: unknown type of early termination"),
        ("{type: asha}", "3:18: early_terminate: needs min_iter"),
        ("{type: asha, miniter: 3}", "3:31: unknown key 'miniter'; did you mean 'min_iter'?"),
        ("{type: asha, min_iter: 0}", "3:41: min_iter: has to be a whole number from 1"),
        ("{type: asha, min_iter: 2.5}", "3:41: min_iter: has to be a whole number"),
        ("{type: asha, min_iter: true}", "3:41: min_iter: has to be a whole number"),
        ("{type: asha, min_iter: 1, eta: 1}", "3:49: eta: has to be a whole number from 2"),
        ("{type: asha, min_iter: 9, max_iter: 9}", "3:18: early_terminate: never compares tasks"),
        ("{type: asha, max_iter: 9, s: 3}", "has no rungs: max_iter has to be 27 or more"),
        ("{type: asha, min_iter: 1, max_iter: 9, s: 2}", "3:18: early_terminate: has one key too many"),
        ("{type: asha, min_iter: 1, eta: 101}", "3:49: eta: has to be a whole number from 2 to 100"),
        ("{type: asha, max_iter: 1, s: 1}", "3:41: max_iter: has to be a whole number from 2 to 1000000000"),
        ("{type: asha, max_iter: 9, s: 0}", "3:47: s: has to be a whole number from 1 to 30"),
        ("{type: asha, max_iter: 9, s: 31}", "3:47: s: has to be a whole number from 1 to 30"),
        ("{type: asha, min_iter: 1000000001}", "3:41: min_iter: has to be a whole number from 1"),
        ("{type: asha, min_iter: 1, strict: 1}", "3:52: strict: has to be true or false"),
    ],
)  # fmt: skip
def test_an_early_termination_that_makes_no_sense(
    directory: ProjectDirectory, said: str, problem: str
) -> None:
    assert problem in directory.problem(
        settings=f"command: train\nmetric: loss\nearly_terminate: {said}\ngoal: minimize"
    )
