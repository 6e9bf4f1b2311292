"""What happens when hosts run short of disk or memory: work pauses, or one task fails, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from checkout import Checkout
from sets import TaskSet
from testbed import HOST1, HOST2

pytestmark = pytest.mark.usefixtures("infrastructure")

# It writes nothing when it ends: what cannot be written then is the worker's own.
SILENT = """
import time
open("began", "x").close()
time.sleep({seconds})
"""


def notices(status: dict[str, Any]) -> str:
    return "\n".join(status["notices"])


def test_a_full_disk_of_a_worker_or_the_master_pauses_the_work_and_costs_nothing(checkout: Checkout) -> None:
    tasks = TaskSet(checkout, "full disk", 18, 4, program=SILENT)
    bed, worker, master = checkout.bed, tasks.data("worker"), tasks.data("master")
    with bed.small_disk(HOST2, worker, 260), bed.small_disk(HOST1, master, 8):
        tasks.start()
        with bed.full_disk(HOST2, worker):
            tasks.wait("it says so", lambda status: "host2: only 0 MB are free" in notices(status), 20)
            with bed.full_disk(HOST1, master):
                tasks.wait("the master says so", lambda status: "waits for room" in notices(status), 20)
                held = tasks.status()
        tasks.check(tasks.finish(), repeats=0)
