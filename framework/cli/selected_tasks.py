"""Command `select`: the ids of tasks of a sweep, chosen by rank, state, number or id."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence

from framework.cli import locations
from framework.errors import UsageError
from framework.export.sweep_results import SweepResults
from framework.messages.task_ids import TASK_DIGITS

FORMS = "best:N, failed, a number from 1, or the beginning of an id"


def run_select(options: argparse.Namespace) -> int:
    """Print the ids; raises UsageError for what is no choice, and if there are no results."""
    results = SweepResults.read(options.results or locations.DATA)
    print("\n".join(select(results, options.which)))
    return 0


def select(results: SweepResults, which: Sequence[str]) -> list[str]:
    """The ids of the tasks that one of the choices names, each once, in the order of the choices.

    Raises UsageError with one line for each choice that is invalid.
    """
    found: list[str] = []
    problems = []
    for choice in which:
        try:
            found += _chosen(results, choice)
        except UsageError as error:
            problems.append(str(error))
    if problems:
        raise UsageError("\n".join(problems))
    return list(dict.fromkeys(found))


def _chosen(results: SweepResults, choice: str) -> list[str]:
    if choice == "failed":
        return [task["task"] for task in results.tasks if task["state"] == "failed"]
    if number := re.fullmatch("best:([1-9][0-9]{0,8})", choice):
        if results.metric is None:
            raise UsageError(
                "best:N: project.yml names no metric to rank by; add a line as 'metric: accuracy'"
            )
        return [task["task"] for task, _ in results.scored()[: int(number[1])]]
    return [_named(results, choice)]


def _named(results: SweepResults, name: str) -> str:
    tasks = [*results.tasks, *results.sweep["under_way"]]
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
