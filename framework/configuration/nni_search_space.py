"""NNI search spaces as parameters.yml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from framework.configuration.translation import (
    CannotSayError,
    Form,
    Translation,
    entries,
    fields_of,
    numbers,
    rounded,
)
from framework.configuration.yaml_nodes import MappingNode, Node, SequenceNode

_SPACES = ("searchSpace", "search_space")


def is_nni(node: Node) -> bool:
    """True for a search space, and for the configuration of an experiment that has one in it."""
    return any("_type" in fields_of(each.node) for each in entries(_space(node)))


def translate_nni(node: Node, to: Translation) -> None:
    """Translate all that can be; the rest goes to the problems."""
    to.notes.append(
        "NNI draws from these; in project.yml: method: random and run_cap: with the number of trials"
    )
    for entry in entries(_space(node)):
        try:
            _translate(entry.name, entry.node, {}, to)
        except CannotSayError as error:
            to.problems.add(error.position, f"{entry.name}: {error}")


def _space(node: Node) -> Node:
    found = fields_of(node)
    return next((found[name] for name in _SPACES if name in found), node)


def _translate(name: str, node: Node, when: Mapping[str, Any], to: Translation) -> None:
    described = fields_of(node)
    if "_type" not in described:
        to.add(name, node, to.constant(node), when)
        return
    if "_value" not in described:
        raise CannotSayError(node, "_type without _value; write both")
    kind, value = str(to.literal(described["_type"])), described["_value"]
    if kind != "choice":
        to.add(name, node, _form(kind, node, value), when)
        return
    items = value.items if isinstance(value, SequenceNode) else ()
    if any("_name" in fields_of(item) for item in items):
        _translate_nested(name, value, when, to)
    elif items and all(isinstance(item, MappingNode) and item.entries for item in items):
        _translate_rows(node, items, when, to)
    else:
        to.add(name, node, to.values(value), when)


def _translate_nested(name: str, value: Node, when: Mapping[str, Any], to: Translation) -> None:
    """A choice of which each item may have metaparameters of its own."""
    items = value.items if isinstance(value, SequenceNode) else ()
    own = {}
    for item in items:
        described = fields_of(item)
        chosen = to.literal(described.pop("_name", item))
        if isinstance(chosen, list | dict) or chosen in own:
            raise CannotSayError(item, "each item needs a _name of its own; write one")
        own[chosen] = described
    to.add(name, value, list(own), when)
    for chosen, described in own.items():
        for inner, node in described.items():
            _translate(f"{name}.{inner}", node, {**when, name: chosen}, to)


def _translate_rows(node: Node, rows: Any, when: Mapping[str, Any], to: Translation) -> None:
    """A choice of combinations, as the batch tuner takes them: columns that move together."""
    names = [entry.name for entry in rows[0].entries]
    for row in rows:
        if [entry.name for entry in row.entries] != names:
            raise CannotSayError(row, f"each item has to have the names {', '.join(names)}, in this order")
    for column, name in enumerate(names):
        to.add(name, node, [to.literal(row.entries[column].node) for row in rows], when)
    if len(names) > 1 and len(rows) > 1:
        to.zip(names)


def _form(kind: str, node: Node, value: Node) -> Form:
    match kind:
        case "randint":
            low, high = [0, *numbers(value, 1, 2)][-2:]
            return {"range": [low, high, 1]}
        case "uniform":
            low, high = numbers(value, 2)
            return {"min": low, "max": high, "distribution": "uniform"}
        case "loguniform":
            low, high = numbers(value, 2)
            return {"min": low, "max": high, "distribution": "log_uniform_values"}
        case "quniform" | "qloguniform":
            low, high, q = numbers(value, 3)
            name = "q_uniform" if kind == "quniform" else "q_log_uniform_values"
            return rounded(value, low, high, float(q), name)
        case "normal" | "lognormal":
            mu, sigma = numbers(value, 2)
            name = "normal" if kind == "normal" else "log_normal"
            return {"mu": mu, "sigma": sigma, "distribution": name}
        case "qnormal" | "qlognormal":
            mu, sigma, q = numbers(value, 3)
            name = "q_normal" if kind == "qnormal" else "q_log_normal"
            return {"mu": mu, "sigma": sigma, "q": float(q), "distribution": name}
    raise CannotSayError(node, f"_type {kind} has no counterpart; write the values as a choice")
