"""Text that programs are given, print or send: its check, and its form for people."""

from __future__ import annotations

import re

# Of a terminal: colours and moves (ESC [ … letter), titles and links (ESC ] … BEL), and any other one.
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[]P_^X][^\x07\x1b]*(?:\x07|\x1b\\)?|.)?")


def text_problem(text: str) -> str | None:
    """The reason why `text` can be neither a metaparameter nor a metric; None if it can."""
    if "\0" in text:
        return "text with a NUL character cannot be passed to a program; remove it"
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        return "text with half of a surrogate pair is not valid Unicode; remove it"
    return None


def printable(text: str) -> str:
    """The text on one line, with what a terminal would not show as it is written in Python's strings."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def one_line(text: str, most: int) -> str:
    """At most `most` characters of text that somebody else wrote, fit for a line of a terminal."""
    line = "".join(character if character.isprintable() else " " for character in text[: most + 1])
    return line if len(line) <= most else f"{line[: most - 1]}…"


def how_to_install(extra: str) -> str:
    """What a message says of a missing extra of pyproject.toml: no index has a package of ours."""
    return f"in infrainit's directory: pip install '.[{extra}]'"


def as_on_terminal(output: str) -> str:
    """The lines that a terminal shows of a program's output, without colours.

    A line that was written again after a carriage return, as by a progress bar, is the last one that was. Any
    other control character is a question mark.
    """
    lines = _ESCAPE.sub("", output).split("\n")
    kept = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines)
    return "".join(each if each.isprintable() or each in "\n\t" else "?" for each in kept)
