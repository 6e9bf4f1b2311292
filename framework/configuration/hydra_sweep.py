"""Hydra sweeps as parameters.yml."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from framework.configuration.translation import CannotSayError, Form, Translation, entries, fields_of, number
from framework.configuration.yaml_nodes import MappingNode, Node, ScalarNode, SequenceNode, resolve

_CALL = re.compile(r"(\w+)\((.*)\)", re.DOTALL)
_SWEEPS = ("choice", "range", "interval", "tag", "shuffle", "sort", "glob", "int", "float", "str", "bool")
_OVERRIDE = re.compile(r"[+~]{0,2}[\w.@/:]+=.*", re.DOTALL)


def is_hydra(node: Node) -> bool:
    """True for a configuration of Hydra."""
    return any(name == "hydra" or name.startswith("hydra.") for name in fields_of(node))


def is_part_of_hydra(node: Node) -> bool:
    """True for a list of overrides, and for the params of a sweeper alone."""
    if isinstance(node, SequenceNode):
        return bool(node.items) and all(_is_override(item) for item in node.items)
    return any(_is_sweep(each) for each in fields_of(node).values())


def translate_hydra(node: Node, to: Translation) -> None:
    """Translate all that can be; the rest goes to the problems."""
    to.notes.append("Hydra takes name=value: in project.yml, command: python train.py '${args_no_hyphens}'")
    for name, value in _overrides(node):
        try:
            _translate(name, value, to)
        except CannotSayError as error:
            to.problems.add(error.position, f"{name}: {error}")
    if to.has_draws:
        to.notes.append("in project.yml: method: random or tpe, and run_cap: with the number of trials")


def _is_override(node: Node) -> bool:
    return isinstance(node, ScalarNode) and bool(_OVERRIDE.fullmatch(node.text))


def _is_sweep(node: Node) -> bool:
    if not isinstance(node, ScalarNode) or not isinstance(node.value, str):
        return False
    call = _CALL.fullmatch(node.text)
    return bool(call and call[1] in _SWEEPS) or len(_split(node.text)) > 1


def _overrides(node: Node) -> Iterator[tuple[str, Node]]:
    """The names and values of the sweep, wherever the file has them."""
    if isinstance(node, SequenceNode):
        for item in node.items:
            name, _, text = item.text.partition("=") if isinstance(item, ScalarNode) else ("", "", "")
            yield name, ScalarNode(item.position, resolve(text), text, True)
        return
    hydra = _at(node, "hydra")
    if hydra is None:
        for entry in entries(node):
            yield entry.name, entry.node
        return
    for path in ("sweeper.params", "sweeper.search_space"):
        found = _at(hydra, path)
        for entry in entries(found) if found is not None else ():
            yield entry.name, entry.node
    task = _at(hydra, "overrides.task")
    if isinstance(task, SequenceNode):
        yield from _overrides(task)


def _at(node: Node, path: str) -> Node | None:
    """The node at a path of names with points, which may stand in the file as one name or as several."""
    for name, inner in fields_of(node).items():
        if name == path:
            return inner
        if path.startswith(f"{name}."):
            return _at(inner, path.removeprefix(f"{name}."))
        if name.startswith(f"{path}."):
            rest = tuple(
                type(each)(each.position, each.name.removeprefix(f"{path}."), each.node)
                for each in entries(node)
                if each.name.startswith(f"{path}.")
            )
            return MappingNode(node.position, rest)
    return None


def _translate(name: str, node: Node, to: Translation) -> None:
    own = name.lstrip("+")
    if own != name:
        macro = "${args_override_hydra}" if name.startswith("++") else "${args_append_hydra}"
        to.notes.append(f"Hydra adds {name}: in the command, {macro} writes all names so")
    if isinstance(node, MappingNode) and "type" in fields_of(node):
        form = _optuna(node, to)
    elif isinstance(node, ScalarNode) and isinstance(node.value, str):
        form = _form(node.text.strip(), node)
    else:
        form = to.constant(node)
    if isinstance(form, list):
        form = ["null" if each is None else each for each in form]
    to.add(
        own, node, "null" if form is None else form
    )  # null would be passed as None, which is text for Hydra


def _form(text: str, node: Node) -> Form:
    parts = _split(text)
    call = _CALL.fullmatch(text)
    if len(parts) > 1:
        return _values(parts, node)
    if call is None or call[1] not in _SWEEPS:
        value: Form = _element(text)
        return value
    kind, arguments = call[1], _split(call[2])
    match kind:
        case "choice" | "shuffle" | "sort":
            values = _values([each for each in arguments if "=" not in each], node)
            return sorted(values) if kind == "sort" else values
        case "range":
            return _range(arguments, node)
        case "interval":
            low, high = _numbers(arguments, node, 2)
            return {"min": low, "max": high, "distribution": "uniform"}
        case "tag" if arguments and _CALL.fullmatch(arguments[-1]):
            return _tagged(arguments, node)
        case "int" if len(arguments) == 1:
            form = _form(arguments[0], node)
            if isinstance(form, dict) and form.get("distribution") == "uniform":
                return {**form, "distribution": "int_uniform"}
    raise CannotSayError(node, f"{text} has no counterpart; write the values as a list")


def _tagged(arguments: list[str], node: Node) -> Form:
    form = _form(arguments[-1], node)
    tags = set(arguments[:-1])
    if isinstance(form, dict) and form.get("distribution") == "uniform":
        if tags == {"log"}:
            return {**form, "distribution": "log_uniform_values"}
        if tags == {"int"}:
            return {**form, "distribution": "int_uniform"}
    if tags & {"log", "int"}:
        raise CannotSayError(
            node, f"tag({', '.join(arguments)}) has no counterpart; write the values as a list"
        )
    return form


def _range(arguments: list[str], node: Node) -> Form:
    named = dict(each.split("=", 1) for each in arguments if "=" in each)
    plain = [each for each in arguments if "=" not in each]
    given = _numbers(plain, node, len(plain)) if plain else []
    if len(given) == 1 and not named.keys() & {"start", "stop"}:
        given = [0, *given]
    keys = dict(zip(("start", "stop", "step"), given, strict=False))
    keys |= {name.strip(): _numbers([text], node, 1)[0] for name, text in named.items()}
    if not {"stop"} <= keys.keys() <= {"start", "stop", "step"}:
        raise CannotSayError(node, "range takes start, stop and step; write range(0, 10, step=2)")
    return {"range": [keys.get("start", 0), keys["stop"], keys.get("step", 1)]}


def _optuna(node: Node, to: Translation) -> Form:
    """An entry of the search_space of Hydra's Optuna sweeper."""
    given = fields_of(node)
    kind = to.literal(given["type"])
    if kind == "categorical" and "choices" in given:
        return to.values(given["choices"])
    if kind not in ("int", "float") or not given.keys() >= {"low", "high"}:
        raise CannotSayError(node, "it has no counterpart; write type: int or float with low and high")
    low, high = number(given["low"]), number(given["high"])
    is_log = "log" in given and to.literal(given["log"]) is True
    if "step" in given and not is_log:
        step = number(given["step"])
        end = float(Fraction(repr(high)) + Fraction(repr(step)))
        steps = (Fraction(repr(high)) - Fraction(repr(low))) % Fraction(repr(step))
        if steps:
            raise CannotSayError(given["step"], "the steps do not reach high; write a high that they reach")
        return {"range": [low, int(end) if isinstance(high, int) and isinstance(step, int) else end, step]}
    if kind == "int" and is_log:
        raise CannotSayError(
            node, "whole numbers on a log scale have no counterpart; write the values as a list"
        )
    if kind == "int":
        return {"min": low, "max": high, "distribution": "int_uniform"}
    return {"min": low, "max": high, "distribution": "log_uniform_values" if is_log else "uniform"}


def _values(parts: list[str], node: Node) -> list[Any]:
    values = [_element(part) for part in parts]
    for place, value in enumerate(values):
        if any(value == other and type(value) is type(other) for other in values[:place]):
            raise CannotSayError(node, f"{value!r} is in the list twice; remove one")
    return values


def _numbers(parts: list[str], node: Node, count: int) -> list[int | float]:
    found = [number(ScalarNode(node.position, None, part, True)) for part in parts]
    if len(found) != count:
        raise CannotSayError(node, f"{count} numbers are needed; write them as (0.1, 1)")
    return found


def _element(text: str) -> Any:
    """A value of Hydra: text in quotes, or what it looks like."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1].replace(f"\\{text[0]}", text[0])
    value = resolve(text)
    return text if isinstance(value, float) and value != value else value


def _split(text: str) -> list[str]:
    """The parts between commas that are in no brackets and no quotes."""
    parts, depth, quote, start = [], 0, "", 0
    for place, character in enumerate(text):
        if quote:
            quote = "" if character == quote and text[place - 1] != "\\" else quote
        elif character in "'\"":
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif character == "," and not depth:
            parts.append(text[start:place].strip())
            start = place + 1
    return [*parts, text[start:].strip()]
