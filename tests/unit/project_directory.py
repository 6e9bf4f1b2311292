"""A project in a directory, written by a test, and loaded or found to be wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from framework.cli import local_run
from framework.configuration.load import load_project
from framework.configuration.parameters import read_parameters
from framework.configuration.yaml_nodes import Problems
from framework.errors import ProjectError
from framework.project.project import Project
from framework.space.product import Space, listed
from framework.space.values import Value


class ProjectDirectory:
    """The directory of a project."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self, parameters: str | None = "x: 1", settings: str | None = "command: run") -> Project:
        """The project that these texts of its two files make; None: the file stays as it is."""
        for name, text in (("project.yml", settings), ("parameters.yml", parameters)):
            if text is not None:
                (self.path / name).write_text(text)
        return load_project(self.path)

    def problems(self, parameters: str | None = "x: 1", settings: str | None = "command: run") -> list[str]:
        """Everything that is wrong with these texts, each as file:line:column: problem."""
        with pytest.raises(ProjectError) as caught:
            self.load(parameters, settings)
        assert str(caught.value) == "\n".join(caught.value.problems)
        return [problem.removeprefix(f"{self.path}/") for problem in caught.value.problems]

    def problem(self, parameters: str | None = "x: 1", settings: str | None = "command: run") -> str:
        """The only thing that is wrong."""
        (problem,) = self.problems(parameters, settings)
        return problem

    def space(self, text: str, grid: bool = True) -> Space:
        """The space that the text of parameters.yml describes."""
        space, problems = self._read_space(text, grid)
        assert not problems
        return space

    def problems_of_space(self, text: str, grid: bool = True) -> list[str]:
        """What is wrong with the text of parameters.yml, as line:column: problem, which says what to do."""
        _, problems = self._read_space(text, grid)
        for problem in problems:
            assert re.search(r"; |\?$", problem), f"it does not say what to do: {problem}"
        return problems

    def _read_space(self, text: str, grid: bool) -> tuple[Space, list[str]]:
        file = self.path / "parameters.yml"
        file.write_text(text)
        problems = Problems()
        space = read_parameters(file, problems, grid=grid)
        return space, [problem.removeprefix(f"{file}:") for problem in problems.lines]


@pytest.fixture
def directory(tmp_path: Path) -> ProjectDirectory:
    return ProjectDirectory(tmp_path)


PROGRAM = """\
import sys
x = int(sys.argv[1].partition("=")[2])
print(f"Epoch 1: loss={x + 5}\\nEpoch 2: loss={x}")
sys.exit(x == 3)
"""


@pytest.fixture
def local_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in the current directory, for local runs; the last of its three tasks fails."""
    path = tmp_path / "my project"
    path.mkdir()
    (path / "project.yml").write_text("command: python3 run.py\nmetric: loss\ngoal: minimize\n")
    (path / "parameters.yml").write_text("x: [2, 1, 3]\n")
    (path / "run.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(local_run, "configure_logging", lambda columns: None)  # it is the process's own
    return path


def numeric(value: Value) -> int | float:
    """A value that is a number."""
    assert isinstance(value, int | float)
    return value


def values(project: Project, name: str = "x") -> list[Value]:
    """The values of a metaparameter that has a list of them."""
    return list(listed(project.search_space.dimensions[name]))
