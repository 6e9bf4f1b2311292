"""project.yml: every setting, and everything that is wrong with one, with its place."""

import re

import pytest
from project_directory import ProjectDirectory

from framework.configuration import settings


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("1d", 86400), ("45", 45), ("0.5", 0.5), ("1.5 h", 5400)],
)
def test_timeout(directory: ProjectDirectory, text: str, seconds: float) -> None:
    assert directory.load("x: 1", f"command: run\ntimeout: {text}").timeout == seconds


def test_a_setup_is_a_command_and_no_part_of_a_task(directory: ProjectDirectory) -> None:
    project = directory.load("x: 1", "command: run\nsetup: sh 'get data.sh'\nsetup_timeout: 2h")
    assert (project.setup, project.setup_timeout) == (("sh", "get data.sh"), 7200)
    without = directory.load("x: 1", "command: run")
    assert (without.setup, without.setup_timeout) == ((), None)
    assert project.task_id({"x": 1}) == without.task_id({"x": 1})


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ("metric: x\ngoal: maximize", "1:1: no command; write"),
        ("command: ''", "1:10: command: has to be text"),
        ("command: '  '", "1:10: command: is empty"),
        ("command: []", "1:10: command: is empty"),
        ("command: python 'train.py", "1:10: command: No closing quotation"),
        ("command: {python: train.py}", "1:10: command: has to be text"),
        ("command: [python, [train.py]]", "1:10: command: has to be text"),
        ("command: [python, null]", "1:10: command: has to be text"),
        ("command: run\nmetrik: x", "2:1: unknown key 'metrik'; did you mean 'metric'?"),
        ("command: run\nxyz: 1", "2:1: unknown key 'xyz'; known: command, function, workdir"),
        ("command: run\nfunction: train:run", "2:1: a command and a function; one of them runs"),
        ("function: train", "1:11: function: 'train' is not a function; write its module"),
        ("function: 'train: run'", "1:11: function: 'train: run' is not a function"),
        ("function: models/train:run", "1:11: function: 'models/train:run' is not a function"),
        ("function: train:class", "1:11: function: 'train:class' is not a function"),
        ("function: .train:run", "1:11: function: '.train:run' is not a function"),
        ("function: train:run.now", "1:11: function: 'train:run.now' is not a function"),
        ("function: [train, run]", "1:11: function: has to be text"),
        ("command: run\ngoal: minimize\nmetric: ' a'", "3:9: metric: ' a' cannot name a metric"),
        ("command: run\nmetric: loss", "2:1: metric: nothing says whether more or less of it is better"),
        ("command: run\nmetric: a\ngoal: max", "3:7: goal: unknown goal 'max'; write maximize or minimize"),
        ("command: run\ngoal: minimize", "2:1: a goal without a metric"),
        ("command: run\ntimeout: 0", "2:10: timeout: '0' is not a duration"),
        ("command: run\ntimeout: -5", "2:10: timeout: '-5' is not a duration"),
        ("command: run\ntimeout: 5 weeks", "2:10: timeout: '5 weeks' is not a duration"),
        ("command: run\ntimeout: [5]", "2:10: timeout: has to be text"),
        ("command: run\nretries: -1", "2:10: retries: has to be a whole number"),
        ("command: run\nretries: 1.5", "2:10: retries: has to be a whole number"),
        ("command: run\nretries: true", "2:10: retries: has to be a whole number"),
        ("command: run\nmax_failures: 0", "2:15: max_failures: has to be a whole number, 1 or more"),
        ("command: run\ncopies: 1", "2:9: copies: is neither true nor false; write"),
        ("command: run\norder: short", "2:8: order: unknown order 'short'; write longest_first or given"),
        ("command: run\nmax_failures: many", "2:15: max_failures: has to be a whole number, 1 or more"),
        ("command: run\nimage: --privileged", "2:8: image: '--privileged' is not an image"),
        ("command: run\nimage: a b", "2:8: image: 'a b' is not an image"),
        ("command: run\nsetup: ''", "2:8: setup: has to be text"),
        ("command: run\nsetup: []", "2:8: setup: is empty"),
        ("command: run\nsetup: 'get ${args}'", "2:8: setup: '${args}' has a macro, and a setup has no metap"),
        ("command: run\nsetup: x\nsetup_timeout: 0", "3:16: setup_timeout: '0' is not a duration"),
        ("command: run\nsetup_timeout: 1h", "2:1: a timeout of a setup without a setup; write setup:, or"),
        ("command: run\nmethod: gird", "2:9: method: unknown method 'gird'; did you mean 'grid'?"),
        ("command: run\nrun_cap: 0", "2:10: run_cap: has to be a whole number, 1 or more"),
        ("command: run\nmethod: random\nseed: -1", "3:7: seed: has to be a whole number, 0 or more"),
        ("command: run\nseed: 1", "2:1: seed: a grid has nothing random; remove it"),
        ("", "1:1: the file is empty"),
        (None, "1:1: cannot be read (No such file or directory)"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_settings(directory: ProjectDirectory, settings: str | None, problem: str) -> None:
    (found,) = directory.problems("x: 1", settings)
    assert found.startswith(f"project.yml:{problem}"), found
    assert re.search("; |\\?$|has to be a whole number", found), "it does not say what to do"


def test_metaparameters_that_no_function_can_have(directory: ProjectDirectory) -> None:
    assert directory.problems("lr.max: 1\nx: 2\nlambda: 3", "\nfunction: train:run") == [
        "project.yml:2:1: metaparameter 'lr.max' cannot be an argument of a function; rename it",
        "project.yml:2:1: metaparameter 'lambda' cannot be an argument of a function; rename it",
    ]


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("early_terminate: {type: asha, min_iter: 3}", "2:1: early_terminate: needs a metric to compare"),
        ("run_cap: 9\nmethod: tpe", "3:1: method: needs a metric to compare"),
        ("metric: loss\ngoal: minimize\nmethod: bayes", "4:1: an adaptive method never ends"),
    ],
)  # fmt: skip
def test_what_is_missing_is_said_with_its_place(directory: ProjectDirectory, said: str, problem: str) -> None:
    assert f"project.yml:{problem}" in directory.problem(settings=f"command: train\n{said}")


def test_without_optuna_the_user_is_told_what_to_do(
    directory: ProjectDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "find_spec", lambda name: None)
    found = directory.problem(
        settings="command: train\nmethod: tpe\nrun_cap: 9\nmetric: loss\ngoal: minimize"
    )
    assert re.search(r"2:1: method: needs Optuna.*infrainit\.sh -f.*adaptive", found)
    assert directory.load(settings="command: train\nmetric: loss\ngoal: minimize")


def test_an_adaptive_method_without_a_cap_is_one_problem_even_over_distributions(
    directory: ProjectDirectory,
) -> None:
    settings = "command: train\nmethod: bayes\nmetric: loss\ngoal: minimize"
    found = directory.problem("x: {min: 0.0, max: 1.0}", settings)
    assert found.startswith("project.yml:2:1: an adaptive method never ends")


def test_seeds_and_an_adaptive_method_do_not_go_together(directory: ProjectDirectory) -> None:
    settings = "command: train\nrun_cap: 9\nmethod: tpe\nmetric: loss\ngoal: minimize"
    found = directory.problem("x: {min: 0.0, max: 1.0}\nseeds: 3", settings)
    assert found.startswith("project.yml:3:1: seeds: in parameters.yml goes with grid and random only")


@pytest.mark.parametrize("metric", ["accuracy", "val_accuracy", "F1", "top5.acc", "roc/auc"])
def test_a_metric_whose_name_says_that_more_is_better_needs_no_goal(
    directory: ProjectDirectory, metric: str
) -> None:
    assert directory.load("x: 1", f"command: run\nmetric: {metric}").goal == "maximize"


@pytest.mark.parametrize("metric", ["loss", "seconds", "accumulated", "pace"])
def test_any_other_metric_needs_a_goal(directory: ProjectDirectory, metric: str) -> None:
    (problem,) = directory.problems("x: 1", f"command: run\nmetric: {metric}")
    assert problem.startswith("project.yml:2:1: metric: nothing says whether more or less of it is better")
