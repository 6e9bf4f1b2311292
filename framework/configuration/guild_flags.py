"""Flags of a guild.yml as parameters.yml."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

from framework.configuration.translation import (
    CannotSayError,
    Form,
    Translation,
    entries,
    fields_of,
    linspace,
    number,
)
from framework.configuration.yaml_nodes import Entry, MappingNode, Node, ScalarNode, SequenceNode, resolve

_FUNCTION = re.compile(r"(range|linspace|logspace|uniform|loguniform)\[(.*)\]")
_INTERVAL = re.compile(r"[^:\s]+:[^:\s]+(:[^:\s]+)?")
_KEYS = (
    "default", "choices", "min", "max", "distribution", "type", "description", "arg-name", "required",
    "null-label", "allow-other", "arg-skip", "arg-switch", "arg-split", "env-name",
)  # fmt: skip


def is_guild(node: Node) -> bool:
    """True for a guild.yml, in its full form or with operations alone, and for a file with flags alone."""
    return next(_flags(node), None) is not None


def translate_guild(node: Node, to: Translation) -> None:
    """Translate all that can be; the rest goes to the problems."""
    to.yaml_1_1 = True
    first, *others = _flags(node)
    for other in others:
        to.problems.add(other.position, "flags of a second operation; leave one operation in the file")
    for entry in entries(first.node):
        try:
            _translate(entry, to)
        except CannotSayError as error:
            to.problems.add(error.position, f"{entry.name}: {error}")
    if to.has_draws:
        to.notes.append("in project.yml: method: random and run_cap: with the number of runs")


def _flags(node: Node) -> Iterator[Entry]:
    """The entries `flags` of the operations in a file."""
    if isinstance(node, SequenceNode):
        for item in node.items:
            if any(name in fields_of(item) for name in ("model", "operations", "config")):
                yield from _flags(item)
        return
    for entry in entries(node):
        if entry.name == "flags" and isinstance(entry.node, MappingNode):
            yield entry
        elif entry.name == "operations":
            for operation in entries(entry.node):
                yield from _own_flags(operation.node)
        else:
            yield from _own_flags(entry.node)


def _own_flags(node: Node) -> Iterator[Entry]:
    yield from (each for each in entries(node) if each.name == "flags" and isinstance(each.node, MappingNode))


def _translate(entry: Entry, to: Translation) -> None:
    if entry.name.startswith("$"):
        raise CannotSayError(entry.node, "flags of another place; write them here")
    given = fields_of(entry.node)
    name = str(to.literal(given["arg-name"])) if "arg-name" in given else entry.name
    form = _described(entry.node, to) if given else _plain(entry.node, to)
    if form is None:
        to.notes.append(f"{name} has no value: Guild leaves the option out")
    else:
        to.add(name, entry.node, form)


def _described(node: Node, to: Translation) -> Form | None:
    given = fields_of(node)
    for entry in entries(node):
        if entry.name not in _KEYS:
            raise CannotSayError(entry.node, f"{entry.name} has no counterpart; remove it")
    if "choices" in given:
        items = given["choices"].items if isinstance(given["choices"], SequenceNode) else ()
        chosen = tuple(fields_of(item).get("value", item) for item in items)
        return to.values(SequenceNode(given["choices"].position, chosen, False))
    if "min" in given and "max" in given:
        low, high = number(given["min"]), number(given["max"])
        kind = to.literal(given["distribution"]) if "distribution" in given else "uniform"
        return _between(node, low, high, str(kind))
    default = given.get("default")
    return None if default is None or to.literal(default) is None else _plain(default, to)


def _between(node: Node, low: int | float, high: int | float, kind: str) -> Form:
    if kind == "log-uniform":
        return {"min": low, "max": high, "distribution": "log_uniform_values"}
    if kind != "uniform":
        raise CannotSayError(node, f"distribution {kind} has no counterpart; write uniform or log-uniform")
    is_whole = isinstance(low, int) and isinstance(high, int)
    return {"min": low, "max": high, "distribution": "int_uniform" if is_whole else "uniform"}


def _plain(node: Node, to: Translation) -> Form | None:
    if isinstance(node, ScalarNode) and node.value is None:
        return None
    if isinstance(node, ScalarNode) and isinstance(node.value, str):
        call = _FUNCTION.fullmatch(node.text)
        if call:
            return _called(node, call[1], [_number(node, text) for text in call[2].split(":")])
    if isinstance(node, SequenceNode):
        only = node.items[0] if len(node.items) == 1 else None
        if isinstance(only, ScalarNode) and isinstance(only.value, str) and _INTERVAL.fullmatch(only.text):
            low, high, *_ = (_number(only, text) for text in only.text.split(":"))
            return _between(node, low, high, "uniform")
        return to.values(node)
    return to.constant(node)


def _number(node: Node, text: str) -> int | float:
    return number(ScalarNode(node.position, resolve(text.strip()), text, True))


def _called(node: Node, kind: str, given: list[int | float]) -> Form:
    if len(given) < 2:
        raise CannotSayError(node, f"{kind} needs two numbers or more; write {kind}[1:10]")
    low, high, *more = given
    match kind:
        case "range":
            step = more[0] if more else 1
            end = Fraction(repr(high)) + min(Fraction(repr(step)), Fraction(1))
            return {"range": [low, int(end) if end.denominator == 1 else float(end), step]}
        case "uniform":
            return _between(node, low, high, "uniform")
        case "loguniform":
            return _between(node, low, high, "log-uniform")
    count = more[0] if more else 5
    if not isinstance(count, int) or count < 2:
        raise CannotSayError(node, f"{kind} needs a whole number of values; write {kind}[0:1:5]")
    if kind == "linspace":
        return [round(each, 8) for each in linspace(low, high, count)]
    base = more[1] if len(more) > 1 else 10
    return {"logspace": [float(base) ** low, float(base) ** high, count]}
