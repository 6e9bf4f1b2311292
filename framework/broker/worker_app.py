"""Celery application of a worker: hands the master's messages to the Worker."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from celery import Celery, signals
from celery.exceptions import Ignore
from celery.worker.control import control_command

from framework.broker.celery_app import (
    HAND_BACK_COMMAND,
    OUTPUT_COMMAND,
    STOP_COMMAND,
    TASK_NAME,
    attempt_of,
    make_app,
)
from framework.broker.worker_publisher import BrokerPublisher
from framework.errors import FrameworkError
from framework.files import WorkerFiles
from framework.messages.identity import Identity
from framework.messages.task_ids import AttemptId
from framework.messages.worker_events import Heartbeat
from framework.worker.results import finish_earlier_results
from framework.worker.runner_link import RunnerLink
from framework.worker.worker import AttemptFailed, AttemptLeft, Worker

log = logging.getLogger(__name__)

SAY_SECONDS = 10.0
RUNNER_SECONDS = 15.0  # after which the master is told that there is no runner
FLUSH_SECONDS = 10.0  # for the last results, when the worker is stopped


def make_worker_app(worker: Worker, on_stopping: Callable[[bool], None]) -> Celery:
    """Celery's side of the worker: its task, and its signals.

    `on_stopping` is told whether somebody stops the worker, by a signal.
    """
    app = make_app(worker.identity)
    requests: dict[str, Any] = {}  # of messages that were received, by id

    # A message is acknowledged once its attempt is on the disk, and not when the attempt has ended.
    @app.task(bind=True, name=TASK_NAME, throws=(AttemptFailed, FrameworkError), acks_late=True)
    def run(task: Any, *arguments: object, **_: object) -> None:
        request = requests.pop(task.request.id, None)
        # Whatever was received: the worker, not Python, reports what is wrong with it.
        message = arguments[0] if len(arguments) == 1 else arguments
        try:
            worker.run(message, request.acknowledge if request else lambda: None)
        except AttemptLeft:
            raise Ignore from None
        finally:
            on_revoked(task.request)

    @control_command(name=STOP_COMMAND)
    def stop_attempts(_: Any, names: list[str]) -> dict[str, str]:
        worker.stop_attempts([attempt for name in names if (attempt := attempt_of(name))])
        return {"ok": "told to stop"}

    @control_command(name=HAND_BACK_COMMAND)
    def hand_back_attempts(_: Any, names: list[str]) -> dict[str, str]:
        worker.hand_back([attempt for name in names if (attempt := attempt_of(name))])
        return {"ok": "told to hand back"}

    @control_command(name=OUTPUT_COMMAND)
    def output_of_attempt(_: Any, name: str) -> dict[str, str]:
        try:
            return worker.read_output(AttemptId.parse(name)).to_message()
        except OSError as error:
            return {"error": f"this host has no output of it: {error.strerror}"}

    def on_received(request: Any, **_: Any) -> None:
        requests[request.id] = request
        if attempt := attempt_of(request.id):  # else it will be refused
            worker.reserve(attempt)

    def on_revoked(request: Any, **_: Any) -> None:
        # By Celery itself only for a reason in the message that none of the master's messages has.
        requests.pop(request.id, None)
        if attempt := attempt_of(request.id):
            worker.release(attempt)

    def on_shutting_down(sig: str, **_: Any) -> None:
        # In a signal handler, which may have interrupted the sending of a message to the runner.
        threading.Thread(target=on_stopping, args=(bool(sig),), name="stopping").start()

    signals.task_received.connect(on_received, weak=False)
    signals.task_revoked.connect(on_revoked, weak=False)
    signals.worker_shutting_down.connect(on_shutting_down, weak=False)
    return app


def serve(identity: Identity, data: Path, code: Path, slots: int | None, memory: int | None) -> None:
    """Run the worker until it is stopped; does not return. `memory`: bytes that tasks may use."""
    files = WorkerFiles(data)
    publisher = BrokerPublisher(identity, files.spool)
    worker = Worker(identity, files, code, slots, publisher, memory=memory)
    finish_earlier_results(files)
    RunnerLink(worker, files).start()
    restarts = False

    def heartbeat() -> Heartbeat:
        nonlocal restarts
        if not restarts and (reason := worker.restart_reason()):
            log.warning("the worker restarts: %s; what runs goes on", reason)
            restarts = True
            os.kill(os.getpid(), signal.SIGTERM)  # Docker's restart policy starts it again
        return worker.heartbeat()

    _wait_for_runner(worker, RUNNER_SECONDS)  # the first heartbeat is to name all that runs
    publisher.begin(heartbeat)
    publisher.connected.wait()  # or Celery would try by itself, and say so
    _wait_for_runner(worker)
    signals.worker_shutdown.connect(lambda **_: publisher.close(FLUSH_SECONDS), weak=False)
    make_worker_app(worker, lambda stopped: worker.leave(for_good=stopped and not restarts)).worker_main(
        [
            "worker",
            f"--hostname=worker@{identity.host}",
            "--pool=threads",  # the work is in the runner; threads only wait for it
            f"--concurrency={worker.concurrency}",
            "--without-mingle",
            "--without-gossip",
            "--loglevel=INFO",
        ]
    )


def _wait_for_runner(worker: Worker, seconds: float | None = None) -> None:
    began = said = time.monotonic()
    while not worker.has_runner and (seconds is None or time.monotonic() - began < seconds):
        if time.monotonic() - said >= SAY_SECONDS:
            said = time.monotonic()
            log.warning("waiting for the runner for %.0f s", said - began)
        time.sleep(0.1)
