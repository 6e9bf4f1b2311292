"""Selection of tasks by number and by the beginning of an id."""

from __future__ import annotations

from pathlib import Path

import pytest

from framework.cli.task_selection import find_tasks
from framework.errors import UsageError
from framework.messages.task_ids import task_id
from framework.project.project import Project
from framework.space.product import Space

PROJECT = Project("p", Path("/"), ("run",), None, "maximize", None, 0, None, Space({"x": list(range(300))}))


def identity(number: int) -> str:
    return task_id(("run",), {"x": number})


def test_numbers_from_1_and_ids() -> None:
    assert find_tasks(PROJECT, ["300", "1"]) == [(299, identity(299)), (0, identity(0))]
    assert find_tasks(PROJECT, [identity(7), "8", identity(7)[:13]]) == [(7, identity(7))]


def test_everything_that_is_wrong_is_said_at_once() -> None:
    ambiguous = next(c for c in "abcdef" if sum(identity(n).startswith(c) for n in range(300)) > 1)
    with pytest.raises(UsageError) as caught:
        find_tasks(PROJECT, ["0", "301", "1", "zebra", "0" * 16, ambiguous, "\u0661"])
    problems = str(caught.value).splitlines()
    assert [problem.split(":")[0] for problem in problems] == [
        "'0'", "'301'", "'zebra'", f"'{'0' * 16}'", f"'{ambiguous}'", "'\u0661'",
    ]  # fmt: skip
    assert "give more of the id" in problems[4]
