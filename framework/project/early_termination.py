"""Early termination: reports at which a task is compared with others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from framework.messages.metrics import Metric, as_number

Type = Literal["hyperband", "asha", "bands"]


@dataclass(frozen=True)
class EarlyTermination:
    """Rule by which tasks are ended early. An iteration is one report of the project's metric.

    asha: at each rung (min_iter, min_iter·eta, min_iter·eta², … reports) one task in eta continues
    (Li et al. 2020, A System for Massively Parallel Hyperparameter Tuning).
    hyperband: the first rung of some tasks is a later one (Li et al. 2018, Hyperband).
    bands: what W&B calls hyperband; a task continues if it is among the best 1/eta at each of `rungs`.
    """

    type: Type
    min_iter: int  # reports before the first comparison
    max_iter: int | None  # reports of a whole training, from which on no task is ended; None: unknown
    eta: int | float  # factor between the rungs, and share of tasks: one in eta continues
    rungs: tuple[int, ...] = ()  # of bands; those of the other types follow from min_iter, max_iter and eta
    is_strict: bool = True  # bands compare the last report; else the best one at a rung until then

    def is_rung(self, step: int) -> bool:
        """True if tasks are compared by their report number `step`, counted from 1."""
        if self.type == "bands":
            return step in self.rungs
        rung: int | float = self.min_iter
        while rung < step:
            rung *= self.eta
        return rung == step and (self.max_iter is None or step < self.max_iter)


@dataclass
class Reports:
    """The number of reports of one attempt, and the values that it reported at the rungs."""

    metric: str
    early_termination: EarlyTermination
    count: int = 0
    at_rungs: dict[int, Metric] = field(default_factory=dict)  # values by the number of the report

    def take(self, found: Mapping[str, Metric]) -> None:
        """Take the metrics of one line of output; only a number of the project's metric is a report."""
        value = found.get(self.metric, "")
        if as_number(value) is None:
            return
        self.count += 1
        if self.early_termination.is_rung(self.count):
            self.at_rungs[self.count] = value
