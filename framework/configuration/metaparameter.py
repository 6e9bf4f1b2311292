"""Reader of one metaparameter: its values, or its distribution."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import NoReturn

from framework.configuration.yaml_nodes import (
    Entry,
    MappingNode,
    Node,
    Problems,
    ScalarNode,
    SequenceNode,
    UnusableNode,
    nearest,
)
from framework.space.distributions import (
    Categorical,
    LogNormal,
    LogUniform,
    Normal,
    Quantized,
    Truncated,
    Uniform,
)
from framework.space.expressions import Expression, parse_expression
from framework.space.product import Dimension
from framework.space.values import Value, canonical, interval, logspace, value_problem

_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ].*)?")
_REFERENCE = re.compile(r"\$\{[^{}]+\}")
# What other tools would read as several values, each with the form that is one here.
_FOREIGN_TEXT = (
    (re.compile(r"(choice|shuffle)\(.*\)"), "[a, b, c]"),
    (re.compile(r"range\(.*\)"), "{range: [start, end, step]}"),
    (re.compile(r"interval\(.*\)"), "{min: …, max: …}"),
    (re.compile(r"logspace[\[(].*[\])]"), "{logspace: [1e-5, 1e-1, 5]}"),
    (re.compile(r"[^,\s]+(,[^,\s]+)+"), "[a, b, c]"),
)
# Other tools, each with the keys of their files: of each set, one has to be there.
_FOREIGN_KEYS = (
    ("NNI", ({"_type", "_value"},)),
    ("Ray Tune", ({"grid_search", "choice", "loguniform", "quniform", "qloguniform", "randint"},)),
    ("Determined", ({"type"}, {"minval", "maxval", "vals", "val"})),
)
_NO_VALUE = (
    "a metaparameter without a value; write one, as in {value: []} for an empty list, or remove the line"
)
_INTERVAL_ADVICE = "write three numbers: [start, end, step]"
_LARGEST_EXPONENT = 700  # exp(709.8) overflows
_LEAST_MASS = 1e-200  # what lies between limits that are farther out cannot be told apart
_TAILS = 9  # standard deviations; no draw lies farther from the mean

_LIMITS = ("min", "max")
_MOMENTS = ("mu", "sigma")
# W&B's names of distributions, each with the keys that it needs, and the keys that it may have.
_DISTRIBUTIONS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "constant": (("value",), ()),
    "categorical": (("values",), ("probabilities",)),
    "categorical_w_probabilities": (("values", "probabilities"), ()),
    "int_uniform": (_LIMITS, ()),
    "uniform": (_LIMITS, ()),
    "q_uniform": (_LIMITS, ("q",)),
    "log_uniform": (_LIMITS, ()),
    "log_uniform_values": (_LIMITS, ()),
    "q_log_uniform": (_LIMITS, ("q",)),
    "q_log_uniform_values": (_LIMITS, ("q",)),
    "inv_log_uniform": (_LIMITS, ()),
    "inv_log_uniform_values": (_LIMITS, ()),
    "normal": ((), (*_MOMENTS, *_LIMITS)),
    "q_normal": ((), (*_MOMENTS, *_LIMITS, "q")),
    "log_normal": ((), (*_MOMENTS, *_LIMITS)),
    "q_log_normal": ((), (*_MOMENTS, *_LIMITS, "q")),
}
_ALONE = ("range", "logspace", "expression")
KEYS = (*_ALONE, "value", "values", "min", "max", "distribution", "probabilities", "q", "mu", "sigma")
_UNAVAILABLE = ("beta", "q_beta")  # of W&B's distributions


def read_dimension(
    node: Node,
    entries: Sequence[Entry],
    zipped: bool,
    grid: bool,
    problems: Problems,
    is_wandb: bool = False,
) -> Dimension | Expression:
    """The values, distribution or expression that the `node` of a metaparameter describes; [] if it is wrong.

    Each mistake is added to `problems`. `entries`: those of a mapping that describe values. `zipped`: the
    metaparameter is zipped, so that its values may repeat. `grid`: every value runs, so that there have to be
    finitely many. `is_wandb`: see read_values().
    """
    match node:
        case UnusableNode():
            return []
        case ScalarNode(plain=True, value=str(text)) if _REFERENCE.fullmatch(text):
            return parse_expression(text)
        case ScalarNode(plain=True, value=str(text)) if advice := _foreign_text(text):
            problems.add(
                node.position, f"{text} could be several values or text; write {advice}, or put it in quotes"
            )
        case ScalarNode():
            return read_values([node], problems)
        case SequenceNode(items=()):
            problems.add(node.position, _NO_VALUE)
        case SequenceNode(is_tuple=True):
            return _read_interval(node, problems)
        case SequenceNode(items=items):
            for item in items:
                if isinstance(item, MappingNode) and item.entries and _names_of(item) <= set(KEYS):
                    problems.add(
                        item.position,
                        f"{item.entries[0].name}: in a list is part of a value here; write it without the "
                        "list, or {values: […]} if it is one",
                    )
                    return []
            return read_values(items, problems, repeats=zipped, is_wandb=is_wandb)
        case _ if not entries:
            problems.add(node.position, _NO_VALUE)
        case _:
            try:
                return _Mapping(node, entries, zipped, grid, problems, is_wandb).read()
            except _NoDimension:
                return []
    return []


def read_values(
    nodes: Iterable[Node],
    problems: Problems,
    repeats: bool = False,
    is_wandb: bool = False,
) -> list[Value]:
    """The values that can be passed to a program; each other one is added to `problems`.

    With `repeats` a value may occur twice. `is_wandb`: as in W&B, a value that occurs twice is dropped, which
    becomes a notice.
    """
    values: list[Value] = []
    known = set()
    for node in nodes:
        try:
            value = _read_value(node, problems)
        except _NoDimension:
            continue
        key = canonical(_as_integer(value) if is_wandb else value)
        if key in known and not repeats:
            if is_wandb:
                problems.note(node.position, f"{value!r} is in the list twice; it runs once")
            else:
                problems.add(node.position, f"{value!r} is in the list twice; remove one")
            continue
        known.add(key)
        values.append(value)
    return values


def _as_integer(value: Value) -> Value:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _names_of(mapping: MappingNode) -> set[str]:
    return {entry.name for entry in mapping.entries}


def _read_value(node: Node, problems: Problems) -> Value:
    """The value that a node describes; raises _NoDimension if there is none, which is among the problems."""
    match node:
        case UnusableNode():
            raise _NoDimension
        case SequenceNode(items=items, is_tuple=False):
            return [_read_value(item, problems) for item in items]
        case MappingNode(entries=entries):
            return {entry.name: _read_value(entry.node, problems) for entry in entries}
        case ScalarNode(value=None, text=""):
            problem: str | None = (
                "no value; write one, null, '' for empty text, or false to leave the option out"
            )
        case ScalarNode(plain=True, value=str(text)) if _DATE.fullmatch(text):
            problem = f"{text} could be a date or text; put it in quotes to pass it as text"
        case ScalarNode(value=value):
            problems.note_word(node)
            problem = value_problem(value)
            if problem is None:
                return value
        case _:
            problem = "an interval cannot be a value; write {range: [start, end, step]}, or a list"
    problems.add(node.position, problem or "")
    raise _NoDimension


def _foreign_text(text: str) -> str | None:
    return next((advice for pattern, advice in _FOREIGN_TEXT if pattern.fullmatch(text)), None)


def _read_interval(node: Node, problems: Problems) -> Sequence[Value]:
    if isinstance(node, UnusableNode):
        return []
    numbers = [_number(item) for item in node.items] if isinstance(node, SequenceNode) else []
    match [*numbers, 1] if len(numbers) == 2 else numbers:
        case [int() | float() as start, int() | float() as end, int() | float() as step]:
            try:
                return interval(start, end, step)
            except ValueError as error:
                problems.add(
                    node.position, f"{error}; {_INTERVAL_ADVICE}, from start up to, not including, end"
                )
        case _:
            problems.add(node.position, f"not an interval; {_INTERVAL_ADVICE}")
    return []


def _number(node: Node) -> int | float | None:
    value = node.value if isinstance(node, ScalarNode) else None
    if isinstance(node, ScalarNode) and isinstance(value, str):
        value = node.other_value  # where a number is needed, 1e-3 is one in YAML 1.1 too
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


class _NoDimension(Exception):
    """A metaparameter cannot be read; the reason is among the problems."""


class _Mapping:
    """A metaparameter written as a mapping: {range: …}, or with the keys of W&B."""

    def __init__(
        self,
        node: Node,
        entries: Sequence[Entry],
        zipped: bool,
        grid: bool,
        problems: Problems,
        is_wandb: bool,
    ) -> None:
        self._node = node
        self._entries = {entry.name: entry for entry in entries}
        self._zipped = zipped
        self._grid = grid
        self._problems = problems
        self._is_wandb = is_wandb

    def read(self) -> Dimension | Expression:
        """The values, distribution or expression; raises _NoDimension."""
        name = self._written_distribution()
        if name in _UNAVAILABLE:
            self._refuse(
                self._entries["distribution"].node,
                f"{name} is not available; write normal or uniform, or values: […] with probabilities: […]",
            )
        self._check_keys()
        alone = next((key for key in _ALONE if key in self._entries), None)
        if alone:
            self._allow_only(alone, (alone,))
            node = self._entries[alone].node
            match alone:
                case "range":
                    return _read_interval(node, self._problems)
                case "logspace":
                    return self._read_logspace(node)
                case _:
                    return self._read_expression(node)
        name = self._read_distribution()
        needed, optional = _DISTRIBUTIONS[name]
        self._allow_only(name, (*needed, *optional, "distribution"))
        missing = [key for key in needed if key not in self._entries]
        if missing:
            self._refuse(self._node, f"{name} without {' and '.join(missing)}; add {missing[0]}: …")
        return self._read_dimension(name)

    def _check_keys(self) -> None:
        unknown = [entry for entry in self._entries.values() if entry.name not in KEYS]
        for tool, sets in () if self._is_wandb else _FOREIGN_KEYS:
            if all(keys & self._entries.keys() for keys in sets):
                file = shlex.quote(str(self._node.position.file))
                self._refuse(
                    self._node,
                    f"this is how {tool} writes it; 'python -m framework import {file}' prints it as "
                    "parameters.yml has it",
                )
        for entry in unknown:
            self._problems.add(entry.position, f"unknown key {entry.name!r}; {nearest(entry.name, KEYS)}")
        if unknown:
            raise _NoDimension

    def _read_logspace(self, node: Node) -> Sequence[Value]:
        numbers = [_number(item) for item in node.items] if isinstance(node, SequenceNode) else []
        try:
            match numbers:
                case [int() | float() as start, int() | float() as end, int() as count]:
                    return logspace(start, end, count)
                case _:
                    raise ValueError("not a log-spaced list")
        except ValueError as error:
            self._refuse(node, f"{error}; write [first, last, how many], as in [1e-5, 1e-1, 5]")

    def _read_expression(self, node: Node) -> Expression:
        if not isinstance(node, ScalarNode) or not node.text:
            self._refuse(node, "not an expression; write it as text, as in '2 * width'")
        try:
            return parse_expression(node.text)
        except ValueError as error:
            self._refuse(node, str(error))

    def _written_distribution(self) -> str:
        entry = self._entries.get("distribution")
        return entry.node.text if entry is not None and isinstance(entry.node, ScalarNode) else ""

    def _read_distribution(self) -> str:
        """The name that is written, or the one that the keys imply."""
        entry = self._entries.get("distribution")
        if entry is not None:
            name = self._written_distribution()
            if name not in _DISTRIBUTIONS:
                self._refuse(entry.node, f"unknown distribution {name!r}; {nearest(name, _DISTRIBUTIONS)}")
            return name
        if "value" in self._entries:
            return "constant"
        if "values" in self._entries:
            return "categorical"
        if not self._entries.keys() & set(_LIMITS):
            self._refuse(
                self._node, "no values; write values: […], min: and max:, or distribution: with its keys"
            )
        limits = [_number(self._entries[key].node) for key in _LIMITS if key in self._entries]
        return "int_uniform" if all(isinstance(limit, int) for limit in limits) else "uniform"

    def _read_dimension(self, name: str) -> Dimension:
        match name:
            case "constant":
                return read_values([self._entries["value"].node], self._problems, is_wandb=self._is_wandb)
            case "categorical" | "categorical_w_probabilities":
                return self._read_categorical()
            case "int_uniform":
                return self._read_whole_numbers()
            case "q_uniform" if self._grid:
                low, high = self._read_limits()
                return self._read_steps(low, high, self._read_quantum())
        of: Uniform | LogUniform | Normal | LogNormal | Truncated
        match name.removeprefix("q_"):
            case "uniform":
                of = Uniform(*self._read_limits())
            case "log_uniform_values" | "inv_log_uniform_values":
                # 1/X is log-uniform between 1/max and 1/min exactly if X is log-uniform between min and max.
                of = LogUniform(*self._read_limits(above=0))
            case "log_uniform":
                of = self._read_log_uniform()
            case "inv_log_uniform":
                low, high = self._read_limits(most=_LARGEST_EXPONENT)
                of = LogUniform(math.exp(-high), math.exp(-low))
            case "normal":
                of = self._truncate(Normal(*self._read_moments()))
            case _:
                of = self._truncate(LogNormal(*self._read_moments(most=_LARGEST_EXPONENT)))
        dimension = Quantized(of, self._read_quantum()) if name.startswith("q_") else of
        if self._grid:
            self._refuse(
                self._node,
                f"{name} has too many values for a grid; write values: […], or min, max and q with "
                "distribution: q_uniform, or method: random",
            )
        return dimension

    def _truncate(self, of: Normal | LogNormal) -> Normal | LogNormal | Truncated:
        """The distribution within `min` and `max`, if there are any."""
        low, high = (
            float(self._read_finite(self._entries[key].node)) if key in self._entries else default
            for key, default in zip(_LIMITS, (-math.inf, math.inf), strict=True)
        )
        if not self._entries.keys() & set(_LIMITS):
            return of
        self._check_order(low, high, equal=False)
        truncated = Truncated(of, low, high)
        if truncated.mass < _LEAST_MASS:
            self._refuse(
                self._node,
                f"mu {of.mu:g} and sigma {of.sigma:g} have next to no values between these limits; "
                "write mu, sigma, min or max anew",
            )
        return truncated

    def _read_log_uniform(self) -> LogUniform:
        limits = self._read_limits(most=_LARGEST_EXPONENT)
        low, high = map(math.exp, limits)
        if limits[0] > 0:
            self._problems.note(
                self._node.position,
                f"log_uniform takes exponents: its values go from e**{limits[0]}, which is {low:.6g}, to "
                f"{high:.6g}; for values from {limits[0]} to {limits[1]} write log_uniform_values",
            )
        return LogUniform(low, high)

    def _read_categorical(self) -> Dimension:
        node = self._entries["values"].node
        values = self._read_items(node)
        entry = self._entries.get("probabilities")
        is_wandb = self._is_wandb and entry is None
        found = read_values(values, self._problems, repeats=self._zipped, is_wandb=is_wandb)
        if entry is None:
            return found
        numbers = [self._read_finite(item) for item in self._read_items(entry.node)]
        if len(numbers) != len(values):
            self._refuse(
                entry.node, f"{len(numbers)} probabilities for {len(values)} values; write one for each"
            )
        if any(number < 0 for number in numbers):
            self._refuse(entry.node, "a probability below 0; write numbers from 0 to 1")
        if not math.isclose(sum(numbers), 1, rel_tol=1e-5):
            self._refuse(entry.node, f"the probabilities sum to {sum(numbers):.6g}; they have to sum to 1")
        if len(found) != len(values):
            raise _NoDimension
        if self._grid:
            self._refuse(
                entry.node,
                "a grid runs each value once, without probabilities; remove them, or write method: random",
            )
        return Categorical(tuple(found), tuple(numbers))

    def _read_items(self, node: Node) -> Sequence[Node]:
        if isinstance(node, UnusableNode):
            raise _NoDimension
        if not isinstance(node, SequenceNode) or node.is_tuple or not node.items:
            self._refuse(node, "not a list of values; write it as [a, b, c]")
        return node.items

    def _read_whole_numbers(self) -> Sequence[Value]:
        low, high = self._read_limits(equal=True)
        if not isinstance(low, int) or not isinstance(high, int):
            self._refuse(self._node, "int_uniform takes whole numbers; write them, or distribution: uniform")
        return self._read_steps(low, high + 1, 1)

    def _read_steps(self, low: int | float, high: int | float, step: int | float) -> Sequence[Value]:
        try:
            return interval(low, high, step)
        except ValueError as error:
            self._refuse(self._node, f"{error}; write other limits")

    def _read_limits(
        self, above: float = -math.inf, most: float = math.inf, equal: bool = False
    ) -> tuple[int | float, int | float]:
        low, high = (self._read_finite(self._entries[key].node) for key in _LIMITS)
        if low <= above:
            self._refuse(
                self._entries["min"].node,
                f"min has to be above {above:g}, as its logarithm is taken; write e.g. 1e-6",
            )
        if max(abs(low), abs(high)) > most:
            self._refuse(
                self._node,
                "min and max are exponents of e, and too large; use log_uniform_values to give the limits",
            )
        self._check_order(low, high, equal)
        return low, high

    def _check_order(self, low: float, high: float, equal: bool) -> None:
        if low > high:
            self._refuse(
                self._entries["max"].node, f"min is above max: {low} and {high}; write min below max"
            )
        if low == high and not equal:
            self._refuse(
                self._entries["max"].node,
                f"min is the same as max: {low} and {high}; write min below max, or value: {low} alone",
            )

    def _read_moments(self, most: float = math.inf) -> tuple[float, float]:
        mu, sigma = (
            self._read_finite(self._entries[key].node) if key in self._entries else default
            for key, default in (("mu", 0.0), ("sigma", 1.0))
        )
        if sigma <= 0:
            self._refuse(
                self._entries["sigma"].node, "sigma has to be above 0; for one value, write value: …"
            )
        if abs(mu) + _TAILS * sigma > most:
            self._refuse(
                self._node,
                "mu and sigma are those of the logarithm, and too large for a power of e; write smaller ones",
            )
        return mu, sigma

    def _read_quantum(self) -> int | float:
        entry = self._entries.get("q")
        if entry is None:
            return 1
        q = self._read_finite(entry.node)
        if q <= 0:
            self._refuse(entry.node, "q has to be above 0; values are rounded to multiples of it")
        return q

    def _read_finite(self, node: Node) -> int | float:
        number = _number(node)
        if number is None or not math.isfinite(number):
            if isinstance(node, UnusableNode):
                raise _NoDimension
            self._refuse(node, "this has to be a number; write it as 5, 0.1 or 1e-3")
        return number

    def _allow_only(self, what: str, allowed: Sequence[str]) -> None:
        others = [entry for entry in self._entries.values() if entry.name not in allowed]
        for entry in others:
            self._problems.add(
                entry.position,
                f"{entry.name} cannot be used with {what}; its keys: {', '.join(allowed)}",
            )
        if others:
            raise _NoDimension

    def _refuse(self, node: Node, problem: str) -> NoReturn:
        self._problems.add(node.position, problem)
        raise _NoDimension
