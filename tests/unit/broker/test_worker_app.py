"""Celery application of a worker: its task and its signals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from celery import Celery, _state, signals
from worker_bench import TASK, WorkerBench

from framework.broker import worker_app
from framework.broker.celery_app import STOP_COMMAND, TASK_NAME
from framework.messages.identity import Identity
from framework.messages.task_ids import AttemptId
from framework.messages.worker_events import Heartbeat
from framework.worker.worker import AttemptFailed, Worker


@pytest.fixture
def bench(tmp_path: Path) -> WorkerBench:
    return WorkerBench(tmp_path)


@pytest.fixture
def app(bench: WorkerBench, monkeypatch: pytest.MonkeyPatch) -> Celery:
    """The application of the bench's worker; what it registers with Celery is forgotten afterwards."""
    monkeypatch.setattr(_state, "_on_app_finalizers", set())
    for signal in (signals.task_received, signals.task_revoked, signals.worker_shutting_down):
        monkeypatch.setattr(signal, "receivers", [])
    monkeypatch.setattr(worker_app, "make_app", lambda identity: Celery("test", set_as_current=False))
    return worker_app.make_worker_app(bench.worker)


def test_an_attempt_that_celery_drops_is_held_no_longer(bench: WorkerBench, app: Celery) -> None:
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
    bench: WorkerBench, app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    from celery.worker.control import Panel

    told: list[list[AttemptId]] = []
    monkeypatch.setattr(bench.worker, "stop_attempts", told.append)
    Panel.data[STOP_COMMAND](None, names=[f"{TASK}.1", 5, "nonsense"])
    assert told == [[AttemptId(TASK, 1)]]


def test_the_worker_runs_the_message_and_holds_the_attempt_no_longer(
    bench: WorkerBench, app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[object] = []
    monkeypatch.setattr(bench.worker, "run", ran.append)
    bench.worker.reserve(AttemptId(TASK, 1))
    app.tasks[TASK_NAME].apply(args=[{"x": 1}], task_id=f"{TASK}.1")
    app.tasks[TASK_NAME].apply(args=[1, 2], kwargs={"more": 3}, task_id="garbage")
    app.tasks[TASK_NAME].apply(args=[], task_id=f"{TASK}.2")
    assert ran == [{"x": 1}, (1, 2), ()]
    assert bench.beat()["reserved"] == []


def test_a_failed_attempt_is_a_failed_celery_task(
    bench: WorkerBench, app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(_: object) -> None:
        raise AttemptFailed("exit code 3")

    monkeypatch.setattr(bench.worker, "run", run)
    result = app.tasks[TASK_NAME].apply(args=[{}], task_id=f"{TASK}.1")
    assert (result.state, str(result.result)) == ("FAILURE", "exit code 3")


def test_a_worker_that_celery_shuts_down_stops_its_attempts(
    bench: WorkerBench, app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[None] = []
    monkeypatch.setattr(bench.worker, "stop", lambda: stopped.append(None))
    signals.worker_shutting_down.send(sender=None)
    assert stopped == [None]


def test_the_worker_is_served_in_the_order_in_which_nothing_is_lost(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    shutdown: list[Callable[[], None]] = []

    class Publisher:
        def __init__(self, identity: Identity, spool: Path) -> None:
            assert spool == bench.files.spool
            self.connected = SimpleNamespace(wait=lambda: calls.append("wait for the queue"))

        def begin(self, heartbeat: Callable[[], Heartbeat]) -> None:
            calls.append("begin to send")
            monkeypatch.setattr(Worker, "restart_if_due", lambda worker: calls.append("restart if due"))
            assert heartbeat().source.host == "host1"

        def close(self, timeout: float) -> None:
            calls.append(f"close within {timeout:.0f} s")

    class App:
        def worker_main(self, arguments: list[str]) -> None:
            calls.append("consume")
            assert arguments[0] == "worker"
            assert "--hostname=worker@host1" in arguments
            assert "--pool=threads" in arguments
            assert "--concurrency=2" in arguments

    def connect(function: Callable[[], None], weak: bool) -> None:
        assert weak is False
        shutdown.append(function)

    monkeypatch.setattr(worker_app, "BrokerPublisher", Publisher)
    monkeypatch.setattr(worker_app, "make_worker_app", lambda worker: App())
    monkeypatch.setattr(
        worker_app, "signals", SimpleNamespace(worker_shutdown=SimpleNamespace(connect=connect))
    )
    monkeypatch.setattr(
        Worker, "finish_earlier_results", lambda worker: calls.append("finish earlier results")
    )
    worker_app.serve(bench.worker.identity, bench.files.path, bench.code, 2)
    assert calls == [
        "finish earlier results", "begin to send", "restart if due", "wait for the queue", "consume",
    ]  # fmt: skip
    calls.clear()
    for function in shutdown:
        function()
    assert calls == [f"close within {worker_app.FLUSH_SECONDS:.0f} s"]
