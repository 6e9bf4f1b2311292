"""What the tests of the journal share: projects, tasks, and their ends."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest

from framework.journal.records import TaskRecord
from framework.journal.store import Journal
from framework.journal.tally import STRIDE, Enumeration
from framework.messages.assignment import AttemptResult, AttemptState
from framework.messages.metrics import Metric
from framework.messages.task_ids import task_id
from framework.project.project import Project
from framework.space.product import Space
from framework.space.values import Value

TASK = "0123456789abcdef"


RESULT = AttemptResult(
    task=TASK, attempt=1, host="a", state="done", started=200.0, seconds=5.0, exit_code=0, reason="",
    metrics={"accuracy": 0.9}, code="c1", image="i1", infrastructure="infra-1", project="p",
)  # fmt: skip


FAILED = dataclasses.replace(RESULT, state="failed", exit_code=1, reason="exit code 1", metrics={})


def sent(journal: Journal, host: str = "a", task: str = TASK, number: int = 7) -> int:
    return journal.assign(task, number, {"C": 0.1, "text": "a\n'"}, host, 100.0)


def record_of(journal: Journal, task: str = TASK) -> TaskRecord:
    record = journal.get(task)
    assert record is not None
    return record


def state(journal: Journal, task: str = TASK) -> str:
    return record_of(journal, task).state


def project_of(values: Mapping[str, list[Value]], metric: str | None = "accuracy") -> Project:
    return Project("p", Path("/"), ("run",), metric, "maximize", None, 0, None, Space(values))


def end(
    journal: Journal,
    of: Project,
    number: int,
    state: AttemptState,
    metrics: Mapping[str, Metric],
    *,
    host: str = "a",
    final: bool = True,
) -> None:
    """Have a task run, and end as given."""
    parameters = of.space.combination(number)
    task = task_id(of.command, parameters)
    attempt = journal.assign(task, number, parameters, host, 1.0)
    result = AttemptResult(
        task,
        attempt,
        host,
        state,
        1_700_000_000.5,
        1.23456,
        0 if state == "done" else 1,
        "" if state == "done" else "exit code 1",
        metrics,
        "c1",
        "",
        "i",
        "p",
    )
    journal.finish(result, final)


def take_up(journal: Journal, now: Project) -> None:
    """Make it the journal's sweep, as a master does."""
    with journal.batch():
        assert not journal.open_sweep(now.definition)
        journal.mark((known.number, known.task) for known in Enumeration(now, journal).advance(STRIDE))
        journal.complete_sweep()


def count_combinations(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of all combinations that any space computes from now on."""
    computed: list[int] = []
    combination = Space.combination

    def counted(space: Space, index: int) -> dict[str, Value]:
        computed.append(index)
        return combination(space, index)

    monkeypatch.setattr(Space, "combination", counted)
    return computed
