"""Translation of another tool's file into the text of parameters.yml."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, TypeAlias, cast

from framework.configuration.yaml_nodes import (
    Entry,
    MappingNode,
    Node,
    Problems,
    ScalarNode,
    SequenceNode,
    resolve,
)
from framework.space.values import Value, canonical, name_problem, value_problem

# What stands after the name of a metaparameter.
Form: TypeAlias = "list[Any] | dict[str, Any] | Value | None"

_PLAIN = re.compile(r"[A-Za-z_][\w./-]*")
_YAML_1_1 = {"yes": True, "on": True, "no": False, "off": False}


class CannotSayError(Exception):
    """Something has no counterpart in parameters.yml; the place in the file, and the reason."""

    def __init__(self, node: Node, problem: str) -> None:
        super().__init__(problem)
        self.position = node.position


@dataclass
class Translation:
    """The lines of parameters.yml as far as they are known."""

    problems: Problems
    yaml_1_1: bool = False  # the tool reads yes, no, on and off as true and false
    notes: list[str] = field(default_factory=list)  # what belongs elsewhere, as into project.yml
    _forms: dict[str, Form] = field(default_factory=dict)
    _zipped: list[list[str]] = field(default_factory=list)

    def add(self, name: str, node: Node, form: Form, when: Mapping[str, Any] | None = None) -> None:
        """Add a metaparameter, which `node` describes. Raises CannotSayError if its name cannot be one."""
        if problem := name_problem(name):
            raise CannotSayError(node, problem)
        if name in self._forms:
            raise CannotSayError(node, f"{name} is defined twice; remove one of them")
        if form is None or (isinstance(form, dict) and isinstance(form.get("value"), list | dict)):
            form = [form and form["value"]]
        if isinstance(form, list) and any(each is None or isinstance(each, list | dict) for each in form):
            form = {"values": form}  # these are values in this form only
        if when:
            if not isinstance(form, dict):
                form = {"values" if isinstance(form, list) else "value": form}
            form = {**form, "when": dict(when)}
        self._forms[name] = form

    def zip(self, names: Sequence[str]) -> None:
        """Let metaparameters move together."""
        self._zipped.append(list(names))

    def text(self) -> str:
        """The text of parameters.yml."""
        lines = [f"# {note}" for note in self.notes]
        lines += [f"{flow(name)}: {flow(form)}" for name, form in self._forms.items()]
        lines += [f"zip: {flow(self._zipped)}"] if self._zipped else []
        return "".join(f"{line}\n" for line in lines)

    @property
    def has_draws(self) -> bool:
        """True if a metaparameter has a distribution."""
        kinds = {form.get("distribution") for form in self._forms.values() if isinstance(form, dict)}
        return bool(kinds - {None, "int_uniform"})

    def literal(self, node: Node) -> Any:
        """The value that a node is, lists and mappings too. Raises CannotSayError."""
        match node:
            case ScalarNode(plain=True, value=str(text)) if self.yaml_1_1 and text.lower() in _YAML_1_1:
                return _YAML_1_1[text.lower()]
            case ScalarNode(value=float(number)) if not math.isfinite(number):
                raise CannotSayError(node, value_problem(number) or "")
            case ScalarNode(value=value):
                return value
            case SequenceNode(items=items):
                return [self.literal(item) for item in items]
            case MappingNode(entries=entries):
                return {entry.name: self.literal(entry.node) for entry in entries}
        raise CannotSayError(node, "it cannot be read; correct it first")

    def constant(self, node: Node) -> Form:
        """The form of a metaparameter that has one value."""
        value = self.literal(node)
        return {"value": value} if isinstance(value, list | dict) else cast(Form, value)

    def values(self, node: Node) -> list[Any]:
        """The values of a list. Raises CannotSayError if it is none, or has a value twice."""
        if not isinstance(node, SequenceNode) or not node.items:
            raise CannotSayError(node, "not a list of values; write it as [a, b, c]")
        values = [self.literal(item) for item in node.items]
        known = set()
        for item, value in zip(node.items, values, strict=True):
            if canonical(value) in known:
                raise CannotSayError(item, f"{value!r} is in the list twice; remove one")
            known.add(canonical(value))
        return values


def fields_of(node: Node) -> dict[str, Node]:
    """The entries of a mapping by their names; empty for any other node."""
    return {entry.name: entry.node for entry in entries(node)}


def entries(node: Node) -> Sequence[Entry]:
    """The entries of a mapping; empty for any other node."""
    return node.entries if isinstance(node, MappingNode) else ()


def walk(node: Node) -> Iterator[Node]:
    """A node, and all nodes in it."""
    yield node
    inner = node.items if isinstance(node, SequenceNode) else [entry.node for entry in entries(node)]
    for each in inner:
        yield from walk(each)


def numbers(node: Node, least: int, most: int | None = None) -> list[int | float]:
    """The finite numbers of a list; a number in quotes, or one that YAML 1.1 takes for text, counts too.

    Raises CannotSayError if there are fewer than `least`, or more than `most` (default: `least`).
    """
    items = node.items if isinstance(node, SequenceNode) else ()
    found = [number(item) for item in items]
    if not least <= len(found) <= (most or least):
        raise CannotSayError(node, f"{least} numbers are needed; write them as [0.1, 1]")
    return found


def number(node: Node) -> int | float:
    """A finite number. Raises CannotSayError."""
    value = resolve(node.text.strip()) if isinstance(node, ScalarNode) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise CannotSayError(node, "this has to be a number; write it as 5, 0.1 or 1e-3")
    return value


def rounded(
    node: Node, low: int | float, high: int | float, q: int | float, distribution: str
) -> dict[str, Any]:
    """A quantized distribution whose limits are multiples of q, so that no tool has to cut at them.

    Raises CannotSayError if they are not.
    """
    if q <= 0 or any(Fraction(repr(limit)) % Fraction(repr(q)) for limit in (low, high)):
        raise CannotSayError(
            node,
            f"{low} and {high} are no multiples of {q}, and each tool rounds differently at such limits; "
            "write multiples, or the values as a list",
        )
    return {"min": low, "max": high, "q": q, "distribution": distribution}


def linspace(low: int | float, high: int | float, count: int) -> list[float]:
    """`count` numbers at equal distances, both limits included; one: the middle."""
    start, end = Fraction(repr(low)), Fraction(repr(high))
    if count == 1:
        return [float((start + end) / 2)]
    return [float(start + (end - start) * step / (count - 1)) for step in range(count)]


def flow(value: Any) -> str:
    """A value in one line of YAML."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{flow(name)}: {flow(each)}' for name, each in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(flow, value))}]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and isinstance(resolve(value), str):
        return value
    return json.dumps(value, ensure_ascii=False)
