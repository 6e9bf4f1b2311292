"""Check of the placeholders and macros in the command of a project.yml."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from framework.configuration.yaml_nodes import Node, Position, Problems, SequenceNode, nearest
from framework.project.command_line import ARGUMENTS, NO_ARGUMENTS, OF_TASK
from framework.space.product import Space
from framework.space.values import NAME

_TOKEN = re.compile(r"\{\{|\}\}|\$?\{[^{}]*\}|[{}]")
_MACROS = (*ARGUMENTS, NO_ARGUMENTS)
_VARIABLE = re.compile(r"envvar:\w+")
_OF_SWEEP_FILES = ("env", "interpreter", "program")
_BRACES = "write {{ and }} for braces"


def check_placeholders(
    node: Node, command: Sequence[str], names: Sequence[str], space: Space, problems: Problems
) -> None:
    """Add to the problems each brace in `command`, the words of `node`, that stands for nothing.

    `names`: the metaparameters, some of which may be missing from a combination of `space`. A command that
    has one of them and no macro has to have all.
    """
    check = _Check(names, space)
    found = False
    for word, source in _sources(node, command):
        problem = None
        for token in _TOKEN.findall(word):
            place = source.find(token)
            if problem is None and (problem := check.problem(token, word)):
                problems.add(place, f"command: {problem}")
                found = True
    if check.used and not found and not any(word in _MACROS for word in command):
        for name in names:
            if name not in check.used:
                problems.add(
                    node.position,
                    f"command: never uses {name}; write {{{name}}}, ${{args}} for all as --name=value, or "
                    f"{NO_ARGUMENTS} if the program does without it",
                )


class _Check:
    """What each brace stands for."""

    def __init__(self, names: Sequence[str], space: Space) -> None:
        self.used: set[str] = set()  # metaparameters in braces
        self._names = names
        self._space = space

    def problem(self, token: str, word: str) -> str | None:
        """The reason why a token cannot stand in a word; None if it can."""
        if token in ("{{", "}}"):
            return None
        inner = token.lstrip("$")[1:-1]
        if len(token) == 1:
            return f"a {token} without its other brace; {_BRACES}"
        if token[0] == "$":
            return self._macro_problem(token, inner, word)
        if inner in self._names and inner in OF_TASK:
            return f"{token} is {inner} of the task, and a metaparameter; rename that"
        if inner in OF_TASK:
            return None
        if inner in self._names:
            self.used.add(inner)
            if self._may_be_missing(inner):
                return (
                    f"{inner} does not exist in each combination, by its when; leave {token} out, and write "
                    "a macro such as ${args}, which has it where it exists"
                )
            return None
        if not NAME.fullmatch(inner):
            return f"{token} is no metaparameter; {_BRACES}"
        return f"no metaparameter {inner!r}; {nearest(inner, [*self._names, *OF_TASK])} ({_BRACES})"

    def _macro_problem(self, token: str, inner: str, word: str) -> str | None:
        if _VARIABLE.fullmatch(inner) or (token == word and token in _MACROS):
            return None
        if token in _MACROS:
            return f"{token} stands for whole words; write it as a word of its own"
        if inner in _OF_SWEEP_FILES:
            return f"{token} goes with W&B sweep files; write the program itself, as in 'python train.py'"
        if inner in (*self._names, *OF_TASK):
            return f"{token} is no macro; write {{{inner}}}"
        if re.fullmatch(r"[A-Z_][A-Z0-9_]*", inner):
            return f"{token} is no macro; write ${{envvar:{inner}}} for the variable"
        if token == word and inner.isidentifier():
            return f"unknown macro {token}; {nearest(inner, [macro[2:-1] for macro in _MACROS])} ({_BRACES})"
        return f"{token} is no macro; {_BRACES}"

    def _may_be_missing(self, name: str) -> bool:
        made_of = self._space.computed[name].names if name in self._space.computed else ()
        return name in self._space.conditions or any(map(self._may_be_missing, made_of))


class _Source:
    """The text of a file from a place on, in which tokens are found one after the other."""

    def __init__(self, start: Position, lines: Sequence[str]) -> None:
        self._start = start
        self._lines = lines
        self._line, self._column = start.line - 1, start.column - 1

    def find(self, token: str) -> Position:
        """The next place of a token; the start if it is not there as it is, but escaped."""
        for number in range(self._line, len(self._lines)):
            column = self._lines[number].find(token, self._column if number == self._line else 0)
            if column >= 0:
                self._line, self._column = number, column + len(token)
                return Position(self._start.file, number + 1, column + 1)
        return self._start


def _sources(node: Node, command: Sequence[str]) -> Iterator[tuple[str, _Source]]:
    """The words, each with the text in which it stands: of a list its own item, otherwise the line."""
    text = node.position.file.read_text(encoding="utf-8-sig")  # with \n for each end of a line
    lines = text.split("\n")
    if isinstance(node, SequenceNode):
        for word, item in zip(command, node.items, strict=True):
            yield word, _Source(item.position, lines)
    else:
        source = _Source(node.position, lines)
        for word in command:
            yield word, source
