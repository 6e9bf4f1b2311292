"""Command `report`: the page of a sweep's results, as one HTML file."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

from framework.cli import locations
from framework.configuration.load import load_project
from framework.errors import UsageError
from framework.files import SWEEP_FILE, write_atomically
from framework.local.data_directory import default_directory
from framework.messages.metrics import as_number
from framework.scheduler.importance import importance_of
from framework.web.curves import learning_curves
from framework.web.page import render_page


def run_report(options: argparse.Namespace) -> int:
    """Write the page; raises UsageError if there are no results, or Plotly is missing."""
    directory = results_directory(options.results)
    sweep = read_sweep(directory / SWEEP_FILE)
    metric = sweep["metric"]
    scored = [] if metric is None else _scored(sweep, metric)
    importance = importance_of([(task["parameters"], value) for task, value in scored], is_minimized(sweep))
    tasks = [task["task"] for task, _ in scored]
    others = [task["task"] for task in sweep["tasks"] if task["task"] not in {*tasks}]
    curves = {} if metric is None else learning_curves([*tasks, *others], directory / "tasks", metric)
    output = options.output or directory / "report.html"
    try:
        write_atomically(output, render_page(sweep, importance, curves), fsync=False)
    except OSError as error:
        raise UsageError(f"{output}: {error.strerror}; name another file with -o") from error
    print(output)
    return 0


def results_directory(given: Path) -> Path:
    """The directory that has the results: `given`, or that of the local runs of a project.

    Raises UsageError if it has none, ProjectError for a project that is invalid.
    """
    if (given / SWEEP_FILE).is_file():
        return given
    if not given.exists():
        raise UsageError(f"{given}: no such directory; name a project, or a directory with results")
    if (given / "results.csv").is_file():
        raise UsageError(
            f"{given}: has no {SWEEP_FILE}, since an older version has written it; run the project, or "
            "get_results.sh, again"
        )
    directory = default_directory(locations.LOCAL_RUNS, load_project(given, is_run_here=False))
    if not (directory / SWEEP_FILE).is_file():
        raise UsageError(
            f"{given}: has no results of local runs in {directory}; 'framework run' makes them; "
            "those of hosts are where get_results.sh has put them"
        )
    return directory


def read_sweep(path: Path) -> dict[str, Any]:
    """The content of sweep.json; raises UsageError if it cannot be read."""
    try:
        sweep = json.loads(path.read_text(encoding="utf-8"))
        if sweep["version"] == 1:
            return dict(sweep)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: cannot be read ({error})") from error
    raise UsageError(f"{path}: is of another version of this tool")


def is_minimized(sweep: dict[str, Any]) -> bool:
    return bool(sweep["goal"] == "minimize")


def _scored(sweep: dict[str, Any], metric: str) -> list[tuple[dict[str, Any], float]]:
    """The tasks that are done and have the metric as a finite number, with it, the best one first."""
    found = []
    for task in sweep["tasks"]:
        value = as_number(task["metrics"].get(metric))
        if task["state"] == "done" and value is not None and math.isfinite(value):
            found.append((task, value))
    return sorted(found, key=lambda each: each[1], reverse=not is_minimized(sweep))
