"""What the tests of exports share: the results of a sweep, as they lie in a directory."""

from __future__ import annotations

from pathlib import Path

import pytest
from journal_bench import end, project_of, take_up

from framework.export.sweep_results import SweepResults
from framework.files import SWEEP_FILE
from framework.journal.store import Journal
from framework.journal.sweep_data import write_sweep
from framework.project.project import Project
from framework.space.values import Value

STARTED = 1_700_000_000.5  # of every task
VALUES: dict[str, list[Value]] = {
    "C": [0.1, 10],
    "depth": [3, None],
    "kernel": ["rbf", [1, "a"]],
    "flag": [True, False],
}
BEST, DONE, FAILED, PRUNED, SILENT, NAN = range(6)  # numbers of combinations; nine more have not ended


def export_project(metric: str | None = "accuracy") -> Project:
    return project_of(VALUES, metric)


def write_results(directory: Path, metric: str | None = "accuracy", outdated: int = 0) -> SweepResults:
    """Results of a sweep of 16 combinations of which six have ended, each in another way."""
    directory.mkdir(parents=True, exist_ok=True)
    project = export_project(metric)
    (directory / "journal").unlink(missing_ok=True)
    with Journal(directory / "journal") as journal:
        end(journal, project, BEST, "done", {"accuracy": 0.9, "loss": 1, "note": "good", "a@b": 2})
        end(journal, project, DONE, "done", {"accuracy": 0.5, "loss": 3.5})
        end(journal, project, FAILED, "failed", {"accuracy": 0.99})
        end(journal, project, PRUNED, "failed", {"accuracy": 0.1}, final=False)
        journal.prune(project.task_id(project.space.combination(PRUNED)), "worse than others")
        end(journal, project, SILENT, "done", {"loss": 2})
        end(journal, project, NAN, "done", {"accuracy": "nan"})
        take_up(journal, project)
        write_sweep(project, journal, directory / SWEEP_FILE, outdated)
    results = SweepResults.read(directory)
    tasks = [task["task"] for task in results.tasks]
    for number, text in (
        (BEST, "Epoch 1: loss=3, accuracy=0.7\nEpoch 2: loss=2, accuracy=0.8\nEpoch 3: loss=nan\nhello\n"),
        (DONE, "Epoch 1: accuracy=0.5\n"),
        (PRUNED, "Epoch 1: accuracy=0.2\nEpoch 2: accuracy=0.1\n"),
    ):
        path = directory / "tasks" / tasks[number] / "1"
        path.mkdir(parents=True, exist_ok=True)
        (path / "stdout").write_text(text)
    return results


@pytest.fixture
def results(tmp_path: Path) -> SweepResults:
    """Results in tmp_path/results."""
    return write_results(tmp_path / "results")
