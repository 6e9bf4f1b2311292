"""Celery application of a worker: its task and its signals."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from celery import Celery, signals
from worker_bench import TASK, WorkerBench

from framework.broker import worker_app
from framework.broker.celery_app import STOP_COMMAND, TASK_NAME
from framework.messages.task_ids import AttemptId


@pytest.fixture
def bench(tmp_path: Path) -> WorkerBench:
    return WorkerBench(tmp_path)


def test_an_attempt_that_celery_drops_is_held_no_longer(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_app, "make_app", lambda identity: Celery("test", set_as_current=False))
    app = worker_app.make_worker_app(bench.worker)
    for name in (f"{TASK}.1", f"{TASK}.2", "garbage", None):
        signals.task_received.send(sender=None, request=SimpleNamespace(id=name))
    assert bench.beat()["reserved"] == [f"{TASK}.1", f"{TASK}.2"]
    signals.task_revoked.send(sender=None, request=SimpleNamespace(id=f"{TASK}.1"))
    assert bench.beat()["reserved"] == [f"{TASK}.2"]
    app.tasks[TASK_NAME].apply(args=["garbage"], task_id=f"{TASK}.2")
    assert bench.beat()["reserved"] == []
    assert [news["kind"] for news in bench.recorder.events] == ["refused"]
    assert "garbage" in bench.recorder.events[0]["message"]


def test_celery_passes_stop_orders_on_to_the_worker(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from celery.worker.control import Panel

    told: list[list[AttemptId]] = []
    monkeypatch.setattr(worker_app, "make_app", lambda identity: Celery("test", set_as_current=False))
    monkeypatch.setattr(bench.worker, "stop_attempts", told.append)
    worker_app.make_worker_app(bench.worker)
    Panel.data[STOP_COMMAND](None, names=[f"{TASK}.1", 5, "nonsense"])
    assert told == [[AttemptId(TASK, 1)]]
