"""W&B sweep files: each key that is read, and everything that is wrong with one, with its place."""

from pathlib import Path

import pytest

from framework.configuration.load import load_project
from framework.errors import ProjectError
from framework.project.project import Project
from framework.space.values import Value

SWEEP = """\
program: train.py
name: sweepdemo
project: digits
method: grid
metric: {name: val/loss}
parameters:
  lr: {values: [0.1, 1e-05]}
  batch: {value: 16}
  optimizer:
    parameters:
      nesterov: {values: [true, false]}
"""
COMMAND = 'command: ["${env}", "${interpreter}", "${program}", '


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "my set"
    path.mkdir()
    (path / "train.py").touch()
    return path


def load(directory: Path, text: str, name: str = "sweep.yaml") -> Project:
    (directory / name).write_text(text)
    return load_project(directory)


def problems_of(directory: Path, text: str) -> list[str]:
    with pytest.raises(ProjectError) as caught:
        load(directory, text)
    return [problem.removeprefix(f"{directory}/sweep.yaml:") for problem in caught.value.problems]


@pytest.mark.parametrize("name", ["sweep.yaml", "sweep.yml"])
def test_a_directory_with_a_sweep_file(directory: Path, name: str) -> None:
    project = load(directory, SWEEP, name)
    assert project.name == "my set"
    assert (project.metric, project.goal) == ("val/loss", "minimize")
    assert [project.argv(each) for each in project.space][1:3] == [
        ["/usr/bin/env", "python", "train.py", "--lr=0.1", "--batch=16", "--optimizer.nesterov=False"],
        ["/usr/bin/env", "python", "train.py", "--lr=1e-05", "--batch=16", "--optimizer.nesterov=True"],
    ]


def test_a_sweep_file_of_any_name(directory: Path) -> None:
    (directory / "wide.yaml").write_text(SWEEP)
    project = load_project(directory / "wide.yaml")
    assert (project.name, project.path, project.space.count) == ("wide", directory, 4)
    assert load_project(directory / "wide.yaml", "other").name == "other"


def test_a_project_file_comes_first(directory: Path) -> None:
    (directory / "project.yml").write_text("command: run\n")
    (directory / "parameters.yml").write_text("x: 1\n")
    assert load(directory, SWEEP).command == ("run",)


def test_a_whole_sweep_file(directory: Path) -> None:
    project = load(
        directory,
        "method: random\nrun_cap: 7\ntimeout: 5m\nmetric: {name: accuracy, goal: maximize}\n"
        "program: train.py\nparameters: {lr: {min: 0.0, max: 1.0}, n: {min: 1, max: 3}}\n",
    )
    assert (project.goal, project.timeout, project.space.count) == ("maximize", 300, 7)
    assert all(0 <= float(each["lr"]) <= 1 and each["n"] in (1, 2, 3) for each in project.space)


@pytest.mark.parametrize(
    ("macro", "words"),
    [
        ("${args}", ["--lr=0.1", "--on=True", "--off=False", "--text=a b"]),
        ("${args_no_boolean_flags}", ["--lr=0.1", "--on", "--text=a b"]),
        ("${args_no_hyphens}", ["lr=0.1", "on=True", "off=False", "text=a b"]),
        ("${args_json}", ['{"lr": 0.1, "on": true, "off": false, "text": "a b"}']),
    ],
)
def test_macros(directory: Path, macro: str, words: list[str]) -> None:
    parameters: dict[str, Value] = {"lr": 0.1, "on": True, "off": False, "text": "a b"}
    project = load(directory, SWEEP + COMMAND + f'-u, "{macro}", --last]\n')
    assert project.argv(parameters) == ["/usr/bin/env", "python", "train.py", "-u", *words, "--last"]


def test_variables_are_those_of_the_task(directory: Path) -> None:
    project = load(directory, SWEEP + COMMAND + '"--home=${envvar:HOME}/x", "${args_json}"]\n')
    assert project.argv({})[3:] == ["--home=${envvar:HOME}/x", "{}"]
    assert project.argv({}, {"HOME": "/me"})[3:] == ["--home=/me/x", "{}"]
    with pytest.raises(ProjectError, match="has no HOME in its environment; use one of LANG, PATH"):
        project.argv({}, {"PATH": "", "LANG": ""})


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("method: grid", "", "1:1: no method; write method: grid"),
        ("method: grid", "method: gird", "4:9: method: unknown method 'gird'; did you mean 'grid'?"),
        ("method: grid", "method: grid\nrun_cap: 0", "5:10: run_cap: has to be a whole number, 1 or more"),
        ("method: grid", "method: grid\nseed: 1", "5:1: seed: a grid has nothing random"),
        ("program: train.py", "", "1:1: no program; write the script"),
        ("program: train.py", "program: other.py", "1:10: program: there is no other.py beside this file"),
        ("program: train.py", "program: train.py\njob: a", "2:1: job: launch jobs are W&B's own"),
        ("program: train.py", "program: train.py\nnam: a", "2:1: unknown key 'nam'"),
        ("name: val/loss", "goal: minimize", "5:9: a metric without a name"),
        ("name: val/loss", "name: loss, target: 0.1", "5:22: target: a sweep cannot stop at a value"),
        ("name: val/loss", "name: loss, gaol: minimize", "5:22: unknown key 'gaol'; did you mean 'goal'?"),
        ("name: val/loss", "name: loss, goal: up", "5:28: goal: unknown goal 'up'"),
        ("lr: {values: [0.1, 1e-05]}", "lr: {values: [null]}", "7:17: null is not a value"),
        ("lr: {values: [0.1, 1e-05]}", "lr: {min: 0.0, max: 1}", "7:7: uniform has too many values"),
        ("name: sweepdemo", COMMAND + '[1], "${args}"]', "2:10: command: has to be text"),
        ("name: sweepdemo", COMMAND + "1]", "2:10: no ${args}: no metaparameter reaches the program"),
        ("name: sweepdemo", COMMAND + '"${args}", "${argz}"]',
         "2:64: unknown macro ${argz}; did you mean 'args'?"),
        ("name: sweepdemo", COMMAND + '"${args}", "x ${args}"]', "2:64: ${args} stands for whole words"),
        ("name: sweepdemo", COMMAND + '"${args}", "${args_json_file}"]', "2:64: ${args_json_file} is not"),
    ],
)  # fmt: skip
def test_what_is_wrong(directory: Path, old: str, new: str, expected: str) -> None:
    (found,) = problems_of(directory, SWEEP.replace(old, new))
    assert found.startswith(expected)


def test_no_parameters(directory: Path) -> None:
    assert problems_of(directory, "program: train.py\nmethod: grid\n")[0].startswith(
        "1:1: no parameters; write"
    )
    (found,) = problems_of(directory, "program: train.py\nmethod: grid\nparameters: {}\n")
    assert found.startswith("3:13: no metaparameters; write")
    (found,) = problems_of(directory, "program: [\n")
    assert "not valid YAML" in found
