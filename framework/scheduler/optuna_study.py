"""Optuna study: suggests combinations, and prunes tasks that do worse than others.

A study is in memory only: after a restart it is made again from the journal.
"""

from __future__ import annotations

import math
import random
import zlib
from abc import ABC, abstractmethod
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import TypeAlias

import optuna
from optuna.trial import TrialState

from framework.journal.records import ENDED, TaskRecord
from framework.journal.store import Journal
from framework.journal.trials import Trials
from framework.messages.metrics import as_number
from framework.project.early_termination import EarlyTermination
from framework.project.project import Project
from framework.space.distributions import Numeric
from framework.space.product import Space, listed
from framework.space.sampling import Shuffled
from framework.space.values import Interval, Value, canonical, options_with

optuna.logging.set_verbosity(optuna.logging.WARNING)

_SUGGESTIONS = 20  # asked for until one of them is new; in a small space most have been tried at the end
_DRAWS = 1000  # tried then; if none of them is new, the space has nothing new
_EDGE = 2.0**-30  # distributions without limits are searched between these quantiles

Parameters: TypeAlias = Mapping[str, Value]


class Study:
    """A trial for each task: its parameters, what it reported at the rungs, how it ended."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._space = project.search_space
        self._axes = [_axis(self._space, names) for names in self._space.axes]
        self._trials: dict[str, optuna.Trial] = {}  # by task that has not ended
        self._reported: dict[str, int] = {}  # the number of the last report of each task
        self._no_sampler = optuna.samplers.RandomSampler(seed=0)  # for trials with given parameters
        self._study = optuna.create_study(
            study_name=project.name,  # hyperband makes the bracket of a trial from it and the trial's number
            direction=project.goal,
            sampler=self._no_sampler,
            pruner=_pruner(project.early_termination),
        )

    @classmethod
    def of_journal(cls, project: Project, journal: Journal) -> Study:
        """The study that the journal describes: as it was when the master ended."""
        study = cls(project)
        reports = journal.reports()
        if project.method.is_adaptive:
            records = Trials(project, journal).records
        else:
            known = journal.records(list(reports)).values()
            records = [record for record in known if project.task_id(record.parameters) == record.task]
            records.sort(key=lambda record: record.number)
        for record in records:
            study.begin(record.task, record.parameters)
            for step, value in reports.get(record.task, {}).items():
                study.report(record.task, step, value)
            if record.state in ENDED:
                study.end(record)
        return study

    def suggest(self, number: int, tried: Container[str]) -> tuple[str, Parameters] | None:
        """Task and parameters of combination `number`, none of those `tried`; None if there is no other.

        They depend on the project, its seed, the number and the results in the study, and on nothing else.
        """
        parameters: Parameters
        for parameters in self._space.included:
            if (task := self._project.task_id(parameters)) not in tried:
                self.begin(task, parameters)
                return task, parameters
        seed = zlib.crc32(f"{self._project.method.seed}/{number}".encode())
        self._study.sampler = optuna.samplers.TPESampler(seed=seed)
        for _ in range(_SUGGESTIONS):
            trial = self._study.ask()
            parameters = self._suggested(trial)
            task = self._project.task_id(parameters)
            if task not in tried and self._space.contains(parameters):
                self._trials[task] = trial
                return task, parameters
            self._study.tell(trial, state=TrialState.FAIL)  # samplers ignore such trials
        for parameters in self._anything(number):
            if (task := self._project.task_id(parameters)) not in tried:
                self.begin(task, parameters)
                return task, parameters
        return None

    def begin(self, task: str, parameters: Parameters) -> None:
        """Add a task whose parameters do not come from the sampler."""
        options = self._options(parameters) if self._project.method.is_adaptive else None
        if options is not None:
            self._study.enqueue_trial(options)
        self._study.sampler = self._no_sampler
        self._trials[task] = self._study.ask()
        if options is not None:
            self._suggested(self._trials[task])

    def is_news(self, task: str, step: int) -> bool:
        """True if report number `step` of a task is at a rung, and later than its reports until now."""
        rungs = self._project.early_termination
        return rungs is not None and rungs.is_rung(step) and step > self._reported.get(task, 0)

    def report(self, task: str, step: int, value: float) -> bool:
        """Add report number `step` of a task, if it is news; True if the task should be pruned."""
        if not self.is_news(task, step):
            return False
        if task not in self._trials:
            self.begin(task, {})
        self._reported[task] = step
        self._trials[task].report(value, step)
        return self._trials[task].should_prune()

    def end(self, record: TaskRecord) -> None:
        """Add the terminal record of a task."""
        trial = self._trials.pop(record.task, None)
        self._reported.pop(record.task, None)
        if trial is None:
            return
        value = as_number(record.metrics.get(self._project.metric or ""))
        known = bool(trial.params) or not self._project.method.is_adaptive
        if record.state == "pruned" and known:
            self._study.tell(trial, state=TrialState.PRUNED)
        elif record.state == "done" and known and value is not None and not math.isnan(value):
            self._study.tell(trial, value)
        else:
            self._study.tell(trial, state=TrialState.FAIL)

    def _anything(self, number: int) -> Iterator[Parameters]:
        """Combinations in an arbitrary order: all of a finite space, or many draws."""
        seed = self._project.method.seed
        if self._space.is_finite:
            yield from Shuffled(self._space, seed)
        else:
            for draw in range(_DRAWS):
                yield self._space.draw(random.Random(f"{seed}/{number}/{draw}").random)

    def _suggested(self, trial: optuna.Trial) -> dict[str, Value]:
        chosen: dict[str, Value] = {}
        for axis in self._axes:
            if axis.exists(chosen):
                chosen |= axis.suggest(trial)
        return self._space.complete({name: chosen[name] for name in self._space.dimensions if name in chosen})

    def _options(self, parameters: Parameters) -> dict[str, int | float] | None:
        """The suggestions that give a trial these parameters; None if there are none."""
        options: dict[str, int | float] = {}
        for axis in self._axes:
            if axis.names[0] in parameters:
                option = axis.option(parameters)
                if option is None:
                    return None
                options[axis.names[0]] = option
        return options


class _Axis(ABC):
    """A parameter of Optuna for one metaparameter, or for those that are zipped; it has the first's name."""

    def __init__(self, names: Sequence[str], condition: Mapping[str, Sequence[Value]]) -> None:
        self.names = names
        self._condition = condition

    def exists(self, chosen: Parameters) -> bool:
        """True if its condition holds for the values that were chosen on earlier axes."""
        return all(
            name in chosen and bool(options_with(values, chosen[name]))
            for name, values in self._condition.items()
        )

    @abstractmethod
    def suggest(self, trial: optuna.Trial) -> dict[str, Value]: ...

    @abstractmethod
    def option(self, parameters: Parameters) -> int | float | None:
        """The suggestion that gives these parameters; None if there is none."""


class _Drawn(_Axis):
    """A distribution; Optuna searches its quantiles, evenly."""

    def __init__(
        self, names: Sequence[str], condition: Mapping[str, Sequence[Value]], distribution: Numeric
    ) -> None:
        super().__init__(names, condition)
        self._distribution = distribution

    def suggest(self, trial: optuna.Trial) -> dict[str, Value]:
        level = trial.suggest_float(self.names[0], _EDGE, 1 - _EDGE)
        return {self.names[0]: self._distribution.quantile(level)}

    def option(self, parameters: Parameters) -> float | None:
        level = self._distribution.level(parameters[self.names[0]])
        return None if level is None else min(max(level, _EDGE), 1 - _EDGE)


class _Listed(_Axis):
    """Values in a list as categories, or those of an interval as a scale: near values give near results."""

    def __init__(
        self,
        names: Sequence[str],
        condition: Mapping[str, Sequence[Value]],
        columns: Sequence[Sequence[Value]],
    ) -> None:
        super().__init__(names, condition)
        self._columns = columns
        self._count = len(columns[0])
        self._is_scale = isinstance(columns[0], range | Interval) and self._count > 2

    def suggest(self, trial: optuna.Trial) -> dict[str, Value]:
        name, option = self.names[0], 0
        if self._is_scale:
            option = trial.suggest_int(name, 0, self._count - 1)
        elif self._count > 1:
            option = trial.suggest_categorical(name, range(self._count))
        return {name: column[option] for name, column in zip(self.names, self._columns, strict=True)}

    def option(self, parameters: Parameters) -> int | None:
        pairs = list(zip(self.names, self._columns, strict=True))
        for option in options_with(self._columns[0], parameters[self.names[0]]):
            if all(canonical(column[option]) == canonical(parameters.get(name)) for name, column in pairs):
                return option
        return None


def _axis(space: Space, names: Sequence[str]) -> _Axis:
    dimension, condition = space.dimensions[names[0]], space.conditions.get(names[0], {})
    if isinstance(dimension, Numeric):
        return _Drawn(names, condition, dimension)
    return _Listed(names, condition, [listed(space.dimensions[name]) for name in names])


def _pruner(early: EarlyTermination | None) -> optuna.pruners.BasePruner:
    if early is None:
        return optuna.pruners.NopPruner()
    if early.type == "bands":
        return _Bands(early)
    eta = int(early.eta)
    if early.type == "asha":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=early.min_iter, reduction_factor=eta)
    return optuna.pruners.HyperbandPruner(
        min_resource=early.min_iter, max_resource=early.max_iter or "auto", reduction_factor=eta
    )


class _Bands(optuna.pruners.BasePruner):
    """W&B's hyperband: at a rung, a task continues if it is among the best 1/eta of those that came there.

    See hyperband_stopping.py of https://github.com/wandb/sweeps.
    """

    def __init__(self, early: EarlyTermination) -> None:
        self._early = early

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        step = trial.last_step
        if step is None:
            return False
        sign = -1 if study.direction == optuna.study.StudyDirection.MAXIMIZE else 1
        own = sign * trial.intermediate_values[step]
        if math.isnan(own):
            return True
        if not self._early.is_strict:
            own = min(own, *(sign * value for value in trial.intermediate_values.values()))
        reported = (each.intermediate_values.get(step) for each in study.get_trials(deepcopy=False))
        values = sorted(sign * value for value in reported if value is not None and not math.isnan(value))
        return own > values[int(len(values) / self._early.eta)]
