"""What happens when hosts run short of disk or memory: work pauses, or one task fails, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from checkout import Checkout, at
from sets import MASTER, TaskSet
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
        with bed.full_disk(HOST2, worker), bed.full_disk(HOST1, master):
            tasks.wait(
                "the worker says so", lambda status: "host2: only 0 MB are free" in notices(status), 20
            )
            tasks.wait("the master says so", lambda status: "waits for room" in notices(status), 20)
        tasks.check(tasks.finish(), repeats=0)


def test_a_broker_short_of_memory_or_disk_takes_nothing_for_a_while_and_loses_nothing(
    checkout: Checkout,
) -> None:
    tasks = TaskSet(checkout, "short broker", 18, 4)

    def broker(*arguments: str) -> None:
        at(checkout.bed, MASTER, "exec", tasks.role("broker"), "rabbitmqctl", "--quiet", *arguments)

    def say_so(status: dict[str, Any]) -> bool:
        return "the broker takes no messages" in notices(status)

    tasks.start()
    broker("set_vm_memory_high_watermark", "absolute", "1MB")
    tasks.wait("the master says so", say_so, 30)
    # The same alarm as when the disk runs full, raised by demanding more than there is.
    broker("set_disk_free_limit", "100TB")
    broker("set_vm_memory_high_watermark", "absolute", "1GB")
    tasks.wait("the master says so still", say_so, 30)
    broker("set_disk_free_limit", "50MB")
    tasks.check(tasks.finish(), repeats=0)
