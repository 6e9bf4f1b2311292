"""What happens when hosts run short of disk or memory: work pauses, or one task fails, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from checkout import Checkout, at
from sets import WORKERS, TaskSet
from testbed import HOST1, HOST2

pytestmark = pytest.mark.usefixtures("infrastructure")

# It writes nothing when it ends: what cannot be written then is the worker's own.
SILENT = """
import time
open("began", "x").close()
time.sleep(4)
"""


def notices(status: dict[str, Any]) -> str:
    return "\n".join(status["notices"])


def test_a_full_disk_of_a_worker_or_the_master_pauses_the_work_and_costs_nothing(checkout: Checkout) -> None:
    tasks = TaskSet(checkout, "full disk", 18, SILENT)
    bed, worker, master = checkout.bed, tasks.data("worker"), tasks.data("master")
    with bed.small_disk(HOST2, worker, 260), bed.small_disk(HOST1, master, 8):
        tasks.start()
        with bed.full_disk(HOST2, worker):
            tasks.wait(
                "the worker says so", lambda status: "host2: only 0 MiB are free" in notices(status), 20
            )
            with bed.full_disk(HOST1, master):
                tasks.wait("the master says so", lambda status: "waits for room" in notices(status), 20)
        tasks.check(tasks.finish(), repeats=0)


def test_a_broker_short_of_memory_or_disk_takes_nothing_for_a_while_and_loses_nothing(
    checkout: Checkout,
) -> None:
    tasks = TaskSet(checkout, "short broker", 12, 4)

    def say_so(status: dict[str, Any]) -> bool:
        return "the broker takes no messages" in notices(status)

    tasks.start()
    tasks.rabbitmqctl("set_vm_memory_high_watermark", "absolute", "1MB")
    tasks.wait("the master says so", say_so, 30)
    # The same alarm as when the disk runs full, raised by demanding more than there is.
    tasks.rabbitmqctl("set_disk_free_limit", "100000GB")
    tasks.rabbitmqctl("set_vm_memory_high_watermark", "absolute", "1GB")
    switched = tasks.status()["updated"]
    tasks.wait("it says so still", lambda status: say_so(status) and status["updated"] > switched + 2, 20)
    tasks.rabbitmqctl("set_disk_free_limit", "50MB")
    tasks.check(tasks.finish(), repeats=0)


# Task 0 eats memory until it is killed. Task 1 does so once, and makes the kernel choose the worker.
GREEDY = """
import glob, os, sys, time
from pathlib import Path

def limit():
    files = map(Path, ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"))
    text = next(file.read_text() for file in files if file.exists())
    return int(text) if text.strip().isdecimal() else 2**63

open("began", "x").close()
number, attempt = sys.argv[1], os.environ["TASK_ATTEMPT"]
if number == "--n=0" or (number, attempt) == ("--n=1", "1"):
    while limit() > 300 * 2**20:
        time.sleep(0.1)
    if number == "--n=1":
        for file in glob.glob("/proc/[0-9]*/oom_score_adj"):
            Path(file).write_text("1000" if f"/{os.getpid()}/" not in file else "0")
    held = []
    while True:
        held.append(bytearray(10 * 2**20))
time.sleep(4)
"""


def test_a_task_that_is_killed_for_its_memory_fails_and_a_worker_that_is_comes_back(
    checkout: Checkout,
) -> None:
    tasks = TaskSet(checkout, "greedy", 12, GREEDY)
    tasks.start()
    for host in WORKERS:
        at(checkout.bed, host, "update", "--memory=250m", "--memory-swap=250m", tasks.role("worker"))
    outcome = tasks.finish()
    assert [row["state"] for row in outcome.rows] == ["failed"] + 11 * ["done"]
    assert len(outcome.executions) == 12
    attempts = tasks.attempts()
    greedy, unlucky = outcome.rows[0]["task"], outcome.rows[1]["task"]
    assert {it.reason for it in attempts if it.task == greedy and it.state == "failed"} == {
        "killed by SIGKILL (out of memory?)"
    }
    (lost, *_) = [it for it in attempts if it.task == unlucky]
    assert (lost.state, lost.reason) == ("lost", f"its worker on {lost.host} holds it no longer")
    for row in outcome.rows[2:]:
        assert outcome.executions[row["task"]] == 1 or row["task"] in {
            it.task for it in attempts if (it.host, it.state) == (lost.host, "lost")
        }
    restarts = at(
        checkout.bed, next(it for it in WORKERS if it.name == lost.host), "inspect", "--format",
        "{{.RestartCount}}", tasks.role("worker"),
    )  # fmt: skip
    assert int(restarts) >= 1
