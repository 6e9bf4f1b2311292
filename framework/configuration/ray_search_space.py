"""Ray Tune search spaces in YAML as parameters.yml."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence

from framework.configuration.translation import (
    CannotSayError,
    Form,
    Translation,
    entries,
    fields_of,
    numbers,
    rounded,
    walk,
)
from framework.configuration.yaml_nodes import MappingNode, Node, ScalarNode, SequenceNode, resolve

# The arguments of each kind, by their names in Ray.
_ARGUMENTS: dict[str, Sequence[str]] = {
    "grid_search": ("values",),
    "choice": ("categories",),
    "uniform": ("lower", "upper"),
    "quniform": ("lower", "upper", "q"),
    "loguniform": ("lower", "upper", "base"),
    "qloguniform": ("lower", "upper", "q", "base"),
    "randn": ("mean", "sd"),
    "qrandn": ("mean", "sd", "q"),
    "randint": ("lower", "upper"),
    "qrandint": ("lower", "upper", "q"),
    "lograndint": ("lower", "upper", "base"),
    "qlograndint": ("lower", "upper", "q", "base"),
    "sample_from": ("func",),
}
_CALL = re.compile(r"(?:ray\.)?tune\.(\w+)\(.*\)", re.DOTALL)
_SPACES = ("param_space", "config", "search_space")


def is_ray(node: Node) -> bool:
    """True if there is a search space of Ray anywhere in the file."""
    return any(_described(each) is not None for each in walk(node))


def translate_ray(node: Node, to: Translation) -> None:
    """Translate all that can be; the rest goes to the problems."""
    to.yaml_1_1 = True
    space = node
    top = entries(node)
    if len(top) == 1 and "config" in fields_of(top[0].node):
        space = top[0].node  # an experiment of RLlib
    around = fields_of(space)
    if "num_samples" in around:
        to.notes.append(f"in project.yml: run_cap: {to.literal(around['num_samples'])} (num_samples)")
    space = next((around[name] for name in _SPACES if isinstance(around.get(name), MappingNode)), space)
    to.notes.append(
        "Ray draws from all but grid_search; for draws, in project.yml: method: random and run_cap:"
    )
    _translate("", space, to)


def _translate(prefix: str, node: Node, to: Translation) -> None:
    for entry in entries(node):
        name = prefix + entry.name
        described = _described(entry.node)
        try:
            if described is not None:
                to.add(name, entry.node, _form(*described, to))
            elif isinstance(entry.node, MappingNode) and entry.node.entries:
                _translate(f"{name}.", entry.node, to)
            else:
                to.add(name, entry.node, to.constant(entry.node))
        except CannotSayError as error:
            to.problems.add(error.position, f"{name}: {error}")


def _described(node: Node) -> tuple[str, Node] | None:
    """The kind and the arguments of a mapping of one kind, or of text as tune.uniform(0, 1)."""
    if isinstance(node, MappingNode) and len(node.entries) == 1:
        kind = node.entries[0].name.removeprefix("tune.")
        return (kind, node.entries[0].node) if kind in _ARGUMENTS else None
    if isinstance(node, ScalarNode) and (call := _CALL.fullmatch(node.text)):
        return (call[1], node) if call[1] in _ARGUMENTS else None
    return None


def _arguments(kind: str, node: Node) -> Node:
    """The arguments as a list, in the order of Ray's."""
    if isinstance(node, ScalarNode) and _CALL.fullmatch(node.text):
        node = _called(kind, node)
    if isinstance(node, MappingNode):
        given = fields_of(node)
        unknown = given.keys() - set(_ARGUMENTS[kind])
        if unknown:
            raise CannotSayError(node, f"{kind} has no {min(unknown)}; write {', '.join(_ARGUMENTS[kind])}")
        found = [given[name] for name in _ARGUMENTS[kind] if name in given]
        if len(_ARGUMENTS[kind]) == 1:
            return found[0] if found else node
        return SequenceNode(node.position, tuple(found), False)
    return node


def _called(kind: str, node: ScalarNode) -> Node:
    """The arguments of a call that is written as text: numbers, text and lists of them."""
    try:
        call = ast.parse(node.text, mode="eval").body
        if not isinstance(call, ast.Call):
            raise ValueError("no call")
        given = {name.arg or "": ast.literal_eval(name.value) for name in call.keywords}
        given |= zip(_ARGUMENTS[kind], map(ast.literal_eval, call.args), strict=False)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise CannotSayError(node, f"{node.text} is computed in Python; write its values") from error

    def made(value: object) -> Node:
        if isinstance(value, list | tuple):
            return SequenceNode(node.position, tuple(map(made, value)), False)
        text = value if isinstance(value, str) else json.dumps(value)
        return ScalarNode(node.position, value if isinstance(value, str) else resolve(text), text, True)

    values = {name: made(value) for name, value in given.items()}
    found = [values[name] for name in _ARGUMENTS[kind] if name in values]
    if len(_ARGUMENTS[kind]) == 1 and found:
        return found[0]
    return SequenceNode(node.position, tuple(found), False)


def _form(kind: str, node: Node, to: Translation) -> Form:
    given = _arguments(kind, node)
    match kind:
        case "grid_search" | "choice":
            return to.values(given)
        case "uniform" | "loguniform":
            low, high, *_ = numbers(given, 2, 3)
            name = "uniform" if kind == "uniform" else "log_uniform_values"
            return {"min": low, "max": high, "distribution": name}
        case "quniform" | "qloguniform":
            low, high, q, *_ = numbers(given, 3, 4)
            name = "q_uniform" if kind == "quniform" else "q_log_uniform_values"
            return rounded(given, low, high, float(q), name)
        case "randn":
            mu, sigma = numbers(given, 2)
            return {"mu": mu, "sigma": sigma, "distribution": "normal"}
        case "qrandn":
            mu, sigma, q = numbers(given, 3)
            return {"mu": mu, "sigma": sigma, "q": float(q), "distribution": "q_normal"}
        case "randint":
            low, high = numbers(given, 2)
            return {"range": [low, high, 1]}
        case "qrandint":
            low, high, q = [*numbers(given, 2, 3), 1][:3]
            return rounded(given, low, high, q, "q_uniform")
    raise CannotSayError(
        node, f"{kind} has no counterpart; write the values as a list, or another distribution"
    )
