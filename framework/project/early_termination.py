"""Early termination: reports at which a task is compared with others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from framework.messages.metrics import Metric, as_number

Type: TypeAlias = Literal["hyperband", "asha"]


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
