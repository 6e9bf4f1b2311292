"""Reads parameters.yml: which values each metaparameter has."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from framework import yaml_source
from framework.space import Space, Value, canonical, interval, name_problem, value_problem
from framework.yaml_source import (
    Entry,
    Node,
    Position,
    Problems,
    Scalar,
    Unusable,
    entries_of,
    nearest,
    read_yaml,
)

_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ].*)?")
_INTERVAL_ADVICE = "write three numbers: [start, end, step]"


def read_parameters(file: Path, problems: Problems) -> Space:
    """The space that `file` describes; what is wrong with it goes to `problems`."""
    before = len(problems.lines)
    node = read_yaml(file, problems)
    entries = entries_of(node, "C: [0.1, 1, 10]", problems)
    if not entries and len(problems.lines) == before:
        problems.add(Position(file, 1, 1), "no metaparameters; write lines as 'C: [0.1, 1, 10]'")
    values = {}
    for entry in entries:
        problem = name_problem(entry.name)
        if problem:
            problems.add(entry.position, problem)
        values[entry.name] = _values(entry.node, problems)
    return Space(values)


def _values(node: Node, problems: Problems) -> Sequence[Value]:
    """The values of one metaparameter; empty if they are among the problems."""
    match node:
        case Scalar():
            return _usable([node], problems)
        case yaml_source.Sequence(items=()) | yaml_source.Mapping(entries=()):
            problems.add(node.position, "no value, no combinations; write a value, or remove the line")
        case yaml_source.Sequence(is_tuple=True):
            return _interval(node, problems)
        case yaml_source.Sequence(items=items):
            return _usable(items, problems)
        case yaml_source.Mapping(entries=(Entry(name="range", node=limits),)):
            return _interval(limits, problems)
        case yaml_source.Mapping(entries=entries):
            for entry in entries:
                if entry.name != "range":
                    problems.add(
                        entry.position, f"unknown key {entry.name!r}; {nearest(entry.name, ['range'])}"
                    )
    return []


def _usable(nodes: Iterable[Node], problems: Problems) -> list[Value]:
    values: dict[str, Value] = {}
    for node in nodes:
        value = _value(node, problems)
        if value is None:
            continue
        if canonical(value) in values:
            problems.add(node.position, f"{value!r} is in the list twice; remove one")
        values[canonical(value)] = value
    return list(values.values())


def _value(node: Node, problems: Problems) -> Value | None:
    match node:
        case Unusable():
            return None
        case Scalar(value=None):
            problem: str | None = (
                "null is no value; write one, '' for empty text, or false to leave the option out"
            )
        case Scalar(plain=True, value=str(text)) if _DATE.fullmatch(text):
            problem = f"{text} could be a date or text; put it in quotes to pass it as text"
        case Scalar(value=value):
            problem = value_problem(value)
            if problem is None:
                return value
        case _:
            problem = "a list or mapping cannot be a value; write text, a number, true or false"
    problems.add(node.position, problem or "")
    return None


def _interval(node: Node, problems: Problems) -> Sequence[Value]:
    if isinstance(node, Unusable):
        return []
    numbers = [_number(item) for item in node.items] if isinstance(node, yaml_source.Sequence) else []
    match numbers:
        case [int() | float() as start, int() | float() as end, int() | float() as step]:
            try:
                return interval(start, end, step)
            except ValueError as error:
                problems.add(
                    node.position, f"{error}; {_INTERVAL_ADVICE}, from start up to, not including, end"
                )
        case _:
            problems.add(node.position, f"this is no interval; {_INTERVAL_ADVICE}")
    return []


def _number(node: Node) -> int | float | None:
    value = node.value if isinstance(node, Scalar) else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
