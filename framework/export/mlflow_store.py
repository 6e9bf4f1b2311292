"""MLflow experiment of a sweep, in an SQLite file, for `mlflow ui` and MlflowClient."""

from __future__ import annotations

import logging
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # an export tells nobody

from mlflow import MlflowClient
from mlflow.entities import Experiment, Metric, Param, Run, RunTag
from mlflow.utils import validation

from framework.errors import UsageError
from framework.export.sqlite_file import database_url, using
from framework.export.sweep_results import SweepResults, TaskRun
from framework.journal.results_csv import shown

_TASK = "infrainit.task"  # tag of the runs that are written here
_STARTED = "infrainit.started"
_STATUS = {"done": "FINISHED", "failed": "FAILED"}  # else KILLED
_MOST = 1000  # values in one call, at most
_Item = TypeVar("_Item")


def export(results: SweepResults, target: Path) -> str:
    """Write an experiment of the project's name with a run for each task.

    Runs of an earlier export are kept if the task has not run since, else deleted. The step of a value says
    how many have been printed before it; its time is the end of the task, as output has no times. Raises
    OSError; UsageError if the experiment was deleted.
    """
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    target.mkdir(parents=True, exist_ok=True)
    file = target / "mlflow.db"
    with using(file):
        client = MlflowClient(tracking_uri=database_url(file))
        experiment = _experiment(client, results.project, target)
        client.set_experiment_tag(experiment, "mlflow.note.content", "\n\n".join(results.notes()))
        earlier = {_key(run): run for run in _runs(client, experiment) if _TASK in run.data.tags}
        for run in results.runs():
            if earlier.pop((run.task, str(run.started)), None) is None:
                _write(client, experiment, run, results.sweep["written"])
        for old in earlier.values():
            client.delete_run(old.info.run_id)
    return shlex.join(["mlflow", "ui", "--backend-store-uri", database_url(file)])


def _experiment(client: MlflowClient, name: str, target: Path) -> str:
    found: Experiment | None = client.get_experiment_by_name(name)
    if found is None:
        return str(
            client.create_experiment(name, artifact_location=(target.resolve() / "artifacts").as_uri())
        )
    if found.lifecycle_stage != "active":
        raise UsageError(
            f"--mlflow: the experiment {name} there was deleted; restore it, or name another DIR"
        )
    return str(found.experiment_id)


def _runs(client: MlflowClient, experiment: str) -> Iterator[Run]:
    token = None
    while token != "":
        page = client.search_runs([experiment], page_token=token)
        yield from page
        token = page.token or ""


def _key(run: Run) -> tuple[str, str]:
    """The task of a run, and when it has begun; a run that is not complete has another key."""
    started = run.data.tags.get(_STARTED, "") if run.info.status != "RUNNING" else "incomplete"
    return run.data.tags[_TASK], started


def _write(client: MlflowClient, experiment: str, run: TaskRun, written: float) -> None:
    began, ended = (_milliseconds(moment or written) for moment in (run.started, run.ended))
    tags = {
        _TASK: run.task,
        _STARTED: str(run.started),
        **{f"infrainit.{k}": v for k, v in run.facts.items()},
    }
    params = [
        Param(name, _cut(shown(value), validation.MAX_PARAM_VAL_LENGTH))
        for name, value in _named(run.parameters.items())
    ]
    metrics = [
        Metric(name, value, ended, step)
        for name, values in _named(run.curves.items())
        for step, value in enumerate(values)
    ]
    texts = [RunTag(f"metric.{name}", text) for name, text in _named(run.texts.items())]
    own = [RunTag(name, _cut(text, validation.MAX_TAG_VAL_LENGTH)) for name, text in tags.items()]
    entry = client.create_run(experiment, start_time=began, run_name=run.name).info.run_id
    for some_params in _batches(params, validation.MAX_PARAMS_TAGS_PER_BATCH):
        client.log_batch(entry, params=some_params)
    for some_tags in _batches([*own, *texts], validation.MAX_PARAMS_TAGS_PER_BATCH):
        client.log_batch(entry, tags=some_tags)
    for some_metrics in _batches(metrics, _MOST):
        client.log_batch(entry, metrics=some_metrics)
    client.set_terminated(entry, _STATUS.get(run.state, "KILLED"), end_time=ended)


def _named(items: Iterable[tuple[str, _Item]]) -> Iterator[tuple[str, _Item]]:
    """The items with names that MLflow allows, no name twice."""
    used: set[str] = set()
    for original, item in items:
        name = re.sub(r"[^\w./ :-]", "_", original).lstrip("/.") or "_"
        while name in used:
            name += "_"
        used.add(name)
        yield name, item


def _batches(items: Sequence[_Item], most: int) -> Iterator[Sequence[_Item]]:
    return (items[first : first + most] for first in range(0, len(items), most))


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _milliseconds(seconds: float) -> int:
    return int(1000 * seconds)
