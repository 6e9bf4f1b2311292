"""MLflow's own client reads what is exported."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from export_bench import BEST, STARTED, write_results

from framework.errors import FrameworkError, UsageError
from framework.export.sqlite_file import database_url
from framework.export.sweep_results import SweepResults

if TYPE_CHECKING:  # its import takes two seconds, of each process that collects tests
    from mlflow import MlflowClient
    from mlflow.entities import Run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # SQLAlchemy's about MLflow
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a store, which takes seconds to make."""
    return tmp_path_factory.mktemp("mlflow") / "it's a store, 100%?"


def export(results: SweepResults, directory: Path) -> str:
    from framework.export import mlflow_store

    return mlflow_store.export(results, directory)


def client_of(directory: Path) -> MlflowClient:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=database_url(directory / "mlflow.db"))


def runs_of(directory: Path, experiment: str = "p") -> dict[str, Run]:
    """The runs of an experiment, by name."""
    client = client_of(directory)
    found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    return {run.info.run_name: run for run in found}


def changed(results: SweepResults, **changes: object) -> SweepResults:
    return SweepResults(results.directory, {**results.sweep, **changes})


def test_the_client_lists_runs_with_curves_metaparameters_and_states(
    results: SweepResults, store: Path
) -> None:
    assert export(results, store).startswith("mlflow ui --backend-store-uri ")
    runs, names = runs_of(store), [run.name for run in results.runs()]
    assert sorted(runs) == names
    assert [runs[name].info.status for name in names] == [
        "FINISHED", "FINISHED", "FAILED", "KILLED", "FINISHED", "FINISHED"
    ]  # fmt: skip
    best = runs[names[BEST]]
    assert best.data.params == {"C": "0.1", "depth": "3", "kernel": "rbf", "flag": "true"}
    assert best.data.metrics == {"accuracy": 0.9, "loss": 1.0, "a_b": 2.0}
    assert (best.info.start_time, best.info.end_time) == (1000 * STARTED, int(1000 * (STARTED + 1.23456)))
    assert best.data.tags["metric.note"] == "good"
    assert best.data.tags["infrainit.program"] == "run --C=0.1 --depth=3 --kernel=rbf --flag"
    client = client_of(store)
    curve = client.get_metric_history(best.info.run_id, "accuracy")
    assert [(point.step, point.value) for point in curve] == [(0, 0.7), (1, 0.8), (2, 0.9)]
    assert math.isnan(client.get_metric_history(best.info.run_id, "loss")[2].value)
    description = client.get_experiment_by_name("p").tags["mlflow.note.content"]
    assert description.startswith("p: 6 of 16 combinations have ended")


def test_what_has_not_run_since_is_kept_and_the_rest_written_anew(results: SweepResults, store: Path) -> None:
    export(changed(results, project="again"), store)
    before = runs_of(store, "again")
    names = [run.name for run in results.runs()]
    client = client_of(store)
    client.update_run(before[names[1]].info.run_id, "RUNNING")  # as if the export had been interrupted there
    tasks = [{**results.tasks[0], "started": STARTED + 9}, *results.tasks[1:-1]]
    export(changed(results, project="again", tasks=tasks), store)
    after = runs_of(store, "again")
    assert sorted(after) == names[:-1]
    ids = {name: (before[name].info.run_id, after[name].info.run_id) for name in after}
    assert [old == new for old, new in (ids[name] for name in names[:-1])] == [False, False, True, True, True]


def test_many_and_long_values_pass_the_limits_of_mlflow(tmp_path: Path, store: Path) -> None:
    results = write_results(tmp_path)
    task = {
        **results.tasks[0],
        "parameters": {f"p{number}": "x" * 7000 for number in range(120)},
        "metrics": {"a": 1, "a@": 2, "a%": 3, "a_": 4, "../b": 5},
        "program": "y" * 9000,
    }
    directory = tmp_path / "tasks" / task["task"] / "2"
    directory.mkdir(parents=True)
    (directory / "stdout").write_text("".join(f"report: a={number}\n" for number in range(2500)))
    export(changed(results, project="many", tasks=[task]), store)
    (run,) = runs_of(store, "many").values()
    assert len(run.data.params) == 120
    assert {name: value for name, value in run.data.metrics.items() if name != "b"} == {
        "a": 1, "a_": 2, "a__": 3, "a___": 4,
    }  # fmt: skip
    assert len(client_of(store).get_metric_history(run.info.run_id, "a")) == 2501


def test_what_cannot_be_written_is_said(results: SweepResults, tmp_path: Path, store: Path) -> None:
    gone = changed(results, project="gone", tasks=[])
    export(gone, store)
    client = client_of(store)
    client.delete_experiment(client.get_experiment_by_name("gone").experiment_id)
    with pytest.raises(UsageError, match="--mlflow: the experiment gone there was deleted"):
        export(gone, store)
    (tmp_path / "mlflow.db").write_text("text")
    with pytest.raises(FrameworkError, match=r"mlflow.db: cannot be used as an SQLite file"):
        export(results, tmp_path)
