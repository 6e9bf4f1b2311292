"""Reader of `early_terminate:`."""

from __future__ import annotations

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


def read_early_termination(node: Node, problems: Problems) -> EarlyTermination | None:
    """The early termination that `node` describes with W&B's keys; None if a key is among the problems.

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
    _check_strict(entries.get("strict"), problems)
    eta = _read_number(entries.get("eta"), 2, 100, problems) or _ETA
    min_iter = _read_number(entries.get("min_iter"), 1, _MOST_ITERATIONS, problems)
    max_iter = _read_number(entries.get("max_iter"), 2, _MOST_ITERATIONS, problems)
    s = _read_number(entries.get("s"), 1, 30, problems)
    if len(problems.lines) > before:
        return None
    if kind is None:
        raise ValueError(f"has no type; write hyperband or asha, as in {_EXAMPLE}")
    return EarlyTermination(kind, *_rungs(min_iter, max_iter, s, eta), eta)


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


def _check_strict(entry: Entry | None, problems: Problems) -> None:
    # The value changes nothing: Optuna's pruners always compare at the rungs only, as W&B's do when strict.
    match entry:
        case None | Entry(node=UnusableNode()) | Entry(node=ScalarNode(value=True | False)):
            return
    problems.add(entry.node.position, "strict: has to be true or false")


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
