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
    tasks = TaskSet(checkout, "short broker", 36, 4)

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


# Task 0 eats memory until it is killed, and would rather have the kernel choose another process.
GREEDY = """
import glob, os, sys, time
from pathlib import Path

def limit():
    files = map(Path, ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"))
    text = next(file.read_text() for file in files if file.exists())
    return int(text) if text.strip().isdecimal() else 2**63

open("began", "x").close()
if sys.argv[1] == "--n=0":
    while limit() > 300 * 2**20:
        time.sleep(0.1)
    try:
        Path("/proc/1/oom_score_adj").write_text("1000")
    except PermissionError:
        print("Refused: refused=1", flush=True)
    held = []
    while True:
        held.append(bytearray(10 * 2**20))
time.sleep(4)
"""


def test_a_task_that_is_killed_for_its_memory_fails_and_nothing_else(checkout: Checkout) -> None:
    tasks = TaskSet(checkout, "greedy", 12, GREEDY)
    tasks.start()
    for host in WORKERS:
        at(checkout.bed, host, "update", "--memory=250m", "--memory-swap=250m", tasks.role("runner"))
    outcome = tasks.finish()
    assert [row["state"] for row in outcome.rows] == ["failed"] + 11 * ["done"]
    assert outcome.rows[0]["refused"] == "1"
    greedy, *others = (row["task"] for row in outcome.rows)
    assert {outcome.executions[task] for task in others} == {1}
    failed = [it for it in tasks.attempts() if it.state != "done"]  # two, if a host is excused the first
    assert {(it.task, it.reason) for it in failed} == {(greedy, "killed by SIGKILL (out of memory?)")}
    for role in ("runner", "worker"):
        restarts = [
            at(checkout.bed, host, "inspect", "--format", "{{.RestartCount}}", tasks.role(role))
            for host in WORKERS
        ]
        assert {int(count) for count in restarts} == {0}
