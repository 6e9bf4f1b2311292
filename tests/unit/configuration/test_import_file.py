"""Import: whose file it is, and what is said of a file that is nobody's."""

from pathlib import Path

import pytest
from project_directory import ProjectDirectory

from framework.cli.main import main
from framework.configuration.import_file import import_file
from framework.errors import ProjectError


@pytest.mark.parametrize(
    ("text", "tool"),
    [
        ('{"x": {"_type": "choice", "_value": [1, 2]}}', "NNI"),
        ("searchSpace: {x: {_type: choice, _value: [1, 2]}}\ntrialCommand: a, b", "NNI"),
        ("x: {type: categorical, vals: [1, 2]}", "Determined"),
        ("description: a, b\nhyperparameters: {x: {type: categorical, vals: [1, 2]}}", "Determined"),
        ("train: {main: a, flags: {x: [1, 2]}}", "Guild"),
        ("- model: m\n  operations: {train: {flags: {x: [1, 2]}}}", "Guild"),
        ("x: {grid_search: [1, 2]}", "Ray Tune"),
        ("x: tune.choice([1, 2])", "Ray Tune"),
        ("hydra: {sweeper: {params: {x: 'choice(1, 2)'}}}\nrun: {flags: {y: 3}}", "Hydra"),
        ("hydra.sweeper.params: {x: '1,2'}", "Hydra"),
        ("- x=1,2", "Hydra"),
        ("x: 1,2", "Hydra"),
    ],
)
def test_each_file_is_taken_for_that_of_its_tool(directory: ProjectDirectory, text: str, tool: str) -> None:
    file = directory.path / "theirs.yaml"
    file.write_text(text)
    found = import_file(file)
    assert found.startswith(f"# theirs.yaml of {tool}, imported\n")
    assert list(directory.space(found)) == [{"x": 1}, {"x": 2}]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x: 3", "1:1: no search space of Hydra, NNI, "),
        ("- 1", "1:1: no search space of"),
        ("", "1:1: the file is empty"),
        ("x: [1", "1:6: not valid YAML"),
    ],
)
def test_other_files(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "theirs.yaml"
    file.write_text(text)
    with pytest.raises(ProjectError) as caught:
        import_file(file)
    assert str(caught.value).startswith(f"{file}:{problem}")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "space.json"
    file.write_text('{\n\t"x": {"_type": "uniform", "_value": [0, 1]}\n}')
    assert main(["import", str(file)]) == 0
    assert capsys.readouterr().out.endswith("x: {min: 0, max: 1, distribution: uniform}\n")
    file.write_text('{\n\t"x": {"_type": "uniform", "_value": [0]},\n\t"y": {"_type": "z", "_value": []}\n}')
    assert main(["import", str(file)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert [line.removeprefix(f"{file}:").partition(";")[0] for line in said.err.splitlines()] == [
        "2:38: x: 2 numbers are needed",
        "3:7: y: _type z has no counterpart",
    ]
