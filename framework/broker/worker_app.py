"""Celery application of a worker: hands the master's messages to the Worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from celery import Celery, signals
from celery.worker.control import control_command

from framework.broker.celery_app import STOP_COMMAND, TASK_NAME, attempt_of, make_app
from framework.broker.worker_publisher import BrokerPublisher
from framework.errors import FrameworkError
from framework.files import WorkerFiles
from framework.messages.identity import Identity
from framework.messages.worker_events import Heartbeat
from framework.worker.worker import AttemptFailed, Worker

FLUSH_SECONDS = 10.0  # for the last results, when the worker is stopped


def make_worker_app(worker: Worker) -> Celery:
    """Celery's side of the worker: its task, and its signals."""
    app = make_app(worker.identity)

    @app.task(bind=True, name=TASK_NAME, throws=(AttemptFailed, FrameworkError))
    def run(task: Any, *arguments: object, **_: object) -> None:
        # Whatever was received: the worker, not Python, reports what is wrong with it.
        try:
            worker.run(arguments[0] if len(arguments) == 1 else arguments)
        finally:
            on_revoked(task.request)

    @control_command(name=STOP_COMMAND)
    def stop_attempts(_: Any, names: list[str]) -> dict[str, str]:
        worker.stop_attempts([attempt for name in names if (attempt := attempt_of(name))])
        return {"ok": "told to stop"}

    def on_received(request: Any, **_: Any) -> None:
        if attempt := attempt_of(request.id):  # else it will be refused
            worker.reserve(attempt)

    def on_revoked(request: Any, **_: Any) -> None:
        # By Celery itself only for a reason in the message that none of the master's messages has.
        if attempt := attempt_of(request.id):
            worker.release(attempt)

    def on_stopping(**_: Any) -> None:
        worker.stop()

    signals.task_received.connect(on_received, weak=False)
    signals.task_revoked.connect(on_revoked, weak=False)
    signals.worker_shutting_down.connect(on_stopping, weak=False)
    return app


def serve(identity: Identity, data: Path, code: Path, slots: int | None) -> None:
    """Run the worker until it is stopped; does not return."""
    files = WorkerFiles(data)
    publisher = BrokerPublisher(identity, files.spool)
    worker = Worker(identity, files, code, slots, publisher)
    worker.finish_earlier_results()

    def heartbeat() -> Heartbeat:
        worker.restart_if_due()
        return worker.heartbeat()

    publisher.begin(heartbeat)
    publisher.connected.wait()  # it has declared the queue that Celery is to consume
    signals.worker_shutdown.connect(lambda **_: publisher.close(FLUSH_SECONDS), weak=False)
    signals.worker_shutdown.connect(lambda **_: worker.programs.close(), weak=False)
    make_worker_app(worker).worker_main(
        [
            "worker",
            f"--hostname=worker@{identity.host}",
            "--pool=threads",  # the work is in processes of its own; threads only watch over them
            f"--concurrency={worker.concurrency}",
            "--without-mingle",
            "--without-gossip",
            "--loglevel=INFO",
        ]
    )
