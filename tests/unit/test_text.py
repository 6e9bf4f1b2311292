"""Text that cannot be passed to a program, or sent as JSON."""

from __future__ import annotations

import pytest

from framework.text import one_line, printable, text_problem


@pytest.mark.parametrize("text", ["", "text", "two\nlines", "größer", "😀", "\x01", "\ud7ff\ue000"])
def test_other_text_has_no_problem(text: str) -> None:
    assert text_problem(text) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [("a\0", "NUL character"), ("\ud800", "surrogate pair"), ("a\udfffb", "surrogate pair")],
)
def test_text_that_no_program_can_be_given_has_one(text: str, problem: str) -> None:
    assert problem in str(text_problem(text))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("as it is", "as it is"),
        ("a\n\x1b[2J\u202eb", "a  [2J b"),
        ("x" * 50, "x" * 9 + "…"),
        ("x" * 10, "x" * 10),
    ],
)
def test_text_of_others_becomes_one_line_that_harms_no_terminal(text: str, line: str) -> None:
    assert one_line(text, 10) == line


@pytest.mark.parametrize(
    ("text", "shown"), [("größer", "größer"), ("a\n\x1b[2J\u202eb", r"a\n\x1b[2J\u202eb"), ("", "")]
)
def test_text_is_shown_as_it_is_written_in_python(text: str, shown: str) -> None:
    assert printable(text) == shown
