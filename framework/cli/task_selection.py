"""Selection of tasks by number or by the beginning of an id."""

from __future__ import annotations

from collections.abc import Sequence

from framework.errors import UsageError
from framework.messages.task_ids import TASK_DIGITS
from framework.project.project import Project


def find_tasks(project: Project, names: Sequence[str]) -> list[tuple[int, str]]:
    """Return the number of the combination, from 0, and the id of the task for each name, in the order given.

    A name is the number of a task in the sweep, counted from 1, or the beginning of an id that only one task
    has; 16 digits are always an id. Raises UsageError with one line for each name that is neither.
    """
    found: dict[str, list[tuple[int, str]]] = {name: [] for name in names}
    beginnings = []
    for name in found:
        if len(name) < TASK_DIGITS and name.isascii() and name.isdecimal():
            number = int(name) - 1
            if 0 <= number < project.space.count:
                found[name] = [(number, project.task_id(project.space.combination(number)))]
        else:
            beginnings.append(name)
    if beginnings:
        for number, parameters in enumerate(project.space):
            task = project.task_id(parameters)
            for name in beginnings:
                if task.startswith(name):
                    found[name].append((number, task))
    problems = [_problem(name, len(tasks)) for name, tasks in found.items() if len(tasks) != 1]
    if problems:
        raise UsageError("\n".join(problems))
    return list(dict.fromkeys(tasks[0] for tasks in found.values()))


def _problem(name: str, count: int) -> str:
    if count == 0:
        return (
            f"{name!r:.100}: no such task in the sweep; give its number, from 1, or its id (see results.csv)"
        )
    return f"{name!r:.100}: the ids of {count} tasks begin like this; give more of the id"
