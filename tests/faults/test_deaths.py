"""What happens when containers, hosts and workers die in ways that are meant to be hard."""

from __future__ import annotations

import pytest
from checkout import Checkout, at
from sets import MASTER, SLOTS, WORKERS, TaskSet
from testbed import HOST1, HOST2, HOST3, docker, wait_for

pytestmark = pytest.mark.usefixtures("infrastructure")

# Task 0 sends each signal that ends a process to all processes that it may signal, wherever it is run.
DEADLY = """
import os, sys, time
open("began", "x").close()
if sys.argv[1] == "--n=0":
    time.sleep(1)
    for number in (15, 1, 2, 9):
        os.kill(-1, number)
        os.kill(1, number)
time.sleep(2)
"""


def restarts(tasks: TaskSet, role: str) -> int:
    """How often Docker has restarted the containers of a role."""
    count = "inspect", "--format", "{{.RestartCount}}", tasks.role(role)
    return sum(int(at(tasks.bed, host, *count)) for host in WORKERS)


def test_a_task_that_kills_all_that_it_may_reaches_neither_runner_nor_worker(checkout: Checkout) -> None:
    tasks = TaskSet(checkout, "deadly", 12, DEADLY, "retries: 1\n")
    tasks.bring_up()
    outcome = tasks.finish()
    tasks.check_rows(outcome)
    assert (restarts(tasks, "worker"), restarts(tasks, "runner")) == (0, 0)
    failed = [it for it in tasks.attempts() if it.state != "done"]
    assert len(failed) <= SLOTS - 1, "what ran beside it at that moment, and nothing else"
    assert {(it.state, it.reason.partition(" (")[0]) for it in failed} <= {
        ("failed", "killed by SIGTERM"), ("failed", "killed by SIGKILL")
    }  # fmt: skip
    # Nothing went back into a queue.
    waiting = tasks.queues("messages")
    assert {waiting["dead"], *(waiting[f"tasks.{host.name}"] for host in WORKERS)} == {0}


def test_containers_that_are_killed_or_stopped_and_started_again_go_on(checkout: Checkout) -> None:
    tasks = TaskSet(checkout, "restarts", 60, 4)
    bed = checkout.bed
    tasks.start()
    at(bed, MASTER, "stop", tasks.role("master"))
    at(bed, MASTER, "start", tasks.role("master"))
    for role in ("flower", "broker", "master"):
        at(bed, MASTER, "kill", tasks.role(role))
        at(bed, MASTER, "start", tasks.role(role))
    at(bed, HOST2, "kill", tasks.role("worker"))
    at(bed, HOST2, "start", tasks.role("worker"))
    # The broker does not hear of this death, and still has the old connection when the new one comes.
    docker("network", "disconnect", bed.network, bed.container(HOST3))
    bed.inside(HOST3, "kill", "-9", tasks.first_process(HOST3, "worker"))
    docker("network", "connect", "--ip", bed.address(HOST3), bed.network, bed.container(HOST3))
    tasks.wait("every worker runs something again", lambda status: all(
        host["alive"] and host["running"] for host in status["hosts"].values()
    ), 60)  # fmt: skip
    at(bed, HOST2, "kill", tasks.role("runner"))
    at(bed, HOST2, "start", tasks.role("runner"))
    tasks.check(tasks.finish(), repeats=SLOTS)
    said = at(bed, MASTER, "exec", tasks.role("master"), "framework", "celery", "status")
    assert all(f"worker@{host.name}: OK" in said for host in WORKERS), said
    assert {it["State"]["Status"] for it in checkout.inspect(MASTER)} == {"running"}


def test_a_master_host_that_loses_power_comes_back_and_goes_on(checkout: Checkout) -> None:
    tasks = TaskSet(checkout, "master host", 42, 5)
    tasks.start()
    checkout.bed.cut_power(HOST1)
    checkout.bed.restore_power(HOST1)
    wait_for(
        "its containers run", lambda: {it["State"]["Status"] for it in checkout.inspect(HOST1)} == {"running"}
    )
    tasks.check(tasks.finish(), repeats=SLOTS)
