"""Optuna loads the study that is exported, and its dashboard serves it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from export_bench import BEST, DONE, STARTED, write_results
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from optuna_dashboard import wsgi
from werkzeug.test import Client

from framework.errors import FrameworkError, UsageError
from framework.export.optuna_storage import export
from framework.export.sqlite_file import database_url
from framework.export.sweep_results import SweepResults

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of studies, which takes seconds to make."""
    return tmp_path_factory.mktemp("optuna") / "it's a study, 100%?.db"


def study_of(file: Path) -> optuna.Study:
    return optuna.load_study(study_name="p", storage=database_url(file))


def test_optuna_loads_trials_with_their_states_and_curves(results: SweepResults, file: Path) -> None:
    assert export(results, file).startswith("optuna-dashboard ")
    study = study_of(file)
    assert (study.direction.name, study.metric_names) == ("MAXIMIZE", ["accuracy"])
    assert (study.best_value, study.best_params["kernel"]) == (0.9, '"rbf"')
    states = [trial.state for trial in study.trials]
    complete, fail = TrialState.COMPLETE, TrialState.FAIL
    assert states == [complete, complete, fail, TrialState.PRUNED, fail, fail]
    best = study.trials[BEST]
    assert best.intermediate_values == {0: 0.7, 1: 0.8, 2: 0.9}
    assert (best.user_attrs["loss"], best.user_attrs["note"], best.user_attrs["host"]) == (1, "good", "a")
    assert best.datetime_start is not None
    assert best.datetime_start.timestamp() == STARTED
    assert best.duration is not None
    assert best.duration.total_seconds() == pytest.approx(1.23456)
    assert best.distributions == {
        "C": FloatDistribution(0.1, 0.1), "depth": CategoricalDistribution(["3", "null"]),
        "kernel": CategoricalDistribution(['"rbf"', '[1, "a"]']),
        "flag": CategoricalDistribution([True, False]),
    }  # fmt: skip


def test_the_dashboard_opens_the_study(results: SweepResults, file: Path) -> None:
    export(results, file)
    client = Client(wsgi(database_url(file)))
    studies = client.get("/api/studies").get_json()["study_summaries"]
    (number,) = (study["study_id"] for study in studies if study["study_name"] == "p")
    found = json.loads(client.get(f"/api/studies/{number}?after=0").data)
    assert [trial["state"] for trial in found["trials"]] == [
        "Complete", "Complete", "Fail", "Pruned", "Fail", "Fail"
    ]  # fmt: skip
    assert found["trials"][DONE]["values"] == [0.5]


def test_an_export_replaces_its_own_study_and_no_other(results: SweepResults, file: Path) -> None:
    optuna.create_study(study_name="other", storage=database_url(file))
    export(results, file)
    export(SweepResults(results.directory, {**results.sweep, "tasks": results.tasks[:2]}), file)
    assert len(study_of(file).trials) == 2
    assert optuna.get_all_study_names(database_url(file)) == ["other", "p"]
    with pytest.raises(UsageError, match="the file has a study 'other' of another origin"):
        export(SweepResults(results.directory, {**results.sweep, "project": "other"}), file)


def test_what_cannot_be_exported_is_said(results: SweepResults, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="names no metric"):
        export(write_results(tmp_path, metric=None), tmp_path / "study.db")
    (tmp_path / "text").write_text("text")
    for other in (tmp_path / "text", tmp_path / "nowhere" / "study.db"):
        with pytest.raises(FrameworkError, match="cannot be used as an SQLite file"):
            export(results, other)


@pytest.mark.parametrize(
    ("values", "distribution"),
    [
        ([3, 5], IntDistribution(3, 5)),
        ([2**60, 1], CategoricalDistribution([str(2**60), "1"])),
        ([1, 0.001], FloatDistribution(0.001, 1, log=True)),
        (["a", None], CategoricalDistribution(["a", None])),
        ([True, 1], CategoricalDistribution(["true", "1"])),
    ],
)
def test_values_that_are_equal_for_python_are_not_mixed_up(
    results: SweepResults, file: Path, values: list[Any], distribution: object
) -> None:
    tasks: list[Mapping[str, Any]] = [
        {**task, "parameters": {"x": value}} for task, value in zip(results.tasks, values, strict=False)
    ]
    export(SweepResults(results.directory, {**results.sweep, "tasks": tasks}), file)
    trials = study_of(file).trials
    assert [trial.distributions["x"] for trial in trials] == [distribution] * 2
    expected = [json.dumps(value) for value in values] if trials[0].params["x"] not in values else values
    assert [trial.params["x"] for trial in trials] == expected
