"""Hyperparameters of a Determined experiment as parameters.yml."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal

from framework.configuration.translation import (
    CannotSayError,
    Form,
    Translation,
    entries,
    fields_of,
    linspace,
    number,
)
from framework.configuration.yaml_nodes import MappingNode, Node, ScalarNode

_KINDS = ("const", "int", "double", "log", "categorical")
_KEYS = ("val", "vals", "minval", "maxval")


def is_determined(node: Node) -> bool:
    """True for the configuration of an experiment, and for its hyperparameters alone."""
    return "hyperparameters" in fields_of(node) or any(_is_described(each.node) for each in entries(node))


def translate_determined(node: Node, to: Translation) -> None:
    """Translate all that can be; the rest goes to the problems."""
    to.yaml_1_1 = True
    around = fields_of(node)
    searcher = fields_of(around["searcher"]) if "searcher" in around else {}
    method = str(to.literal(searcher["name"])) if "name" in searcher else None
    if method not in (None, "grid", "single"):
        cap = to.literal(searcher["max_trials"]) if "max_trials" in searcher else "the number of trials"
        to.notes.append(f"in project.yml: method: random, run_cap: {cap} (searcher {method})")
    if "metric" in searcher:
        smaller = to.literal(searcher["smaller_is_better"]) if "smaller_is_better" in searcher else True
        goal = "minimize" if smaller else "maximize"
        to.notes.append(f"in project.yml: metric: {to.literal(searcher['metric'])}, goal: {goal}")
    _translate("", around.get("hyperparameters", node), method, to)


def _is_described(node: Node) -> bool:
    keys = fields_of(node)
    kind = keys.get("type")
    return isinstance(kind, ScalarNode) and kind.text in _KINDS and any(key in keys for key in _KEYS)


def _translate(prefix: str, node: Node, method: str | None, to: Translation) -> None:
    for entry in entries(node):
        name = prefix + entry.name
        try:
            if _is_described(entry.node):
                to.add(name, entry.node, _form(entry.node, method, to))
            elif isinstance(entry.node, MappingNode) and entry.node.entries:
                _translate(f"{name}.", entry.node, method, to)
            else:
                to.add(name, entry.node, to.constant(entry.node))
        except CannotSayError as error:
            to.problems.add(error.position, f"{name}: {error}")


def _form(node: Node, method: str | None, to: Translation) -> Form:
    given = fields_of(node)
    kind = to.literal(given["type"])
    if kind == "const":
        return to.constant(_needed(node, given, "val"))
    if kind == "categorical":
        return to.values(_needed(node, given, "vals"))
    low, high = (number(_needed(node, given, key)) for key in ("minval", "maxval"))
    is_grid = method == "grid" or (method is None and "count" in given)
    count = _count(_needed(node, given, "count")) if is_grid else None
    match kind:
        case "int" if count is not None:
            whole = linspace(low, high, min(count, int(high - low) + 1))
            return [_round(each) for each in whole]
        case "int":
            return {"range": [low, high, 1]}  # maxval itself is never drawn
        case "double" if count is not None:
            return [*linspace(low, high, count)]
        case "double":
            return {"min": low, "max": high, "distribution": "uniform"}
    base = number(given["base"]) if "base" in given else 10
    if count == 1:
        return [_power(base, (low + high) / 2)]
    if count is not None:
        return {"logspace": [_power(base, low), _power(base, high), count]}
    return {"min": _power(base, low), "max": _power(base, high), "distribution": "log_uniform_values"}


def _needed(node: Node, given: Mapping[str, Node], key: str) -> Node:
    if key not in given:
        raise CannotSayError(node, f"no {key}; add {key}: …")
    return given[key]


def _count(node: Node) -> int:
    count = number(node)
    if not isinstance(count, int) or count < 1:
        raise CannotSayError(node, "count has to be a whole number, 1 or more")
    return count


def _round(value: float) -> int:
    """The nearest whole number; halves are rounded away from 0, as Determined does."""
    return math.floor(abs(value) + 0.5) * (1 if value >= 0 else -1)


def _power(base: int | float, exponent: int | float) -> float:
    return float(Decimal(repr(base)) ** Decimal(repr(exponent)))
