"""Command `report`: the page of a sweep's results, as one HTML file."""

from __future__ import annotations

import argparse

from framework.errors import UsageError
from framework.export.sweep_results import SweepResults
from framework.files import write_atomically
from framework.scheduler.importance import importance_of
from framework.web.curves import learning_curves
from framework.web.page import render_page


def run_report(options: argparse.Namespace) -> int:
    """Write the page; raises UsageError if there are no results, or Plotly is missing."""
    results = SweepResults.read(options.results)
    scored = [(task["parameters"], value) for task, value in results.scored()]
    importance = importance_of(scored, results.is_minimized)
    tasks = [task["task"] for task in results.best_first()]
    metric = results.metric
    curves = {} if metric is None else learning_curves(tasks, results.directory / "tasks", metric)
    output = options.output or results.directory / "report.html"
    try:
        write_atomically(output, render_page(results.sweep, importance, curves), fsync=False)
    except OSError as error:
        raise UsageError(f"{output}: {error.strerror}; name another file with -o") from error
    print(output)
    return 0
