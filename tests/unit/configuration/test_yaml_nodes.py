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
        ("x: 1\n\ty: 2", "2:1: not valid YAML"),
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
