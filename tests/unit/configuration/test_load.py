"""Projects as a whole: what is loaded, and everything that is wrong with it, at once and with its place."""

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from project_directory import ProjectDirectory, numeric

from framework.configuration.load import load_project
from framework.errors import ProjectError

CHECKOUT = Path(__file__).parents[3]


def test_a_whole_project(directory: ProjectDirectory) -> None:
    project = directory.load(
        "C: [0.1, 1, 10]\ngamma: !!python/tuple [0.001, 0.004, 0.001]\nkernel: rbf\n"
        "shrinking: true\nverbose: false\n",
        "command: python train.py --data 'my data'\nmetric: accuracy\ngoal: minimize\n"
        "timeout: 30m\nretries: 2\nimage: registry.example:5000/some/python:3.13-slim@sha256:abc\n",
    )
    assert project.command == ("python", "train.py", "--data", "my data")
    assert (project.metric, project.goal, project.timeout, project.retries) == (
        "accuracy",
        "minimize",
        1800,
        2,
    )
    assert project.image == "registry.example:5000/some/python:3.13-slim@sha256:abc"
    assert project.name == directory.path.name
    assert project.space.count == 9
    assert project.argv(project.space.combination(8)) == [
        *project.command, "--C=10", "--gamma=0.003", "--kernel=rbf", "--shrinking",
    ]  # fmt: skip


def test_defaults(directory: ProjectDirectory) -> None:
    project = directory.load("x: 1", "command: [run, 'a b', 3, '']")
    assert project.command == ("run", "a b", "3", "")
    assert (project.metric, project.goal, project.timeout, project.retries) == (None, "maximize", None, 0)
    assert project.image is None
    assert load_project(directory.path, "other").name == "other"


def test_methods(directory: ProjectDirectory) -> None:
    text = "x: {range: [0, 1000000, 1]}\ny: [a, b]"
    assert directory.load(text).space.count == 2_000_000
    assert directory.load(text, "command: run\nrun_cap: 5").space.count == 5
    shuffled = directory.load(text, "command: run\nmethod: random\nrun_cap: 5\nseed: 3").space
    assert len({each["x"] for each in shuffled}) == 5
    assert max(numeric(each["x"]) for each in shuffled) > 1000
    drawn = directory.load("x: {min: 0.0, max: 1}\nseeds: 2", "command: run\nmethod: random\nrun_cap: 4")
    assert [each["seed"] for each in drawn.space] == [0, 1, 0, 1]
    (problem,) = directory.problems("x: {min: 0.0, max: 1}", "command: run\nmethod: random")
    assert problem.startswith("project.yml:2:1: draws from distributions never end; write how many")


def test_random_whole_numbers_need_a_cap(directory: ProjectDirectory) -> None:
    text, random = "width: {min: 1, max: 1000}\ny: [a, b]", "command: run\nmethod: random"
    assert directory.problem(text, random) == (
        "project.yml:2:1: random draws width between its limits; write how many, as in 'run_cap: 100'"
    )
    assert directory.load(text, f"{random}\nrun_cap: 3").space.count == 3
    assert directory.load(text).space.count == 2000
    assert directory.load("x: {range: [0, 5]}", random).space.count == 5, "each value is listed"


def test_all_problems_at_once(directory: ProjectDirectory) -> None:
    found = directory.problems("-x: 1\ny: []\nz: {range: [1, 1, 1]}\n", "comand: run\nretries: x\n")
    assert [problem.partition(": ")[0] for problem in found] == [
        "project.yml:1:1", "project.yml:1:1", "project.yml:2:10", "parameters.yml:1:1", "parameters.yml:2:4",
        "parameters.yml:3:12",
    ]  # fmt: skip


def test_missing_files(directory: ProjectDirectory) -> None:
    found = directory.problems(None, None)
    assert [problem.partition(":")[0] for problem in found] == ["project.yml", "parameters.yml"]
    (directory.path / "train.py").touch()
    for name in ("other", "other.yaml", "train.py"):
        with pytest.raises(ProjectError, match=f"{name}: no such directory"):
            load_project(directory.path / name)


def test_a_directory_may_have_the_name_of_a_sweep_file(tmp_path: Path) -> None:
    (tmp_path / "wide.yaml").mkdir()
    project = ProjectDirectory(tmp_path / "wide.yaml").load()
    assert (project.name, project.path) == ("wide.yaml", tmp_path / "wide.yaml")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=50))
def test_any_text_is_a_project_or_a_list_of_problems(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    directory = ProjectDirectory(tmp_path_factory.mktemp("project"))
    with suppress(ProjectError):
        assert directory.load(text, text).space.count


@pytest.mark.parametrize("name", ["echo", "digits"])
def test_shipped_projects(name: str) -> None:
    project = load_project(CHECKOUT / "tasks" / name)
    assert project.space.count >= 24
    assert project.metric


def test_echo_prints_what_it_was_given() -> None:
    project = load_project(CHECKOUT / "tasks" / "echo")
    for combination in list(project.space)[::5]:
        argv = [sys.executable, *project.argv(combination)[1:]]
        done = subprocess.run(argv, cwd=project.path, capture_output=True, check=True)
        assert json.loads(done.stdout.splitlines()[0]) == argv[2:]


@pytest.mark.parametrize("key", ["build", "workdir", "notify", "command", "setup", "ignore", "mounts"])
def test_a_path_that_is_too_long_for_a_file_is_not_there(directory: ProjectDirectory, key: str) -> None:
    settings = {"command": "run", "metric": "loss"} | {key: f"./{'n' * 300}"}
    with suppress(ProjectError):  # and no OSError
        directory.load(settings=json.dumps(settings))
