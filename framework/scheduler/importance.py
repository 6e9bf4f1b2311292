"""Importance of metaparameters: how much of the metric's best values each one decides."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from framework.text import how_to_install

LEAST_TASKS = 10  # fewer tell nothing


def importance_of(
    combinations: Sequence[tuple[Mapping[str, Any], float]], minimize: bool
) -> tuple[dict[str, float], str]:
    """The importance of each metaparameter, of 1 together, and the reason why there is none.

    `combinations`: the metaparameters of tasks that are done, and their metric, a finite number. A
    metaparameter that not all of them have, or that has one value, has no importance. Optuna's PED-ANOVA
    (Watanabe et al., PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary Subspaces,
    2023): whether the values among the best tenth differ from all values.
    """
    try:
        import optuna  # here: its import takes longer than most commands
    except ModuleNotFoundError:
        return {}, f"needs Optuna; {how_to_install('adaptive')}"
    if len(combinations) < LEAST_TASKS:
        return {}, f"needs at least {LEAST_TASKS} tasks that are done and have reported the metric"
    columns = _columns([parameters for parameters, _ in combinations])
    if not columns:
        return {}, "needs a metaparameter with several values"
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="minimize" if minimize else "maximize")
    distributions = {name: distribution for name, (distribution, _) in columns.items()}
    for index, (_, metric) in enumerate(combinations):
        values = {name: values[index] for name, (_, values) in columns.items()}
        study.add_trial(optuna.create_trial(params=values, distributions=distributions, value=metric))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls itself experimental, and warns of few tasks
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        return dict(optuna.importance.get_param_importances(study, evaluator=evaluator)), ""


def _columns(combinations: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Any, list[Any]]]:
    """The distribution and the values of each metaparameter that can have an importance."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    columns: dict[str, tuple[Any, list[Any]]] = {}
    for name in combinations[0]:
        values = [combination.get(name) for combination in combinations]
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            numbers = [float(value) for value in values if value is not None]
            low, high = min(numbers), max(numbers)
            if low < high:
                is_log = low > 0 and high / low >= 100
                columns[name] = (FloatDistribution(low, high, log=is_log), numbers)
        else:
            texts = [json.dumps(value, sort_keys=True) for value in values]
            choices = sorted(set(texts))
            if len(choices) > 1:
                columns[name] = (CategoricalDistribution(choices), texts)
    return columns
