"""Commands that the containers of master, workers and Flower run."""

import argparse
import os
import time

from framework.cli import locations
from framework.errors import FrameworkError, UsageError
from framework.files import MasterFiles
from framework.messages.identity import Identity


def run_master(_: argparse.Namespace) -> int:
    """Run the master until it is stopped."""
    from framework.broker.celery_app import connect, make_app
    from framework.broker.master_connection import MasterConnection
    from framework.master.master import Master
    from framework.master.notifier import read_values

    identity = Identity.of_container("master")
    app = make_app(identity)
    values = read_values(identity.secrets / "notify")
    master = Master(identity, MasterFiles(locations.DATA), locations.CODE, values=values)
    master.run(lambda: MasterConnection(app, connect(identity)))
    return 0


def run_worker(_: argparse.Namespace) -> int:
    """Run a worker until it is stopped; raises UsageError for a number that is none."""
    from framework.broker.worker_app import serve

    slots, mebibytes = _number("SLOTS"), _number("TASK_MEMORY")
    memory = mebibytes and mebibytes * 2**20
    serve(Identity.of_container("worker"), locations.DATA, locations.CODE, slots, memory)
    return 0


def _number(variable: str) -> int | None:
    """The number of 1 or more in an environment variable; None if it is empty or not set."""
    text = os.environ.get(variable, "")
    if text and (not text.isdecimal() or int(text) < 1):
        raise UsageError(f"{variable} is {text!r}: it must be a number of 1 or more")
    return int(text) if text else None


def run_flower(_: argparse.Namespace) -> int:
    """Run Flower until it is stopped; with METRICS in the environment, the server of the metrics, too."""
    from framework.broker.celery_app import FLOWER_CONFIG, make_app

    if os.environ.get("METRICS"):
        from framework.broker.metrics_server import PORT, make_metrics_server

        make_metrics_server().listen(PORT)
    make_app(Identity.of_container("flower")).start(["flower", f"--conf={FLOWER_CONFIG}"])
    return 0


def run_celery(options: argparse.Namespace) -> int:
    """Run a command of Celery itself."""
    from framework.broker.celery_app import make_app

    make_app(Identity.of_container("master")).start(options.arguments)
    return 0


def run_wait_workers(options: argparse.Namespace) -> int:
    """Wait until all workers answer; raises FrameworkError that names those that do not in time."""
    from framework.broker.celery_app import BROKER_ERRORS, make_app

    app = make_app(Identity.of_container("master"))
    missing = {f"worker@{host}": host for host in options.hosts}
    deadline = time.monotonic() + options.timeout
    problem = ""
    while missing and time.monotonic() < deadline:
        try:
            replies = app.control.ping(destination=list(missing), timeout=2.0, limit=len(missing))
        except BROKER_ERRORS as error:
            replies, problem = [], f" (the broker: {error})"
            time.sleep(1)
        for reply in replies:
            for node in reply:
                if missing.pop(node, None):
                    print(f"{node} answers", flush=True)
    if missing:
        raise FrameworkError(
            f"no answer in {options.timeout:.0f} s from the workers on {', '.join(missing.values())}{problem}"
        )
    return 0
