"""Files of other tools, as lines of parameters.yml or as problems."""

from __future__ import annotations

from pathlib import Path

from framework.configuration.import_file import import_file
from framework.configuration.parameters import read_parameters
from framework.configuration.yaml_nodes import Problems
from framework.errors import ProjectError


def lines(path: Path, text: str) -> list[str]:
    """The lines that a file becomes, without notes; or line:column: problem of what has no counterpart."""
    file = path / "theirs.yaml"
    file.write_text(text)
    try:
        found = import_file(file)
    except ProjectError as error:
        return [problem.removeprefix(f"{file}:").partition(";")[0] for problem in error.problems]
    ours = path / "parameters.yml"
    ours.write_text(found)
    problems = Problems()
    read_parameters(ours, problems, grid=False)
    assert problems.lines == []
    return [line for line in found.splitlines() if not line.startswith("#")]


def notes(path: Path, text: str) -> list[str]:
    """What is said of other files."""
    file = path / "theirs.yaml"
    file.write_text(text)
    return [line[2:] for line in import_file(file).splitlines() if line.startswith("#")][1:]
