"""Command `export`: results for other tools, as TensorBoard, MLflow, Optuna, W&B."""

from __future__ import annotations

import argparse
import sys

from framework.errors import FrameworkError, UsageError
from framework.export.sweep_results import SweepResults
from framework.export.targets import TARGETS


def run_export(options: argparse.Namespace) -> int:
    """Write what is asked for, and print what to do with it.

    What has to be known of the results goes to stderr. Raises UsageError if there are no results, no target
    is named, or a package is missing; FrameworkError if something cannot be written.
    """
    chosen = [
        (target, path) for target in TARGETS if (path := getattr(options, target.attribute)) is not None
    ]
    if not chosen:
        raise UsageError(f"export: name at least one of {', '.join(f'--{each.option}' for each in TARGETS)}")
    exporters = [(target.exporter(), path, target) for target, path in chosen]
    results = SweepResults.read(options.results)
    for note in results.notes():
        print(note, file=sys.stderr)
    for export, path, target in exporters:
        results.without_curves.clear()
        try:
            print(export(results, path))
        except OSError as error:
            raise FrameworkError(f"--{target.option} {path}: {error.strerror or error}") from error
        for reason, tasks in results.without_curves.items():
            known = "of their metrics, only the last values are known"
            print(f"{tasks} of {len(results.tasks)} tasks: each {reason}; {known}", file=sys.stderr)
    return 0
