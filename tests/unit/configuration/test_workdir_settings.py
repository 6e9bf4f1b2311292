"""`workdir:` in project.yml and in W&B sweep files."""

from __future__ import annotations

from pathlib import Path

import pytest
from project_directory import ProjectDirectory

from framework.configuration.load import load_project
from framework.configuration.workdir_settings import workdir_of
from framework.errors import ProjectError

_HAS_TO_BE = "has to be the path of a directory in the project, from its own, as in src; without .."


@pytest.fixture
def project(tmp_path: Path) -> ProjectDirectory:
    for name in ("src/deep", "scripts", "data", ".venv"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "src/train.py").touch()
    (tmp_path / ".venv/pyvenv.cfg").touch()
    (tmp_path / "link").symlink_to("src")
    (tmp_path / ".gitignore").write_text("data/\n")
    return ProjectDirectory(tmp_path)


@pytest.mark.parametrize(
    ("text", "path"), [("src", "src"), ("./src/deep/", "src/deep"), (".", ""), ("scripts", "scripts")]
)
def test_a_directory_of_the_project(project: ProjectDirectory, text: str, path: str) -> None:
    settings = f"command: run\nworkdir: {text}\n"
    loaded = project.load(settings=settings)
    assert loaded.workdir == path
    assert workdir_of(project.path / "project.yml") == path
    assert loaded.task_id({"x": 1}) == project.load().task_id({"x": 1}), "tasks keep their results"
    assert project.load().workdir == workdir_of(project.path / "project.yml") == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("scr", "there is no directory 'scr' in the project; did you mean 'src'?"),
        ("src/dep", "there is no directory 'src/dep' in the project; did you mean 'deep'?"),
        ("src/deep/x", "there is no directory 'src/deep/x' in the project; write the path of one"),
        ("src/train.py", "'src/train.py': train.py is no directory"),
        ("link", "'link': link is a link; name the directory that it leads to"),
        ("data", "'data': data is left out of the files that tasks have; see docs/projects.md"),
        (".venv", "'.venv': .venv is left out of the files that tasks have; see docs/projects.md"),
        *(
            (text, _HAS_TO_BE)
            for text in ("/src", "src/../scripts", "..", "~/src", "[src]", "''")
        ),
    ],
)  # fmt: skip
def test_what_is_none(project: ProjectDirectory, text: str, said: str) -> None:
    assert (
        project.problem(settings=f"command: run\nworkdir: {text}\n") == f"project.yml:2:10: workdir: {said}"
    )


def test_what_ignore_leaves_out(project: ProjectDirectory) -> None:
    said = project.problem(settings="command: run\nworkdir: src/deep\nignore: [deep]\n")
    assert said.startswith("project.yml:2:10: workdir: 'src/deep': deep is left out")


@pytest.mark.parametrize(
    ("program", "command"),
    [("train.py", "train.py"), ("../src/train.py", "train.py"), ("../top.py", "../top.py")],
)
def test_the_program_of_a_sweep_file_is_searched_from_it(
    project: ProjectDirectory, program: str, command: str
) -> None:
    (project.path / ".git").mkdir()
    (project.path / "top.py").touch()
    sweep = project.path / "scripts/wide.yaml"
    sweep.write_text(f"program: {program}\nworkdir: src\nmethod: grid\nparameters: {{x: {{values: [1]}}}}\n")
    loaded = load_project(sweep)
    assert loaded.path.resolve() == project.path.resolve()
    assert loaded.workdir == workdir_of(sweep) == "src"
    assert loaded.command[2] == command


def test_a_script_that_is_not_there(project: ProjectDirectory) -> None:
    sweep = project.path / "sweep.yaml"
    sweep.write_text("program: tran.py\nworkdir: src\nmethod: grid\nparameters: {x: {values: [1]}}\n")
    with pytest.raises(ProjectError, match=r"sweep.yaml:1:10: program: there is no src/tran\.py "):
        load_project(sweep)
    sweep.write_text(
        "command: [python, train.py, '${args}']\nworkdir: src\nmethod: grid\nparameters: {x: {value: 1}}"
    )
    assert load_project(sweep).path == project.path
