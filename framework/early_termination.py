"""Early termination: at which reports of its metric a task is compared with the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from framework import yaml_source
from framework.metrics import Metric, as_number
from framework.yaml_source import Entry, Node, Problems, Scalar, Unusable, nearest

Type: TypeAlias = Literal["hyperband", "asha"]

_EXAMPLE = "{type: asha, min_iter: 3}"
_KEYS = ("type", "min_iter", "max_iter", "s", "eta", "strict")
_ETA = 3  # as in W&B
_MOST_ITERATIONS = 10**9


@dataclass(frozen=True)
class EarlyTermination:
    """Which tasks are ended before they are done. An iteration is one report of the project's metric.

    asha: at each rung (min_iter, min_iter·eta, min_iter·eta², … reports) one task in eta goes on
    (Li et al. 2020, A System for Massively Parallel Hyperparameter Tuning).
    hyperband: some of the tasks are first judged at a later rung (Li et al. 2018, Hyperband).
    """

    type: Type
    min_iter: int
    max_iter: int | None  # the reports of a whole training: nothing is ended from there on; None: not known
    eta: int

    def is_rung(self, step: int) -> bool:
        """Are tasks compared by report number `step`, counted from 1?"""
        rung = self.min_iter
        while rung < step:
            rung *= self.eta
        return rung == step and (self.max_iter is None or step < self.max_iter)


@dataclass
class Reports:
    """Counts how often an attempt reports the metric, and keeps what it said at the rungs."""

    metric: str
    early_termination: EarlyTermination
    count: int = 0
    at_rungs: dict[int, Metric] = field(default_factory=dict)  # by the number of the report

    def take(self, found: Mapping[str, Metric]) -> None:
        """Take the metrics of one line of output; text that stands for no number is no report."""
        value = found.get(self.metric, "")
        if as_number(value) is None:
            return
        self.count += 1
        if self.early_termination.is_rung(self.count):
            self.at_rungs[self.count] = value


def read_early_termination(node: Node, problems: Problems) -> EarlyTermination | None:
    """What `early_terminate` says, with W&B's keys; None if something in it is among the problems.

    Raises ValueError if the keys make no sense together.
    """
    if not isinstance(node, yaml_source.Mapping):
        raise ValueError(f"has to be a mapping, as in {_EXAMPLE}")
    before = len(problems.lines)
    entries = {entry.name: entry for entry in node.entries}
    for entry in node.entries:
        if entry.name not in _KEYS:
            problems.add(entry.position, f"unknown key {entry.name!r}; {nearest(entry.name, _KEYS)}")
    kind = _type(entries.get("type"), problems)
    _check_strict(entries.get("strict"), problems)
    eta = _number(entries.get("eta"), 2, 100, problems) or _ETA
    min_iter = _number(entries.get("min_iter"), 1, _MOST_ITERATIONS, problems)
    max_iter = _number(entries.get("max_iter"), 2, _MOST_ITERATIONS, problems)
    s = _number(entries.get("s"), 1, 30, problems)
    if len(problems.lines) > before:
        return None
    if kind is None:
        raise ValueError(f"has no type; write hyperband or asha, as in {_EXAMPLE}")
    return EarlyTermination(kind, *_rungs(min_iter, max_iter, s, eta), eta)


def _rungs(min_iter: int | None, max_iter: int | None, s: int | None, eta: int) -> tuple[int, int | None]:
    """min_iter and max_iter, of which s gives one. Raises ValueError."""
    match min_iter, max_iter, s:
        case int(), None, None:
            return min_iter, None
        case int(), int(), None if min_iter < max_iter:
            return min_iter, max_iter
        case int(), int(), None:
            raise ValueError("compares no task with another: max_iter has to be more than min_iter")
        case int(), None, int():
            return min_iter, min_iter * eta**s
        case None, int(), int() if eta**s <= max_iter:
            return max_iter // eta**s, max_iter
        case None, int(), int():
            raise ValueError(f"has no rungs: max_iter cannot be divided by eta ({eta}) {s} times")
        case int(), int(), int():
            raise ValueError("has one key too many: two of min_iter, max_iter and s give the third")
    raise ValueError("needs min_iter, the reports before tasks are compared first, or max_iter and s")


def _type(entry: Entry | None, problems: Problems) -> Type | None:
    match entry:
        case None | Entry(node=Unusable()):
            return None
        case Entry(node=Scalar(value="hyperband")):
            return "hyperband"
        case Entry(node=Scalar(value="asha")):
            return "asha"
    problems.add(entry.node.position, "type: no early termination of this kind; write hyperband or asha")
    return None


def _check_strict(entry: Entry | None, problems: Problems) -> None:
    # read for W&B's sake: Optuna's pruners always hold to the rungs, as W&B's do when strict
    match entry:
        case None | Entry(node=Unusable()) | Entry(node=Scalar(value=True | False)):
            return
    problems.add(entry.node.position, "strict: has to be true or false")


def _number(entry: Entry | None, least: int, most: int, problems: Problems) -> int | None:
    """A whole number; None if there is no such entry, or its value is among the problems."""
    match entry:
        case None | Entry(node=Unusable()):
            return None
        case Entry(node=Scalar(value=int(value))) if not isinstance(value, bool) and least <= value <= most:
            return value
    problems.add(entry.node.position, f"{entry.name}: has to be a whole number from {least} to {most}")
    return None
