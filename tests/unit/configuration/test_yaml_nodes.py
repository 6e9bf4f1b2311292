"""YAML as nodes: what is read, and everything that is wrong with a text, with its place."""

import re
import time
from itertools import pairwise
from pathlib import Path

import pytest
from project_directory import ProjectDirectory

from framework.configuration.yaml_nodes import MappingNode, Position, Problems, ScalarNode, read_yaml


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("x: 1\nx: 2", "2:1: 'x' is defined twice, first in line 1"),
        ("x: !!python/object/apply:os.system [id]", "1:4: the tag !!python/object/apply:os.system is"),
        ("x: !!python/name:os.system", "1:4: the tag !!python/name:os.system is not allowed"),
        ("x: !!python/tuple 5", "1:4: the tag !!python/tuple is not allowed"),
        ("x: !mine 5", "1:4: the tag !mine is not allowed"),
        ("x: !!set {a}", "1:4: the tag !!set is not allowed"),
        ("x: !!float a", "1:4: 'a' is no !!float; leave the tag out"),
        ("? [a]\n: 1", "1:3: a name has to be text"),
        ("1: 2", "1:1: a name has to be text"),
        ("true: 2", "1:1: a name has to be text"),
        ("x: *a", "1:4: *a is not defined"),
        ("x: &a [*a]", "1:8: *a is not defined"),
        ("- 1", "1:1: the file has no names; write lines"),
        ("just text", "1:1: the file has no names"),
        ("", "1:1: the file is empty"),
        ("# nothing\n", "1:1: the file is empty"),
        ("---\n...\n", "2:1: the file has no names"),
        ("x: 1\n---\ny: 2", "2:1: a second document"),
        ("x: [1", "1:6: not valid YAML: expected ',' or ']'"),
        ("x: 1\n\ty: 2", "2:1: not valid YAML: a tab where YAML takes spaces only; write spaces"),
        ("x:\n  -\t- 1", "2:4: not valid YAML: a tab"),
        ("x: [1,\ny: 2", "2:5: not valid YAML: expected ',' or ']', but got '<stream end>'; close"),
        ("x: {y} z", "1:8: not valid YAML: text behind a closing bracket or quote; put the whole value"),
        ("x: [y, {z}/a]", "1:11: not valid YAML: text behind a closing bracket or quote"),
        ("x: 1\ny: 'a' b", "2:8: not valid YAML: text behind a closing bracket or quote"),
        (" x: 1\ny: 2", "2:1: not valid YAML: this line is indented unlike"),
        ("x: y: 2", "1:5: not valid YAML: ': ' in text, or a line that is indented too far"),
        ("x: @y", "1:4: not valid YAML: found character '@' that cannot start any token; quote text"),
        ("x: 1\n<<: 2", "2:5: << takes a mapping"),
        ("x: 1\ny: \x07", "2:4: character #x0007 is not allowed in YAML"),
    ],
)  # fmt: skip
def test_what_is_wrong(directory: ProjectDirectory, line: str, problem: str) -> None:
    (found,) = directory.problems_of_space(line)
    assert found.startswith(problem)


def test_nesting_without_end(directory: ProjectDirectory) -> None:
    for text in ("[" * 300 + "]" * 300, "[" * 100_000, "{a: " * 100_000):
        (found,) = directory.problems("x: " + text)
        assert re.match(r"parameters.yml:1:\d+: nested more than 20 deep; write", found)
    (found,) = directory.problems("x:\n  " + "- " * 100_000)
    assert found.startswith("parameters.yml:2:41: nested more than 20 deep; write")


def test_nesting_by_aliases(directory: ProjectDirectory) -> None:
    lines = ["x0: &x0 {values: [1]}", *(f"x{n}: &x{n} [*x{n - 1}]" for n in range(1, 5000))]
    (found,) = directory.problems("\n".join(lines))
    assert found.startswith("parameters.yml:19:12: nested more than 20 deep")


def test_aliases_that_stand_for_many_values(directory: ProjectDirectory) -> None:
    levels = ["a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9]"]
    levels += [f"{name}: &{name} [{', '.join([f'*{below}'] * 9)}]" for below, name in pairwise("abcdefghi")]
    for text in ("\n".join(levels), "\n".join(levels).replace("[", "{values: [").replace("]", "]}")):
        begin = time.monotonic()
        (found,) = directory.problems(text)
        assert re.match(r"parameters.yml:[56]:\d+: more than 100000 values, aliases written out", found)
        assert time.monotonic() - begin < 30


def test_merge_keys_that_stand_for_many_values(directory: ProjectDirectory) -> None:
    text = "a: &a {" + ", ".join(f"x{n}: {n}" for n in range(1000)) + "}\nb: {<<: [" + "*a, " * 1000 + "]}"
    (found,) = directory.problems(text)
    assert re.match(r"parameters.yml:2:\d+: more than 100000 values", found)


def test_a_file_of_any_size(directory: ProjectDirectory) -> None:
    assert directory.load("x: [" + ", ".join(map(str, range(20_000))) + "]").space.count == 20_000
    assert directory.problems("# " + "x" * 2**21) == [
        "parameters.yml:1:1: more than 2 MiB; make the file smaller"
    ]


@pytest.mark.parametrize("prefix", ["0x", "0o", "0b", "0", "1:", "1:1.", ""])
def test_numbers_of_any_length(directory: ProjectDirectory, prefix: str) -> None:
    text = prefix + "1" * 50_000
    (directory.path / "sweep.yaml").write_text(f"x: {text}\ny: {'1:' * 50_000}1\nz: {'9' * 350}:1.5\n")
    for legacy in (False, True):
        problems = Problems()
        node = read_yaml(directory.path / "sweep.yaml", problems, legacy=legacy)
        assert isinstance(node, MappingNode)
        for entry in node.entries:
            assert isinstance(entry.node, ScalarNode)
            assert len(str(entry.node.value)) < 200_000


def test_a_file_that_is_no_utf8(directory: ProjectDirectory) -> None:
    (directory.path / "parameters.yml").write_bytes(b"x: \xff")
    assert directory.problems(None) == ["parameters.yml:1:1: byte 3 is not UTF-8; save the file as UTF-8"]


def test_a_byte_order_mark_and_windows_line_ends(directory: ProjectDirectory) -> None:
    (directory.path / "parameters.yml").write_bytes(b"\xef\xbb\xbfx: 1\r\ny: two words\r\n")
    assert directory.load(None).space.combination(0) == {"x": 1, "y": "two words"}


def test_problems_and_notices_show_control_characters_as_they_are_written() -> None:
    problems, position = Problems(), Position(Path("a\nb"), 1, 2)
    problems.add(position, "\ufeffx: no such key")
    problems.note(position, "\x1b[31m: is ignored")
    assert problems.lines == [r"a\nb:1:2: \ufeffx: no such key"]
    assert problems.notices == [r"a\nb:1:2: \x1b[31m: is ignored"]


def test_tabs_between_the_tokens_of_a_line(directory: ProjectDirectory) -> None:
    space = directory.space("x: [1, 2]\t# a tab\ny:\t3\nz:\n  - 4\t\n")
    assert list(space) == [{"x": 1, "y": 3, "z": 4}, {"x": 2, "y": 3, "z": 4}]
    assert list(directory.space('x: "a\tb"')) == [{"x": "a\tb"}]


def test_merge_keys(directory: ProjectDirectory) -> None:
    space = directory.space(
        "a: &a {values: [1, 2]}\nb: {<<: *a}\n"
        "c: {values: [3], <<: [*a, {when: {a: 1}, values: [5]}]}\n<<: {d: 6, a: 7}\n",
    )
    assert [*space.names] == ["d", "a", "b", "c"]
    assert list(space)[:3] == [
        {"d": 6, "a": 1, "b": 1, "c": 3}, {"d": 6, "a": 1, "b": 2, "c": 3}, {"d": 6, "a": 2, "b": 1},
    ]  # fmt: skip
