"""YAML as nodes: what is read, and everything that is wrong with a text, with its place."""

import pytest
from project_directory import ProjectDirectory


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
    found = directory.problems("x: " + "[" * 300 + "]" * 300 + "\n-y: 1")
    assert [problem.partition(";")[0] for problem in found] == [
        "parameters.yml:1:5: a list or mapping cannot be a value",
        "parameters.yml:1:23: nested more than 20 deep",
        "parameters.yml:2:1: '-y' cannot be an option",
    ]


def test_a_file_that_is_no_utf8(directory: ProjectDirectory) -> None:
    (directory.path / "parameters.yml").write_bytes(b"x: \xff")
    assert directory.problems(None) == ["parameters.yml:1:1: byte 3 is not UTF-8; save the file as UTF-8"]


def test_a_byte_order_mark_and_windows_line_ends(directory: ProjectDirectory) -> None:
    (directory.path / "parameters.yml").write_bytes(b"\xef\xbb\xbfx: 1\r\ny: two words\r\n")
    assert directory.load(None).space.combination(0) == {"x": 1, "y": "two words"}


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
