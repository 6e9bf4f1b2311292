"""Commands: macros, flags and variables, and values that come back as they were."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from project_directory import ProjectDirectory, values

from framework.project.command_line import (
    escaped,
    expand,
    identifying,
    literal,
    nested,
    placeholders,
    unset_variables,
)
from framework.space.values import Value

strings = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
scalars = st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), strings)


PARAMETERS: dict[str, Value] = {"lr": 0.1, "on": True, "off": False, "text": "a b"}


@pytest.mark.parametrize(
    ("macro", "words"),
    [
        ("${args}", ["--lr=0.1", "--on=True", "--off=False", "--text=a b"]),
        ("${args_no_boolean_flags}", ["--lr=0.1", "--on", "--text=a b"]),
        ("${args_no_equals}", ["--lr", "0.1", "--on", "True", "--off", "False", "--text", "a b"]),
        ("${args_no_hyphens}", ["lr=0.1", "on=True", "off=False", "text=a b"]),
        ("${args_append_hydra}", ["+lr=0.1", "+on=True", "+off=False", "+text=a b"]),
        ("${args_override_hydra}", ["++lr=0.1", "++on=True", "++off=False", "++text=a b"]),
        ("${args_json}", ['{"lr": 0.1, "on": true, "off": false, "text": "a b"}']),
        ("${no_args}", []),
    ],
)
def test_a_macro_is_words_in_its_place(macro: str, words: list[str]) -> None:
    assert expand(["run", macro], PARAMETERS) == ["run", *words]
    assert expand(["run", macro, "-u", macro], {}) == [
        "run",
        *expand([macro], {}),
        "-u",
        *expand([macro], {}),
    ]
    assert expand(["run", f"x{macro}"], {"y": 1}) == ["run", f"x{macro}", "--y=1"]


def test_variables_are_those_of_the_environment_given() -> None:
    command = ["run", "${envvar:HOME}/${envvar:X}", "${args}"]
    assert expand(command, {"x": 1}) == ["run", "${envvar:HOME}/${envvar:X}", "--x=1"]
    assert expand(command, {"x": "${envvar:X}"}, {"HOME": "/me", "X": "$HOME"}) == [
        "run", "/me/$HOME", "--x=${envvar:X}",
    ]  # fmt: skip
    assert expand(command, {}, {}) == ["run", "HOME/X"], "as in W&B, the name of one that is not set"
    assert unset_variables(command, {"X": ""}) == ["HOME"]


def test_lists_mappings_and_null_are_written_as_python_does() -> None:
    parameters: dict[str, Value] = {"layers": [64, 32], "opt": {"name": "sgd"}, "clip": None}
    words = ["--layers=[64, 32]", "--opt={'name': 'sgd'}", "--clip=None"]
    assert expand(["${args}"], parameters) == expand(["${args_no_boolean_flags}"], parameters) == words
    assert json.loads(expand(["${args_json}"], parameters)[0]) == parameters


def test_metaparameters_in_mappings_are_mappings_in_json() -> None:
    parameters: dict[str, Value] = {"opt.name": "sgd", "opt.rate.first": 0.1, "a.b": 1}
    paths = {"opt.name": ("opt", "name"), "opt.rate.first": ("opt", "rate", "first")}
    inner = {"opt": {"name": "sgd", "rate": {"first": 0.1}}, "a.b": 1}
    assert (
        nested(parameters, paths) == json.loads(expand(["${args_json}"], parameters, {}, paths)[0]) == inner
    )
    assert expand(["${args_no_hyphens}"], parameters, {}, paths) == [
        "opt.name=sgd",
        "opt.rate.first=0.1",
        "a.b=1",
    ]


def test_the_file_with_the_arguments_is_that_of_the_attempt() -> None:
    assert expand(["${args_json_file}"], {"x": 1}, {"TASK_DIR": "/t/1/files"}) == ["/t/1/arguments.json"]
    assert expand(["${args_json_file}"], {"x": 1}) == ["${args_json_file}"]


@pytest.mark.parametrize(
    ("word", "filled"),
    [
        ("{lr}", "0.1"),
        ("--lr={lr}/{text}.txt", "--lr=0.1/a b.txt"),
        ("{on}{off}", "TrueFalse"),
        ("{layers}", "[64, 32]"),
        ("{clip}", "None"),
        ("{task_id}.{task_attempt}", "abc.2"),
        ("{task_dir}/o.txt", "/t/o.txt"),
        ("{{lr}}", "{lr}"),
        ("{{{lr}}}", "{0.1}"),
        ("${{x}}", "${x}"),
        ("${lr}", "${lr}"),
        ("${{envvar:HOME}}", "${envvar:HOME}"),
        ("${envvar:HOME}/{opt.name}", "/{lr}/sgd"),
    ],
)
def test_names_in_braces_are_metaparameters_within_a_word(word: str, filled: str) -> None:
    parameters: dict[str, Value] = {**PARAMETERS, "layers": [64, 32], "clip": None, "opt.name": "sgd"}
    environment = {"TASK_ID": "abc", "TASK_ATTEMPT": "2", "TASK_DIR": "/t", "HOME": "/{lr}"}
    assert expand(["run", word, "${no_args}"], parameters, environment) == ["run", filled]


def test_what_replaces_a_name_is_not_read_again() -> None:
    parameters: dict[str, Value] = {"a": "{b} {{ ${envvar:HOME} ${args}", "b": "{a}"}
    environment = {"HOME": "/me"}
    assert expand(["{a}", "x{b}"], parameters, environment) == ["{b} {{ ${envvar:HOME} ${args}", "x{a}"]
    assert expand(["{a}"], {"a": "${args}"}, environment) == ["${args}"]
    assert expand(["${envvar:HOME}", "${no_args}"], {"a": 1}, {"HOME": "{a}"}) == ["{a}"]


def test_a_command_with_a_metaparameter_gets_nothing_else() -> None:
    parameters: dict[str, Value] = {"a": 1, "b": 2}
    assert expand(["run", "{b}"], parameters) == ["run", "2"]
    assert expand(["run", "{b}", "${args}"], parameters) == ["run", "2", "--a=1", "--b=2"]
    assert expand(["run", "{task_dir}/{{x}}"], parameters) == ["run", "{task_dir}/{x}", "--a=1", "--b=2"]
    assert placeholders(["{b}{{c}}", "{a}{b}", "{task_dir}", "${args}", "${c}"]) == ["b", "a"]


@pytest.mark.parametrize(
    "word", ["{}", "a{b}", "}{", "{{a}}", "${now:%H}", "${envvar:X}{", "${args}", "x${args}"]
)
def test_an_escaped_word_stands_for_itself(word: str) -> None:
    assert literal(escaped(word)) == word
    assert identifying(["run", escaped(word)]) == ["run", word]


def test_a_word_that_differs_between_tasks_is_no_literal() -> None:
    assert literal("./{kernel}.sh") is None
    assert literal("{task_dir}") is None
    assert literal("{{x}}") == "{x}"


def test_a_command_is_known_by_its_words_with_their_braces() -> None:
    assert identifying(["awk", "{{print}}", "${args}"]) == ["awk", "{print}", "${args}"]
    with_names = identifying(["run", "{a}", "{{b}}"])
    assert with_names == ["", "run", "{a}", "{{b}}"]
    assert with_names != identifying(["run", "{{a}}", "{{b}}"])


def test_a_command_without_a_macro_gets_flags() -> None:
    assert expand(["run"], {"on": True, "off": False, "x": 1e-7}) == ["run", "--on", "--x=1e-07"]


@given(st.lists(scalars, min_size=1, unique_by=lambda value: (type(value), repr(value))))
def test_every_value_comes_back_from_the_command_line(
    tmp_path_factory: pytest.TempPathFactory, chosen: list[Value]
) -> None:
    # JSON is YAML, so this is any value in double quotes and any number as programs write it
    project = ProjectDirectory(tmp_path_factory.mktemp("project")).load(json.dumps({"x": chosen}))
    assert [(type(value), repr(value)) for value in values(project)] == [(type(v), repr(v)) for v in chosen]
    for combination in project.space:
        (value,) = combination.values()
        options = project.argv(combination)[1:]
        if isinstance(value, bool):
            assert options == (["--x"] if value else [])
        else:
            (option,) = options
            assert isinstance(value, str | int | float)
            assert type(value)(option.removeprefix("--x=")) == value
