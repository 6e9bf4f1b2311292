"""Names of tasks in Flower, and its history on the disk."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from flower.events import Events, EventsState
from flower.utils.search import SearchDocument

from framework.broker.named_tasks import find_by_name, named

NAME = "digits: C=0.1 kernel=rbf"


@pytest.fixture(autouse=True)
def _named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SearchDocument, "from_task", SearchDocument.from_task)
    find_by_name()


def received(uuid: str, args: Any = NAME) -> dict[str, Any]:
    return {
        "type": "task-received", "hostname": "worker@h", "uuid": uuid, "name": "framework.run", "args": args,
        "kwargs": "{}", "timestamp": 1.0, "local_received": 1.0, "clock": 1, "pid": 1, "utcoffset": 0,
        "retries": 0, "eta": None, "expires": None,
    }  # fmt: skip


def state_with(*events: dict[str, Any]) -> EventsState:
    state = EventsState(max_tasks_in_memory=10)
    for event in events:
        state.event(event)
    return state


def test_a_task_is_shown_and_found_by_its_project_and_metaparameters() -> None:
    state = state_with(received("a.1"), received("b.1", "digits: C=1 kernel=rbf"))
    assert named(copy.copy(state.tasks["a.1"])).name == NAME
    for query in ("C=0.1", f'name:"{NAME}"'):
        assert state.search_engine.search(state.tasks, query).task_ids == ["a.1"]


def test_celery_and_flower_keep_one_name_for_all() -> None:
    state = state_with(received("a.1"), received("b.1", "digits: C=1 kernel=rbf"))
    assert state.task_types() == ["framework.run"]
    assert {task.name for task in state.tasks.values()} == {"framework.run"}


@pytest.mark.parametrize("args", [None, "", ["x"]])
def test_a_task_that_says_nothing_keeps_its_name(args: Any) -> None:
    state = state_with(received("a.1", args))
    assert named(copy.copy(state.tasks["a.1"])).name == "framework.run"


class Capp:
    """Stands for Celery's application, which is not used."""


def events_in(directory: Path) -> Events:
    return Events(Capp(), None, db=str(directory / "flower"), persistent=True, max_tasks_in_memory=10)


def test_the_history_outlives_flower_and_a_damaged_one_is_put_aside(tmp_path: Path) -> None:
    events = events_in(tmp_path)
    events.state.event(received("a.1"))
    events.save_state()
    again = events_in(tmp_path)
    assert again.state.tasks["a.1"].args == NAME
    assert again.state.search_engine.search(again.state.tasks, "C=0.1").task_ids == ["a.1"]
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2] + b"garbage")
    damaged = events_in(tmp_path)
    assert not damaged.state.tasks
    assert list(tmp_path.glob("*.corrupt"))
    damaged.save_state()
    assert not events_in(tmp_path).state.tasks
