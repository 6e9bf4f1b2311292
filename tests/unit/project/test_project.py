"""Projects: everything that can be said, and everything that is wrong with it, at once and with its place."""

import json
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.configuration.load import load_project
from framework.errors import ProjectError
from framework.messages.task_ids import task_id
from framework.project.project import Project
from framework.space.product import listed
from framework.space.values import Value

CHECKOUT = Path(__file__).parents[3]


class Directory:
    """A project to be written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self, parameters: str | None, settings: str | None = "command: run") -> Project:
        for name, text in (("project.yml", settings), ("parameters.yml", parameters)):
            if text is not None:
                (self.path / name).write_text(text)
        return load_project(self.path)

    def problems(self, parameters: str | None, settings: str | None = "command: run") -> list[str]:
        with pytest.raises(ProjectError) as caught:
            self.load(parameters, settings)
        assert str(caught.value) == "\n".join(caught.value.problems)
        return [problem.removeprefix(f"{self.path}/") for problem in caught.value.problems]


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    return Directory(tmp_path)


def values(project: Project, name: str = "x") -> list[Value]:
    return list(listed(project.search_space.dimensions[name]))


def test_a_whole_project(directory: Directory) -> None:
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


def test_defaults(directory: Directory) -> None:
    project = directory.load("x: 1", "command: [run, 'a b', 3, '']")
    assert project.command == ("run", "a b", "3", "")
    assert (project.metric, project.goal, project.timeout, project.retries) == (None, "maximize", None, 0)
    assert project.image is None
    assert load_project(directory.path, "other").name == "other"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("1d", 86400), ("45", 45), ("0.5", 0.5), ("1.5 h", 5400)],
)
def test_timeout(directory: Directory, text: str, seconds: float) -> None:
    assert directory.load("x: 1", f"command: run\ntimeout: {text}").timeout == seconds


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("x: 1e-3", [1e-3]),
        ("x: [1, 1.0, '1', true]", [1, 1.0, "1", True]),
        ("x: [no, yes, on, off, y, 1:30, 1_000, 0b1, .5, 5., +3]",
         ["no", "yes", "on", "off", "y", "1:30", "1_000", "0b1", 0.5, 5.0, 3]),
        ("x: [0o17, 0x1F, 017, -0.0, 1E5]", [15, 31, 17, -0.0, 1e5]),
        ("x: [True, FALSE, TrUe]", [True, False, "TrUe"]),
        ("x: ['', \"\", !!str 5, !!str null, \"a\\nb\"]", None),
        ("x: |\n  two\n  lines\n", ["two\nlines\n"]),
        ("x: &a [1, 2]\ny: *a", [1, 2]),
        ("'x': \"2024-01-01\"", ["2024-01-01"]),
        ("x: {range: [0, 3, 1]}", [0, 1, 2]),
        ("x:\n  range: [1, 0, -0.5]", [1.0, 0.5]),
        ("x: !!python/tuple [0.1, 0.4, 0.1]", [0.1, 0.2, 0.3]),
        ("x: !!python/tuple\n- 0\n- 0x10\n- 8", [0, 8]),
        ("x: $HOME/*.txt it's", ["$HOME/*.txt it's"]),
    ],
)  # fmt: skip
def test_values(directory: Directory, line: str, expected: list[Value] | None) -> None:
    if expected is None:
        assert directory.problems(line) == ["parameters.yml:1:9: '' is in the list twice; remove one"]
        return
    found = values(directory.load(line))
    assert found == expected
    assert [type(value) for value in found] == [type(value) for value in expected]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("x: null", "1:4: null is no value"),
        ("x:", "1:3: null is no value"),
        ("x: [1, ~]", "1:8: null is no value"),
        ("x: .nan", "1:4: nan is not a number"),
        ("x: [-.inf]", "1:5: -inf is not a number"),
        ("x: 1e999", "1:4: inf is not a number"),
        ("x: 2024-01-01", "1:4: 2024-01-01 could be a date"),
        ("x: 2024-01-01 10:00:00", "1:4: 2024-01-01 10:00:00 could be a date"),
        ("x: [[1, 2]]", "1:5: a list or mapping cannot be a value"),
        ("x: [{a: 1}]", "1:5: a list or mapping cannot be a value"),
        ("x: []", "1:4: no value, no combinations"),
        ("x: {}", "1:4: no value, no combinations"),
        ("x: {range: [0, 1, 1], rang: 1}", "1:23: unknown key 'rang'; did you mean 'range'?"),
        ("x: [1, 2, 1]", "1:11: 1 is in the list twice"),
        ("x: [1.0, 1.00]", "1:10: 1.0 is in the list twice"),
        ("x: 1\nx: 2", "2:1: 'x' is here twice, first in line 1"),
        ("x: !!python/tuple [0, 1]", "1:4: this is no interval; write three numbers"),
        ("x: !!python/tuple [0, 1, '1']", "1:4: this is no interval"),
        ("x: !!python/tuple [0, 1, true]", "1:4: this is no interval"),
        ("x: {range: 5}", "1:12: this is no interval"),
        ("x: {range: [0, 1, 0]}", "1:12: a step of 0 never ends"),
        ("x: {range: [0, 1, -1]}", "1:12: the interval is empty"),
        ("x: {range: [0, .inf, 1]}", "1:12: inf is no number"),
        ("x: !!python/object/apply:os.system [id]", "1:4: the tag !!python/object/apply:os.system is"),
        ("x: !!python/name:os.system", "1:4: the tag !!python/name:os.system is not allowed"),
        ("x: !!python/tuple 5", "1:4: the tag !!python/tuple is not allowed"),
        ("x: [!!python/tuple [0, 1, 1]]", "1:5: a list or mapping cannot be a value"),
        ("x: !mine 5", "1:4: the tag !mine is not allowed"),
        ("x: !!float 5", "1:4: the tag !!float is not allowed"),
        ("? [a]\n: 1", "1:3: a name has to be text"),
        ("1: 2", "1:1: a name has to be text"),
        ("true: 2", "1:1: a name has to be text"),
        ("-x: 2", "1:1: '-x' cannot be an option"),
        ("a=b: 2", "1:1: 'a=b' cannot be an option"),
        ("x: *a", "1:4: *a stands for nothing"),
        ("x: &a [*a]", "1:8: *a stands for nothing"),
        ('x: "a\\0b"', "1:4: text with a NUL"),
        ('x: "\\uD800"', "1:4: text with half of a surrogate pair"),
        ("- 1", "1:1: the file names nothing; write lines"),
        ("just text", "1:1: the file names nothing"),
        ("{}", "1:1: no metaparameters"),
        ("", "1:1: the file is empty"),
        ("# nothing\n", "1:1: the file is empty"),
        ("---\n...\n", "2:1: the file names nothing"),
        ("x: 1\n---\ny: 2", "2:1: a second document"),
        ("x: [1", "1:6: this is no YAML: expected ',' or ']'"),
        ("x: 1\n\ty: 2", "2:1: this is no YAML"),
        ("x: 1\ny: \x07", "2:4: character #x0007 is not allowed in YAML"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_parameters(directory: Directory, line: str, problem: str) -> None:
    found = directory.problems(line)
    assert found[0].startswith(f"parameters.yml:{problem}"), found
    assert len(found) == 1
    assert re.search("; |\\?$", found[0]), "it does not say what to do"


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ("metric: x", "1:1: no command; write"),
        ("command: ''", "1:10: command: has to be text"),
        ("command: '  '", "1:10: command: is empty"),
        ("command: []", "1:10: command: is empty"),
        ("command: python 'train.py", "1:10: command: No closing quotation"),
        ("command: {python: train.py}", "1:10: command: has to be text"),
        ("command: [python, [train.py]]", "1:10: command: has to be text"),
        ("command: [python, null]", "1:10: command: has to be text"),
        ("command: run\nmetrik: x", "2:1: unknown key 'metrik'; did you mean 'metric'?"),
        ("command: run\nxyz: 1", "2:1: unknown key 'xyz'; known: command, function, metric"),
        ("command: run\nfunction: train:run", "2:1: a command and a function; one of them runs"),
        ("function: train", "1:11: function: 'train' is no function; write its module"),
        ("function: 'train: run'", "1:11: function: 'train: run' is no function"),
        ("function: models/train:run", "1:11: function: 'models/train:run' is no function"),
        ("function: train:class", "1:11: function: 'train:class' is no function"),
        ("function: .train:run", "1:11: function: '.train:run' is no function"),
        ("function: train:run.now", "1:11: function: 'train:run.now' is no function"),
        ("function: [train, run]", "1:11: function: has to be text"),
        ("command: run\nmetric: a b", "2:9: metric: 'a b' cannot name a metric"),
        ("command: run\nmetric: a\ngoal: max", "3:7: goal: 'max' is no goal; write maximize or minimize"),
        ("command: run\ngoal: minimize", "2:1: a goal without a metric"),
        ("command: run\ntimeout: 0", "2:10: timeout: '0' is no time"),
        ("command: run\ntimeout: -5", "2:10: timeout: '-5' is no time"),
        ("command: run\ntimeout: 5 weeks", "2:10: timeout: '5 weeks' is no time"),
        ("command: run\ntimeout: [5]", "2:10: timeout: has to be text"),
        ("command: run\nretries: -1", "2:10: retries: has to be a whole number"),
        ("command: run\nretries: 1.5", "2:10: retries: has to be a whole number"),
        ("command: run\nretries: true", "2:10: retries: has to be a whole number"),
        ("command: run\nmax_failures: 0", "2:15: max_failures: has to be a whole number, 1 or more"),
        ("command: run\nmax_failures: many", "2:15: max_failures: has to be a whole number, 1 or more"),
        ("command: run\nimage: --privileged", "2:8: image: '--privileged' is no image"),
        ("command: run\nimage: a b", "2:8: image: 'a b' is no image"),
        ("command: run\nmethod: gird", "2:9: method: 'gird' is no method; did you mean 'grid'?"),
        ("command: run\nrun_cap: 0", "2:10: run_cap: has to be a whole number, 1 or more"),
        ("command: run\nmethod: random\nseed: -1", "3:7: seed: has to be a whole number, 0 or more"),
        ("command: run\nseed: 1", "2:1: seed: a grid has nothing random; remove it"),
        ("", "1:1: the file is empty"),
        (None, "1:1: cannot be read (No such file or directory)"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_settings(directory: Directory, settings: str | None, problem: str) -> None:
    (found,) = directory.problems("x: 1", settings)
    assert found.startswith(f"project.yml:{problem}"), found
    assert re.search("; |\\?$|has to be a whole number", found), "it does not say what to do"


def test_methods(directory: Directory) -> None:
    text = "x: {range: [0, 1000000, 1]}\ny: [a, b]"
    assert directory.load(text).space.count == 2_000_000
    assert directory.load(text, "command: run\nrun_cap: 5").space.count == 5
    shuffled = directory.load(text, "command: run\nmethod: random\nrun_cap: 5\nseed: 3").space
    assert len({each["x"] for each in shuffled}) == 5
    assert max(int(each["x"]) for each in shuffled) > 1000
    drawn = directory.load("x: {min: 0.0, max: 1}\nseeds: 2", "command: run\nmethod: random\nrun_cap: 4")
    assert [each["seed"] for each in drawn.space] == [0, 1, 0, 1]
    (problem,) = directory.problems("x: {min: 0.0, max: 1}", "command: run\nmethod: random")
    assert problem.startswith("project.yml:2:1: draws from distributions never end; say how many")


def test_a_function(directory: Directory) -> None:
    project = directory.load("x: [1, 1.5]\non: true\ntext: it's\n", "function: models.deep:run")
    assert (project.function, project.command) == ("models.deep:run", ())
    parameters = project.space.combination(1)
    assert project.shown(parameters) == """models.deep:run(x=1.5, on=True, text="it's")"""
    command = directory.load("x: [1, 1.5]\non: true\ntext: it's\n", "command: run 'a b'")
    assert command.shown(parameters) == """run 'a b' --x=1.5 --on '--text=it'"'"'s'"""
    # known to every journal there is
    assert command.task_id(parameters) == task_id(command.command, parameters) == "dc4867c3947b6613"
    assert project.task_id(parameters) == "45a3298c630c42c6"


def test_metaparameters_that_no_function_can_have(directory: Directory) -> None:
    assert directory.problems("lr.max: 1\nx: 2\nlambda: 3", "\nfunction: train:run") == [
        "project.yml:2:1: metaparameter 'lr.max' cannot be an argument of a function; rename it",
        "project.yml:2:1: metaparameter 'lambda' cannot be an argument of a function; rename it",
    ]


def test_nesting_without_end(directory: Directory) -> None:
    found = directory.problems("x: " + "[" * 300 + "]" * 300 + "\n-y: 1")
    assert [problem.partition(";")[0] for problem in found] == [
        "parameters.yml:1:5: a list or mapping cannot be a value",
        "parameters.yml:1:23: nested more than 20 deep",
        "parameters.yml:2:1: '-y' cannot be an option",
    ]


def test_all_problems_at_once(directory: Directory) -> None:
    found = directory.problems("-x: 1\ny: []\nz: {range: [1, 1, 1]}\n", "comand: run\nretries: x\n")
    assert [problem.partition(": ")[0] for problem in found] == [
        "project.yml:1:1", "project.yml:1:1", "project.yml:2:10", "parameters.yml:1:1", "parameters.yml:2:4",
        "parameters.yml:3:12",
    ]  # fmt: skip


def test_missing_files(directory: Directory) -> None:
    found = directory.problems(None, None)
    assert [problem.partition(":")[0] for problem in found] == ["project.yml", "parameters.yml"]
    with pytest.raises(ProjectError, match="no such directory"):
        load_project(directory.path / "other")


def test_a_file_that_is_no_utf8(directory: Directory) -> None:
    (directory.path / "parameters.yml").write_bytes(b"x: \xff")
    assert directory.problems(None) == ["parameters.yml:1:1: byte 3 is no UTF-8; save the file as UTF-8"]


def test_a_byte_order_mark_and_windows_line_ends(directory: Directory) -> None:
    (directory.path / "parameters.yml").write_bytes(b"\xef\xbb\xbfx: 1\r\ny: two words\r\n")
    assert directory.load(None).space.combination(0) == {"x": 1, "y": "two words"}


strings = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
scalars = st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), strings)


@given(st.lists(scalars, min_size=1, unique_by=lambda value: (type(value), repr(value))))
def test_every_value_comes_back_from_the_command_line(
    tmp_path_factory: pytest.TempPathFactory, chosen: list[Value]
) -> None:
    # JSON is YAML, so this is any value in double quotes and any number as programs write it
    project = Directory(tmp_path_factory.mktemp("project")).load(json.dumps({"x": chosen}))
    assert [(type(value), repr(value)) for value in values(project)] == [(type(v), repr(v)) for v in chosen]
    for combination in project.space:
        (value,) = combination.values()
        options = project.argv(combination)[1:]
        if isinstance(value, bool):
            assert options == (["--x"] if value else [])
        else:
            (option,) = options
            assert type(value)(option.removeprefix("--x=")) == value


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=50))
def test_any_text_is_a_project_or_a_list_of_problems(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    directory = Directory(tmp_path_factory.mktemp("project"))
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
