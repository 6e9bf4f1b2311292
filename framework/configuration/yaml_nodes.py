"""YAML 1.1 and 1.2, and merge keys, as nodes with positions; no tag executes anything."""

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.scanner import Scanner

from framework.configuration.yaml_1_1 import resolve_1_1
from framework.text import printable

_DEEPEST = 20
_MOST_NODES = 100_000  # of a file, those that an alias repeats counted each time: they are read in seconds
_MOST_BYTES = 2**21
_TUPLE_TAG = "tag:yaml.org,2002:python/tuple"
_TEXT_TAGS = ("tag:yaml.org,2002:str", "!")
_TYPES = {f"tag:yaml.org,2002:{name}": name for name in ("bool", "float", "int", "null")}
_NULL = re.compile(r"null|Null|NULL|~|")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_INTEGER = re.compile(r"[-+]?[0-9]{1,4000}")
_OCTAL = re.compile(r"0o[0-7]{1,4000}")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]{1,3000}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"([-+]?)\.(inf|Inf|INF)")
_NOT_A_NUMBER = re.compile(r"\.(nan|NaN|NAN)")
_MOST_WORDS = 5  # shown in a notice


@dataclass(frozen=True)
class Position:
    """A place in a file; line and column count from 1."""

    file: Path
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass
class Problems:
    """Everything that is wrong with files, collected so that the user sees all of it at once."""

    _found: list[tuple[Position, str]] = field(default_factory=list)
    _notices: list[str] = field(default_factory=list)
    _words: dict[str, "ScalarNode"] = field(default_factory=dict)  # that YAML 1.1 and 1.2 read differently

    @property
    def lines(self) -> list[str]:
        """One line for each problem, in the order of its file; the file of the first problem comes first."""
        files = list(dict.fromkeys(position.file for position, _ in self._found))

        def place(found: tuple[Position, str]) -> tuple[int, int, int]:
            position, _ = found
            return files.index(position.file), position.line, position.column

        return [printable(f"{position}: {problem}") for position, problem in sorted(self._found, key=place)]

    def __len__(self) -> int:
        return len(self._found)

    def add(self, position: Position, problem: str) -> None:
        self._found.append((position, problem))

    @property
    def notices(self) -> list[str]:
        """What is right, but may not be what the user expects; one line each."""
        if not self._words:
            return list(self._notices)
        shown = [
            f"{printable(text)} is {node.value!r} (in YAML 1.2: {node.other_value!r})"
            for text, node in list(self._words.items())[:_MOST_WORDS]
        ]
        more = ", …" if len(self._words) > _MOST_WORDS else ""
        position = next(iter(self._words.values())).position
        advice = "quotes make text of it, and a number has a point and a sign, as in 1.0e-3"
        return [
            *self._notices,
            f"{position}: read as YAML 1.1, as W&B does: {', '.join(shown)}{more}; {advice}",
        ]

    def note(self, position: Position, notice: str) -> None:
        """Add a notice."""
        self._notices.append(printable(f"{position}: {notice}"))

    def note_word(self, node: "ScalarNode") -> None:
        """Add a notice if YAML 1.1 and 1.2 read the word differently."""
        if node.plain and (type(node.value), node.value) != (type(node.other_value), node.other_value):
            self._words.setdefault(node.text, node)


@dataclass(frozen=True)
class ScalarNode:
    """A single value."""

    position: Position
    value: str | int | float | bool | None
    text: str  # as it is written, without quotes
    plain: bool  # written without quotes or a tag

    @property
    def other_value(self) -> str | int | float | bool | None:
        """The value by YAML 1.2, whatever the version of the file."""
        return resolve(self.text) if self.plain else self.value


@dataclass(frozen=True)
class SequenceNode:
    """A list."""

    position: Position
    items: tuple["Node", ...]
    is_tuple: bool  # tagged !!python/tuple


@dataclass(frozen=True)
class MappingNode:
    """A mapping from names to nodes, in the order of the file."""

    position: Position
    entries: tuple["Entry", ...]


@dataclass(frozen=True)
class UnusableNode:
    """The place of a node that could not be read; the reason is among the problems already."""

    position: Position


Node: TypeAlias = ScalarNode | SequenceNode | MappingNode | UnusableNode


@dataclass(frozen=True)
class Entry:
    """One name of a mapping, with its node."""

    position: Position  # of the name
    name: str
    node: Node


def read_yaml(file: Path, problems: Problems, *, legacy: bool = False) -> Node | None:
    """The document in `file`; None if the file is missing, empty or not YAML: then a problem.

    YAML 1.2, or with `legacy` 1.1 as PyYAML reads it, which lets the last of several entries of a name count.
    A file of more than 2 MiB, 100,000 values or 20 levels is a problem; aliases count as what they repeat.
    """
    top = Position(file, 1, 1)
    try:
        with file.open("rb") as opened:
            content = opened.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            problems.add(top, f"more than {_MOST_BYTES >> 20} MiB; make the file smaller")
            return None
        text = content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        problems.add(top, f"byte {error.start} is not UTF-8; save the file as UTF-8")
        return None
    except OSError as error:
        problems.add(top, f"cannot be read ({error.strerror}); write the file, see README.md")
        return None
    try:
        node = _Composer(file, problems, legacy).document(text)
    except _TooLargeError as error:
        problems.add(error.position, str(error))
        return None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        position = Position(file, mark.line + 1, mark.column + 1) if mark else top
        before = text.split("\n")[position.line - 1][: position.column - 1] if mark else ""
        problems.add(position, f"not valid YAML: {_reason(error, before)}")
        return None
    except ReaderError as error:
        lines = text[: error.position].split("\n")
        position = Position(file, len(lines), len(lines[-1]) + 1)
        problems.add(position, f"character #x{error.character:04x} is not allowed in YAML; remove it")
        return None
    if node is None:
        problems.add(top, "the file is empty; write 'name: value' lines")
    return node


def _reason(error: MarkedYAMLError, before: str) -> str:
    """What is wrong with a text that is not YAML, and what to do. `before`: the line up to it."""
    problem = str(error.problem or error.context)
    if before.rstrip().endswith(("}", "]", "'", '"')) and "'<scalar>'" in problem:
        return "text behind a closing bracket or quote; put the whole value in quotes, as in '{a} b'"
    if "'\\t' that cannot start" in problem:
        return "a tab where YAML takes spaces only; write spaces in its place"
    if "expected <block end>" in problem or "expected '<document start>'" in problem:
        return (
            "this line is indented unlike the lines before it; let it begin in the column of its neighbours"
        )
    if "mapping values are not allowed" in problem:
        return "': ' in text, or a line that is indented too far; put text in quotes"
    if "expected ',' or" in problem and error.context_mark is not None:
        start = error.context_mark
        return f"{problem}; close the bracket in line {start.line + 1}, column {start.column + 1}"
    return f"{problem}; quote text with special characters"


def entries_of(node: Node | None, example: str, problems: Problems) -> tuple[Entry, ...]:
    """The entries of a mapping; empty if `node` is not one, which is added to `problems` with an example."""
    if isinstance(node, MappingNode):
        return node.entries
    if node is not None and not isinstance(node, UnusableNode):
        problems.add(node.position, f"the file has no names; write lines as '{example}'")
    return ()


def nearest(name: str, known: Iterable[str]) -> str:
    """Advice on an unknown name: the known name that is most similar, or all known names."""
    likely = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {likely[0]!r}?" if likely else f"known: {', '.join(known)}"


class _Scanner(Scanner):
    """Takes tabs between the tokens of a line, as YAML 1.2 does."""

    def scan_to_next_token(self) -> None:
        super().scan_to_next_token()
        reader = self.reader
        # A tab after the sign of a list entry, of a complex key or of its value would indent what follows.
        while reader.peek() == "\t" and reader.buffer[reader.pointer - reader.column : reader.pointer].strip(
            "-?: \t"
        ):
            while reader.peek() in " \t":
                reader.forward()
            super().scan_to_next_token()


class _TooLargeError(Exception):
    """The file has more than is read."""

    def __init__(self, position: Position, problem: str) -> None:
        super().__init__(problem)
        self.position = position


@dataclass(frozen=True)
class _Anchored:
    """A node that aliases repeat."""

    node: Node
    size: int  # nodes in it, with itself
    height: int  # levels below it


class _Composer:
    """Makes nodes of the events of a YAML parser.

    An alias is the same object as its node, but whoever walks over the nodes meets it each time: a few lines
    could stand for 10**9 values. So sizes and levels are counted as if each alias were written out.
    """

    def __init__(self, file: Path, problems: Problems, legacy: bool) -> None:
        self._file = file
        self._problems = problems
        self._legacy = legacy
        self._anchors: dict[str, _Anchored] = {}
        self._size = 0  # nodes so far
        self._deepest = 0  # level that the node being read reaches so far

    def document(self, text: str) -> Node | None:
        yaml = YAML(typ="safe", pure=True)
        yaml.Scanner = _Scanner
        events: Iterator[Event] = iter(yaml.parse(text))
        root = None
        for event in events:
            if isinstance(event, NodeEvent):
                root = self._node(event, events, depth=1)
            elif isinstance(event, DocumentStartEvent) and root is not None:
                self._problems.add(
                    self._position(event), "a second document begins here; only one is read, remove it"
                )
                return root
        return root

    def _node(self, event: Event, events: Iterator[Event], depth: int) -> Node:
        if isinstance(event, AliasEvent):
            return self._alias(event, depth)
        size, deepest = self._size, self._deepest
        self._deepest = 0
        self._grow(event, 1, depth - isinstance(event, ScalarEvent))
        node = self._tagged(event, self._untagged(event, events, depth))
        if isinstance(event, NodeEvent) and event.anchor is not None:
            self._anchors[event.anchor] = _Anchored(node, self._size - size, self._deepest - depth)
        self._deepest = max(deepest, self._deepest)
        return node

    def _grow(self, event: Event, nodes: int, level: int) -> None:
        """Count nodes that reach a level; raises _TooLargeError."""
        self._size += nodes
        self._deepest = max(self._deepest, level)
        if level > _DEEPEST:
            problem = f"nested more than {_DEEPEST} deep; write it with fewer levels"
        elif self._size > _MOST_NODES:
            problem = f"more than {_MOST_NODES} values, aliases written out; write fewer, or a range"
        else:
            return
        raise _TooLargeError(self._position(event), problem)

    def _untagged(self, event: Event, events: Iterator[Event], depth: int) -> Node:
        position = self._position(event)
        if isinstance(event, ScalarEvent):
            return self._scalar(event, position)
        if isinstance(event, SequenceStartEvent):
            return SequenceNode(position, tuple(self._items(events, depth)), event.tag == _TUPLE_TAG)
        return MappingNode(position, self._entries(events, depth))

    def _items(self, events: Iterator[Event], depth: int) -> Iterator[Node]:
        while not isinstance(event := next(events), SequenceEndEvent):
            yield self._node(event, events, depth + 1)

    def _entries(self, events: Iterator[Event], depth: int) -> tuple[Entry, ...]:
        own: dict[str, Entry] = {}
        merged: list[Entry] = []
        while not isinstance(event := next(events), MappingEndEvent):
            key = self._node(event, events, depth + 1)
            node = self._value_of(event, next(events), events, depth)
            if isinstance(key, UnusableNode):
                continue
            if isinstance(key, ScalarNode) and key.plain and key.text == "<<":
                merged += self._merged(node)
            elif not isinstance(key, ScalarNode) or not isinstance(key.value, str):
                self._problems.add(key.position, "a name has to be text; put it in quotes")
            elif key.value in own and not self._legacy:
                line = own[key.value].position.line
                self._problems.add(
                    key.position, f"{key.value!r} is defined twice, first in line {line}; keep one"
                )
            else:
                if key.value in own:
                    self._problems.note(key.position, f"{key.value!r} is defined twice; this one counts")
                own[key.value] = Entry(key.position, key.value, node)
        # As in YAML 1.1: merged entries come first, and the mapping's own values replace theirs.
        names = dict.fromkeys([*(entry.name for entry in merged), *own])
        found = {entry.name: entry for entry in reversed(merged)} | own
        return tuple(found[name] for name in names)

    def _value_of(self, key: Event, event: Event, events: Iterator[Event], depth: int) -> Node:
        node = self._node(event, events, depth + 1)
        if (
            isinstance(event, ScalarEvent)
            and event.anchor is None
            and isinstance(node, ScalarNode)
            and node.plain
            and not node.text
        ):
            # The parser places a value that is missing at the next token, which may be in another line.
            end = key.end_mark
            return replace(node, position=Position(self._file, end.line + 1, end.column + 2))
        return node

    def _merged(self, node: Node) -> Iterator[Entry]:
        """The entries that a merge key adds, those of the first mapping first."""
        for each in node.items if isinstance(node, SequenceNode) else [node]:
            if isinstance(each, MappingNode):
                yield from each.entries
            elif not isinstance(each, UnusableNode):
                self._problems.add(each.position, "<< takes a mapping, or a list of them; write <<: *name")

    def _scalar(self, event: ScalarEvent, position: Position) -> ScalarNode:
        plain = event.tag is None and event.style is None
        # JSON, which is a part of YAML, writes characters beyond U+FFFF as two escaped surrogates.
        text = event.value.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
        if not plain:
            return ScalarNode(position, text, text, plain)
        return ScalarNode(position, resolve_1_1(text) if self._legacy else resolve(text), text, plain)

    def _alias(self, event: AliasEvent, depth: int) -> Node:
        position = self._position(event)
        if event.anchor not in self._anchors:
            self._problems.add(position, f"*{event.anchor} is not defined; define &{event.anchor} before it")
            return UnusableNode(position)
        anchored = self._anchors[event.anchor]
        self._grow(event, anchored.size, depth + anchored.height)
        return anchored.node

    def _tagged(self, event: Event, node: Node) -> Node:
        tag = getattr(event, "tag", None)
        if (
            tag is None
            or (tag in _TEXT_TAGS and isinstance(node, ScalarNode))
            or (tag == _TUPLE_TAG and isinstance(node, SequenceNode))
        ):
            return node
        if tag in _TYPES and isinstance(node, ScalarNode):
            return self._typed(node, _TYPES[tag])
        shown = tag.replace("tag:yaml.org,2002:", "!!")
        self._problems.add(
            node.position,
            f"the tag {shown} is not allowed; leave it out, or write !!python/tuple [start, end, step]",
        )
        return UnusableNode(node.position)

    def _typed(self, node: ScalarNode, kind: str) -> Node:
        """The node with the value of its tag: !!float 1 is 1.0."""
        value = resolve_1_1(node.text) if self._legacy else resolve(node.text)
        if isinstance(value, str):
            value = resolve(node.text)
        if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if ("null" if value is None else type(value).__name__) == kind:
            return replace(node, value=value)
        self._problems.add(node.position, f"{node.text!r} is no !!{kind}; leave the tag out")
        return UnusableNode(node.position)

    def _position(self, event: Event) -> Position:
        return Position(self._file, event.start_mark.line + 1, event.start_mark.column + 1)


def resolve(text: str) -> str | int | float | bool | None:
    """The value of a plain scalar by YAML 1.2.2, section 10.3 (core schema): `no` is text, 1e-3 a number."""
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text):
        return True
    if _FALSE.fullmatch(text):
        return False
    if _INTEGER.fullmatch(text):
        return int(text)
    if _OCTAL.fullmatch(text):
        return int(text, 8)
    if _HEXADECIMAL.fullmatch(text):
        return int(text, 16)
    if _FLOAT.fullmatch(text):
        return float(text)
    if infinite := _INFINITE.fullmatch(text):
        return float(infinite[1] + "inf")
    if _NOT_A_NUMBER.fullmatch(text):
        return float("nan")
    return text
