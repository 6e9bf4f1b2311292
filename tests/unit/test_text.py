"""Text that cannot be passed to a program, or sent as JSON."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from framework.export.targets import TARGETS
from framework.text import as_on_terminal, how_to_install, one_line, printable, text_problem


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


def test_every_extra_that_a_message_names_is_one_of_pyproject() -> None:
    root = Path(__file__).parents[2]
    extras = re.findall(r"^(\w+) = \[", (root / "pyproject.toml").read_text(), re.MULTILINE)
    code = "".join(file.read_text() for file in root.glob("framework/**/*.py"))
    named = re.findall(r"how_to_install\(['\"](\w+)['\"]\)", code)
    assert len(named) >= 3
    assert {*named, *(target.extra for target in TARGETS)} <= set(extras)
    assert how_to_install("report").endswith("pip install '.[report]'"), "nothing of ours is in an index"


@pytest.mark.parametrize(
    ("text", "shown"), [("größer", "größer"), ("a\n\x1b[2J\u202eb", r"a\n\x1b[2J\u202eb"), ("", "")]
)
def test_text_is_shown_as_it_is_written_in_python(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        ("as it is\n\tünd 😀\n", "as it is\n\tünd 😀\n"),
        ("\x1b[1;31mred\x1b[0m \x1b]0;title\abare \x1b]8;;http://x\x1b\\link\x1b(B", "red bare linkB"),
        ("10 %\r20 %\r30 %\rdone\r\nnext\r", "done\nnext"),
        ("\x1b[2K\r 50%|###  |", " 50%|###  |"),
        ("a\0b\x9bc\u202ed\ud800e\b", "a?b?c?d?e?"),
        ("cut \x1b", "cut "),
        ("<b>&amp;</script>", "<b>&amp;</script>"),
    ],
)
def test_output_is_shown_as_on_a_terminal_without_colours(output: str, shown: str) -> None:
    assert as_on_terminal(output) == shown
