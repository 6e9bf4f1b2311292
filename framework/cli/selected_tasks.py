"""Command `select`: the ids of tasks of a sweep, chosen by rank, state, number or id."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Sequence
from typing import Any

from framework.cli import locations
from framework.cli.report_page import is_minimized, read_sweep
from framework.errors import UsageError
from framework.files import SWEEP_FILE
from framework.messages.metrics import as_number
from framework.messages.task_ids import TASK_DIGITS

FORMS = "best:N, failed, a number from 1, or the beginning of an id"


def run_select(options: argparse.Namespace) -> int:
    """Print the ids; raises UsageError for what is no choice, and if there are no results."""
    sweep = read_sweep((options.results or locations.DATA) / SWEEP_FILE)
    print("\n".join(select(sweep, options.which)))
    return 0


def select(sweep: dict[str, Any], which: Sequence[str]) -> list[str]:
    """The ids of the tasks that one of the choices names, each once, in the order of the choices.

    `sweep` is the content of sweep.json. Raises UsageError with one line for each choice that is invalid.
    """
    found: list[str] = []
    problems = []
    for choice in which:
        try:
            found += _chosen(sweep, choice)
        except UsageError as error:
            problems.append(str(error))
    if problems:
        raise UsageError("\n".join(problems))
    return list(dict.fromkeys(found))


def _chosen(sweep: dict[str, Any], choice: str) -> list[str]:
    if choice == "failed":
        return [task["task"] for task in sweep["tasks"] if task["state"] == "failed"]
    if number := re.fullmatch("best:([1-9][0-9]{0,8})", choice):
        return _best(sweep)[: int(number[1])]
    return [_named(sweep, choice)]


def _best(sweep: dict[str, Any]) -> list[str]:
    """The tasks that are done and have the metric as a finite number, the best one first."""
    if sweep["metric"] is None:
        raise UsageError("best:N: project.yml names no metric to rank by; add lines as 'metric: accuracy'")
    scored = []
    for task in sweep["tasks"]:
        value = as_number(task["metrics"].get(sweep["metric"]))
        if task["state"] == "done" and value is not None and math.isfinite(value):
            scored.append((value, task["task"]))
    scored.sort(key=lambda each: each[0], reverse=not is_minimized(sweep))
    return [task for _, task in scored]


def _named(sweep: dict[str, Any], name: str) -> str:
    tasks = [*sweep["tasks"], *sweep["under_way"]]
    if len(name) < TASK_DIGITS and name.isascii() and name.isdecimal():
        found = [task["task"] for task in tasks if task["number"] == int(name)]
    elif len(name) <= TASK_DIGITS and re.fullmatch("[0-9a-f]+", name):
        found = [task["task"] for task in tasks if task["task"].startswith(name)]
    else:
        raise UsageError(f"{name!r:.100}: is no choice of tasks; write {FORMS}")
    if len(found) != 1:
        what = "no such task has begun" if not found else f"the ids of {len(found)} tasks begin like this"
        raise UsageError(f"{name!r:.100}: {what}; see results.csv")
    return str(found[0])
