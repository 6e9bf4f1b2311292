"""Where the program of a sweep file is, and with it its project."""

from contextlib import suppress
from pathlib import Path

import pytest

from framework.configuration.load import load_project
from framework.errors import ProjectError
from framework.project.project import Project

PARAMETERS = "method: grid\nparameters: {x: {values: [1, 2]}}\n"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for name in ("repo/.git", "repo/a/sweeps", "repo/models/deep"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("train.py", "repo/train.py", "repo/a/near.py", "repo/models/deep/__main__.py"):
        (tmp_path / name).touch()
    return tmp_path / "repo"


def load(repository: Path, text: str, root: Path | None = None) -> Project:
    file = repository / "a/sweeps/my sweep.yaml"
    file.write_text(text + PARAMETERS)
    return load_project(file, root=root)


@pytest.mark.parametrize(
    ("text", "root"),
    [
        ("program: train.py\n", "."),
        ("program: near.py\n", "a"),
        ("program: a/near.py\n", "."),
        ("command: [python, -m, '${program}', '${args}']\nprogram: models.deep\n", "."),
        ("command: [python, -m, models.deep, '${args}']\n", "."),
        ("command: [python, near.py, '${args}']\n", "a"),
        ("command: [python, -c, 'import fit', '${args}']\n", "a/sweeps"),
    ],
)
def test_the_project_is_the_nearest_directory_with_the_program(
    repository: Path, text: str, root: str
) -> None:
    project = load(repository, text)
    assert project.path.resolve() == (repository / root).resolve()
    assert project.name == "my sweep"
    assert any("--root DIR names another" in notice for notice in project.notices) == (root != "a/sweeps")


def test_a_program_above_the_file_brings_its_directory_into_the_project(repository: Path) -> None:
    for root in (None, repository):
        project = load(repository, "program: ../../train.py\n", root)
        assert project.path == repository
        assert project.argv({})[-1] == "train.py"
    with pytest.raises(
        ProjectError, match=r"there is no \.\./\.\./train\.py in .*/a; --root is the directory"
    ):
        load(repository, "program: ../../train.py\n", repository / "a")


def test_a_program_that_is_nowhere(repository: Path) -> None:
    with pytest.raises(
        ProjectError, match=r"there is no gone.py in .*sweeps, or up to .*/repo; write --root"
    ):
        load(repository, "program: gone.py\n")
    (repository.parent / "above.py").touch()
    with pytest.raises(ProjectError, match=r"there is no above\.py"):
        load(repository, "program: above.py\n")


def test_a_given_root(repository: Path) -> None:
    assert load(repository, "program: train.py\n", repository).path == repository
    with pytest.raises(ProjectError, match=r"there is no train.py in .*/a; --root is the directory"):
        load(repository, "program: train.py\n", repository / "a")
    with pytest.raises(ProjectError, match=r"models: no such|is not in .*models; copy it there"):
        load(repository, "command: [python, x.py, '${args}']\n", repository / "models")
    with pytest.raises(ProjectError, match="gone: no such directory"):
        load(repository, "program: train.py\n", repository / "gone")


def test_without_a_repository_the_search_ends_at_the_current_directory(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / ".git").rmdir()
    with pytest.raises(ProjectError, match=r"there is no train\.py beside this file"):
        load(repository, "program: train.py\n")
    monkeypatch.chdir(repository)
    assert load(repository, "program: train.py\n").path.resolve() == repository.resolve()


def test_a_command_of_the_system(repository: Path) -> None:
    project = load(repository, "command: ['${env}', '${program}', '${args}']\nprogram: fit-it\n")
    assert project.argv({}) == ["/usr/bin/env", "fit-it"]
    project = load(repository, "command: [uv, run, '${program}', '${args}']\nprogram: fit-it\n")
    assert project.argv({}) == ["uv", "run", "fit-it"]
    for words in ("'${interpreter}', '${program}'", "python3, '${program}'", "python, -m, '${program}'"):
        with pytest.raises(ProjectError, match="there is no fit-it"):
            load(repository, f"command: [{words}, '${{args}}']\nprogram: fit-it\n")


@pytest.mark.parametrize("before", ["", "../", "a/"])
@pytest.mark.parametrize(
    "text", ["program: {}.py", "command: [python, -m, '{}.b']", "command: [python, '{}.py']"]
)
def test_a_program_whose_name_is_too_long_for_a_file_is_not_there(
    repository: Path, before: str, text: str
) -> None:
    program = text.format(before + "n" * 300)
    with suppress(ProjectError):  # and no OSError
        load(repository, f"{program}\n")
