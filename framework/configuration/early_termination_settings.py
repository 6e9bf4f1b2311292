"""Reader of `early_terminate:`."""

from __future__ import annotations

import math
from collections.abc import Mapping

from framework.configuration.yaml_nodes import (
    Entry,
    MappingNode,
    Node,
    Problems,
    ScalarNode,
    UnusableNode,
    nearest,
)
from framework.project.early_termination import EarlyTermination, Type

_EXAMPLE = "{type: asha, min_iter: 3}"
_KEYS = ("type", "min_iter", "max_iter", "s", "eta", "strict")
_ETA = 3  # the default of W&B
_MOST_ITERATIONS = 10**9
_MOST_BANDS = 100  # as in W&B
_MOST_ETA = 100


def read_early_termination(node: Node, problems: Problems, is_wandb: bool = False) -> EarlyTermination | None:
    """The early termination that `node` describes with W&B's keys; None if a key is among the problems.

    `is_wandb`: hyperband is what W&B makes of it, where all tasks are compared at the same reports.
    Raises ValueError if keys are missing, or contradict each other.
    """
    if not isinstance(node, MappingNode):
        raise ValueError(f"has to be a mapping, as in {_EXAMPLE}")
    before = len(problems.lines)
    entries = {entry.name: entry for entry in node.entries}
    for entry in node.entries:
        if entry.name not in _KEYS:
            problems.add(entry.position, f"unknown key {entry.name!r}; {nearest(entry.name, _KEYS)}")
    kind = _read_type(entries.get("type"), problems)
    is_strict = _read_strict(entries.get("strict"), problems)
    if kind == "hyperband" and is_wandb:
        return _read_bands(entries, is_strict, problems)
    eta = _read_number(entries.get("eta"), 2, 100, problems) or _ETA
    min_iter = _read_number(entries.get("min_iter"), 1, _MOST_ITERATIONS, problems)
    max_iter = _read_number(entries.get("max_iter"), 2, _MOST_ITERATIONS, problems)
    s = _read_number(entries.get("s"), 1, 30, problems)
    if len(problems.lines) > before:
        return None
    if kind is None:
        raise ValueError(f"has no type; write hyperband or asha, as in {_EXAMPLE}")
    return EarlyTermination(kind, *_rungs(min_iter, max_iter, s, eta), eta)


def _read_bands(entries: Mapping[str, Entry], is_strict: bool, problems: Problems) -> EarlyTermination | None:
    """W&B's hyperband: max_iter and s count before min_iter. Raises ValueError."""
    before = len(problems)
    eta = _read_eta(entries.get("eta"), problems)
    min_iter = _read_number(entries.get("min_iter"), 1, _MOST_ITERATIONS, problems)
    max_iter = _read_number(entries.get("max_iter"), 1, _MOST_ITERATIONS, problems)
    s = _read_number(entries.get("s"), 1, 100, problems)
    if len(problems) > before:
        return None
    if max_iter is not None and s is not None:
        rungs = _bands_below(max_iter, s, eta)
        if not rungs:
            raise ValueError(f"has no rungs: max_iter has to be {math.ceil(eta)} or more, which is eta")
    elif min_iter is not None:
        if s is not None:
            problems.note(entries["s"].position, "s: changes nothing beside min_iter, as in W&B")
        rungs = _bands_above(min_iter, max_iter or _MOST_ITERATIONS, eta)
    else:
        raise ValueError(
            "needs min_iter, the number of reports before the first comparison, or max_iter and s"
        )
    return EarlyTermination("bands", rungs[0], max_iter, eta, rungs, is_strict)


def _bands_below(max_iter: int, s: int, eta: float) -> tuple[int, ...]:
    """max_iter divided by eta once, twice, … s times, as far as that is 1 or more."""
    bands: list[int] = []
    band = float(max_iter)
    for _ in range(s):
        band /= eta
        if band >= 1:
            bands.append(int(band))
    return tuple(sorted(set(bands)))


def _bands_above(min_iter: int, most: int, eta: float) -> tuple[int, ...]:
    """min_iter times eta never, once, twice, …, below `most`."""
    bands = [min_iter]
    band = float(min_iter)
    while (band := band * eta) < most and len(bands) < _MOST_BANDS:
        bands.append(int(band))
    return tuple(dict.fromkeys(bands))


def _rungs(min_iter: int | None, max_iter: int | None, s: int | None, eta: int) -> tuple[int, int | None]:
    """min_iter and max_iter, one of which may follow from s, the number of rungs. Raises ValueError."""
    match min_iter, max_iter, s:
        case int(), None, None:
            return min_iter, None
        case int(), int(), None if min_iter < max_iter:
            return min_iter, max_iter
        case int(), int(), None:
            raise ValueError("never compares tasks: max_iter has to be larger than min_iter")
        case int(), None, int():
            return min_iter, min_iter * eta**s
        case None, int(), int() if eta**s <= max_iter:
            return max_iter // eta**s, max_iter
        case None, int(), int():
            raise ValueError(
                f"has no rungs: max_iter has to be {eta**s} or more, which is eta to the power of s"
            )
        case int(), int(), int():
            raise ValueError(
                "has one key too many: write two of min_iter, max_iter and s, which give the third"
            )
    raise ValueError("needs min_iter, the number of reports before the first comparison, or max_iter and s")


def _read_type(entry: Entry | None, problems: Problems) -> Type | None:
    match entry:
        case None | Entry(node=UnusableNode()):
            return None
        case Entry(node=ScalarNode(value="hyperband")):
            return "hyperband"
        case Entry(node=ScalarNode(value="asha")):
            return "asha"
    problems.add(entry.node.position, "type: unknown type of early termination; write hyperband or asha")
    return None


def _read_strict(entry: Entry | None, problems: Problems) -> bool:
    match entry:
        case None | Entry(node=UnusableNode()):
            return True
        case Entry(node=ScalarNode(value=bool(value))):
            return value
    problems.add(entry.node.position, "strict: has to be true or false")
    return True


def _read_eta(entry: Entry | None, problems: Problems) -> int | float:
    match entry:
        case None | Entry(node=UnusableNode()):
            return _ETA
        case Entry(node=ScalarNode(value=int() | float() as value)) if 1 < value <= _MOST_ETA:
            return value
    problems.add(entry.node.position, f"eta: has to be a number above 1, at most {_MOST_ETA}")
    return _ETA


def _read_number(entry: Entry | None, least: int, most: int, problems: Problems) -> int | None:
    """A whole number; None if there is no such entry, or its value is among the problems."""
    match entry:
        case None | Entry(node=UnusableNode()):
            return None
        case Entry(node=ScalarNode(value=int(value))) if (
            not isinstance(value, bool) and least <= value <= most
        ):
            return value
    problems.add(entry.node.position, f"{entry.name}: has to be a whole number from {least} to {most}")
    return None
