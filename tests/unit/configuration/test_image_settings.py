"""`packages:`, `build:` and `docker_options:` in project.yml."""

from __future__ import annotations

from pathlib import Path

import pytest

from framework.configuration.load import load_project
from framework.errors import ProjectError


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "parameters.yml").write_text("n: 1\n")
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/Dockerfile").write_text("FROM x\n")
    return tmp_path


def problems(project: Path, settings: str) -> list[str]:
    """What is wrong, as LINE:COLUMN: TEXT."""
    (project / "project.yml").write_text(f"command: x\n{settings}\n")
    with pytest.raises(ProjectError) as caught:
        load_project(project)
    return [line.removeprefix(f"{project}/project.yml:") for line in caught.value.problems]


def test_what_is_taken(project: Path) -> None:
    (project / "project.yml").write_text(
        "command: x\npackages: [git, g++, libgl1, git]\nbuild: ./docker/Dockerfile\n"
    )
    loaded = load_project(project)
    assert loaded.packages == ("git", "g++", "libgl1")
    assert loaded.build == "docker/Dockerfile"
    assert loaded.settings_of_hosts == ("packages", "build")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("packages: git", "2:11: packages: has to be a list of Debian packages, as in [git, gcc]"),
        (
            "packages: [git, -o]",
            "2:17: packages: '-o' is not the name of a Debian package; write its name alone",
        ),
        ("packages: ['a b']", "2:12: packages: 'a b' is not the name"),
        ("packages: [git=1]", "2:12: packages: 'git=1' is not the name"),
        ("build: [x]", "2:8: build: has to be the path of a Dockerfile in the project"),
        ("build: docker", "2:8: build: 'docker' is a directory"),
        ("build: Dockerfile", "2:8: build: there is no 'Dockerfile' among the files of the project"),
        ("build: ../x", "2:8: build: '../x' leads out of the project"),
        ("build: docker/Dockerfile\nimage: x", "2:1: an image and a build; tasks run in one of them, remove"),
    ],
)
def test_what_is_refused(project: Path, settings: str, said: str) -> None:
    (line,) = problems(project, settings)
    assert line.startswith(said)
