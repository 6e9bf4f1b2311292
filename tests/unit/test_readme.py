"""README.md: its examples of projects are right, and stand for what it says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from framework.configuration.load import load_project
from framework.errors import ProjectError
from framework.project.project import Project
from framework.project.resources import Resources
from framework.space.product import listed
from framework.space.values import Value

README = (Path(__file__).parents[2] / "README.md").read_text()


def blocks(section: str) -> list[str]:
    """The indented blocks of a section, without their indentation."""
    text = re.search(rf"^###? {section}$(.*?)^##", README, re.DOTALL | re.MULTILINE)
    assert text is not None, f"no section {section}"
    found = re.findall(r"(?:^    .*\n|^\n(?=    ))+", text[1], re.MULTILINE)
    return [re.sub("^    ", "", block, flags=re.MULTILINE).strip("\n") + "\n" for block in found]


def load(path: Path, parameters: str, settings: str = "command: python train.py\n") -> Project:
    path.mkdir(exist_ok=True)
    (path / "project.yml").write_text(settings)
    (path / "parameters.yml").write_text(parameters)
    return load_project(path)


def shown(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def lines(block: str) -> list[str]:
    return block.splitlines()


@pytest.mark.parametrize("line", lines(blocks("Metaparameters")[0]))
def test_each_form_stands_for_what_is_said(tmp_path: Path, line: str) -> None:
    _, _, said = line.partition("#")
    ((_, values),) = load(tmp_path, line).search_space.dimensions.items()
    assert ", ".join(map(shown, listed(values))) == said.strip()


def test_what_else_can_be_said(tmp_path: Path) -> None:
    project = load(tmp_path, blocks("Metaparameters")[1])
    said = re.search(r"(\d+) combinations with (\d+) seeds", README)
    assert said is not None
    assert project.space.count == int(said[1]) * int(said[2])
    assert list(project.space)[-1] == {
        "optimizer.name": "sgd", "momentum": 0.99, "width": 32, "depth": 2, "seed": 1,
    }  # fmt: skip


@pytest.mark.parametrize("line", lines(blocks("Random, adaptive, and ended early")[0]))
def test_each_distribution_is_drawn_from(tmp_path: Path, line: str) -> None:
    settings = "command: python train.py\nmethod: random\nrun_cap: 20\nseed: 1\n"
    project = load(tmp_path, line, settings)
    drawn = [tuple(combination.values()) for combination in project.space]
    assert 2 <= len(drawn) == len(set(drawn)) <= 20


def test_early_termination(tmp_path: Path) -> None:
    settings = "command: python train.py\n" + blocks("Random, adaptive, and ended early")[1]
    early = load(tmp_path, "x: 1", settings).early_termination
    assert early is not None
    assert [step for step in range(1, 30) if early.is_rung(step)] == [3, 9, 27]


def test_all_settings(tmp_path: Path) -> None:
    (settings,) = (block for block in blocks("Writing a project") if block.startswith("command:"))
    project = load(tmp_path, "x: 1", settings)
    assert (project.metric, project.timeout, project.max_failures) == ("accuracy", 1800, 10)
    needs = blocks("GPUs, CPUs, memory")[0]
    resources = load(tmp_path, "x: 1", "command: python train.py\n" + needs).resources
    assert resources == Resources(gpus=Fraction(1), cpus=Fraction(2), memory=4 * 2**30)
    function = blocks("Functions")[0].splitlines()[0]
    assert load(tmp_path, "x: 1", function).function == "train:run"


def test_what_is_wrong_is_said_like_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = "command: python train.py\nmetric: accuracy\nretires: 1\n"
    with pytest.raises(ProjectError) as caught:
        load(Path("my project"), "x: 1\ny: {range: [1, 0, 1]}\n", settings)
    (said,) = (block for block in blocks("Writing a project") if block.startswith("my project/"))
    assert str(caught.value).splitlines() == said.splitlines()


def test_what_can_be_said_arrives_at_the_program(tmp_path: Path) -> None:
    project = load(tmp_path / "p", blocks("Metaparameters")[1], f"command: [{sys.executable}, train.py]\n")
    (tmp_path / "p" / "train.py").write_text("import json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    command = [sys.executable, "-m", "framework", "run", "p", "--data", "data", "--slots", "2"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    for combination in (dict(each) for each in project.space):
        stdout = tmp_path / "data/tasks" / project.task_id(combination) / "1/stdout"
        assert json.loads(stdout.read_text()) == [f"--{name}={value}" for name, value in combination.items()]
