"""Optuna study of a sweep, in an SQLite file, for load_study() and optuna-dashboard."""

from __future__ import annotations

import json
import math
import shlex
import warnings
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from framework.errors import UsageError
from framework.export.sqlite_file import database_url, using
from framework.export.sweep_results import SweepResults, TaskRun

_MARK = "exported by infrainit"  # attribute of the study
_EXACT = 2**53  # integers beyond are rounded by the storage


def export(results: SweepResults, target: Path) -> str:
    """Write a study with a trial for each task; an earlier export of the project is replaced.

    Trials have the project's metric as their value; other metrics and facts are user attributes. A task that
    is done and has no finite metric is a failed trial, as Optuna calls it. Raises UsageError if the file has
    a study of this name that is somebody else's.
    """
    if results.metric is None:
        raise UsageError("--optuna: project.yml names no metric, which would be the value of trials")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    url = database_url(target)
    with using(target):
        storage = optuna.storages.RDBStorage(url)
        _remove_earlier(storage, results.project)
        study = optuna.create_study(
            study_name=results.project, storage=storage, direction=results.sweep["goal"]
        )
        study.set_user_attr(_MARK, results.notes())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names([results.metric])
        distributions = _distributions([task["parameters"] for task in results.tasks])
        study.add_trials(_trial(run, results.metric, distributions) for run in results.runs())
    return shlex.join(["optuna-dashboard", url])


def _remove_earlier(storage: optuna.storages.RDBStorage, name: str) -> None:
    """Remove the study of an earlier export. Raises UsageError if it is none."""
    if name not in optuna.get_all_study_names(storage):
        return
    if _MARK not in optuna.load_study(study_name=name, storage=storage).user_attrs:
        raise UsageError(f"--optuna: the file has a study {name!r} of another origin; name another file")
    optuna.delete_study(study_name=name, storage=storage)


def _trial(run: TaskRun, metric: str, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    curve = run.curves.get(metric, [])
    value = curve[-1] if curve and run.state == "done" and math.isfinite(curve[-1]) else None
    state = {"done": TrialState.COMPLETE, "pruned": TrialState.PRUNED}.get(run.state, TrialState.FAIL)
    if run.state == "done" and value is None:
        state = TrialState.FAIL
    own = {name: distributions[name] for name in run.parameters}
    trial = optuna.create_trial(
        state=state,
        value=value,
        params={name: _param(value, own[name]) for name, value in run.parameters.items()},
        distributions=own,
        intermediate_values=dict(enumerate(curve)),
        user_attrs={**run.metrics, **run.facts},
    )
    trial.datetime_start = _moment(run.started)
    trial.datetime_complete = _moment(run.ended)
    return trial


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds)  # local time, as Optuna's own


def _distributions(combinations: Iterable[Mapping[str, Any]]) -> dict[str, BaseDistribution]:
    """A distribution for each metaparameter, which has all its values."""
    values: dict[str, dict[str, Any]] = {}
    for combination in combinations:
        for name, value in combination.items():
            values.setdefault(name, {})[json.dumps(value, sort_keys=True)] = value
    return {name: _distribution(list(each.values())) for name, each in values.items()}


def _distribution(values: list[Any]) -> BaseDistribution:
    kinds = {type(value) for value in values}
    if kinds == {int} and all(abs(value) <= _EXACT for value in values):
        return IntDistribution(min(values), max(values))
    if kinds in ({float}, {int, float}):
        low, high = float(min(values)), float(max(values))
        return FloatDistribution(low, high, log=low > 0 and high / low >= 100)
    if kinds <= {bool, str, type(None)}:
        return CategoricalDistribution(values)
    return CategoricalDistribution([json.dumps(value, ensure_ascii=False) for value in values])


def _param(value: Any, distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution) and value not in distribution.choices:
        return json.dumps(value, ensure_ascii=False)
    return value
