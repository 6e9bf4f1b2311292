"""A result on its way: worker's disk, results queue, journal, acknowledged. Something dies at each step."""

from __future__ import annotations

import json

import pytest
from checkout import Checkout, at
from sets import MASTER, SLOTS, WORKERS, TaskSet
from testbed import HOST2, Host, wait_for

pytestmark = pytest.mark.usefixtures("infrastructure")


def test_a_result_survives_each_step_of_its_way(checkout: Checkout) -> None:
    tasks = TaskSet(checkout, "on its way", 48, 4)
    tasks.start()

    # On the disk of a worker that dies while there is no broker.
    at(checkout.bed, MASTER, "kill", tasks.role("broker"))
    wait_for("results lie on host2's disk", lambda: len(spooled(tasks, HOST2)) == SLOTS, 60)
    at(checkout.bed, HOST2, "kill", tasks.role("worker"))
    kept = spooled(tasks, HOST2)
    at(checkout.bed, MASTER, "start", tasks.role("broker"))
    at(checkout.bed, HOST2, "start", tasks.role("worker"))
    wait_for("the journal has them", lambda: kept <= done(tasks), 90)
    tasks.wait("every worker runs something", lambda status: all(
        host["running"] for host in status["hosts"].values()
    ), 60)  # fmt: skip

    # At a master that has not acknowledged them and dies, and in the queue of a broker that dies too.
    at(checkout.bed, MASTER, "pause", tasks.role("master"))
    wait_for("all that ran is in the queue", lambda: not any(
        spooled(tasks, place) or runs(tasks, place) for place in WORKERS
    ), 60)  # fmt: skip
    wait_for("the broker counts them", lambda: results_queued(tasks) >= len(WORKERS), 60)
    at(checkout.bed, MASTER, "kill", tasks.role("master"))
    at(checkout.bed, MASTER, "kill", tasks.role("broker"))
    at(checkout.bed, MASTER, "start", tasks.role("broker"))
    wait_for("the broker is back with them", lambda: results_queued(tasks) >= len(WORKERS), 60)
    at(checkout.bed, MASTER, "start", tasks.role("master"))
    tasks.check(tasks.finish(), repeats=0)
    after = {attempt.name for attempt in tasks.attempts()}
    assert len(after) == tasks.tasks, "no attempt was sent a second time"


def done(tasks: TaskSet) -> set[str]:
    """The attempts that are done, as the journal says."""
    return {attempt.name for attempt in tasks.attempts() if attempt.state == "done"}


def spooled(tasks: TaskSet, host: Host) -> set[str]:
    """The attempts whose results lie on a worker's disk and are not known to be with the broker."""
    find = "find", f"{tasks.data('worker')}/spool", "-name", "*.json", "-printf", "%f\n"
    names = tasks.bed.inside(host, *find).stdout
    return {name.removesuffix(".json") for name in names.splitlines() if not name.startswith(".")}


def runs(tasks: TaskSet, host: Host) -> bool:
    """Does any task run there?"""
    return "run.py" in tasks.bed.inside(host, "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").stdout


def results_queued(tasks: TaskSet) -> int:
    """How many results the broker has, unacknowledged ones included; -1 if it does not answer."""
    command = (
        "rabbitmqctl",
        "--quiet",
        "list_queues",
        "-p",
        "tasks",
        "name",
        "messages",
        "--formatter",
        "json",
    )
    done = tasks.bed.inside(MASTER, "docker", "exec", tasks.role("broker"), *command, check=False)
    if done.returncode != 0:
        return -1
    return int(next(queue["messages"] for queue in json.loads(done.stdout) if queue["name"] == "results"))
