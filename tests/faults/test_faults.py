"""One fault for each test: what it costs, and that nothing is lost. README's rows of what happens."""

from __future__ import annotations

import time
from typing import Any

import pytest
from checkout import Checkout, at
from sets import MASTER, SLOTS, TaskSet
from testbed import HOST1, HOST2, HOST3, docker, wait_for

pytestmark = pytest.mark.usefixtures("infrastructure")


def test_a_worker_that_crashes_is_restarted_and_repeats_what_it_ran(checkout: Checkout) -> None:
    tasks = TaskSet(checkout, "crash", 18, 5)
    tasks.start()
    checkout.bed.inside(HOST2, "kill", "-9", tasks.first_process(HOST2, "worker"))
    outcome = tasks.finish()
    tasks.check(outcome, repeats=SLOTS)


def test_what_a_killed_worker_ran_runs_elsewhere(checkout: Checkout) -> None:
    tasks = TaskSet(checkout, "killed", 18, 5)
    tasks.start()
    at(checkout.bed, HOST2, "kill", tasks.role("worker"))
    outcome = tasks.finish()
    tasks.check(outcome, repeats=SLOTS)
    assert outcome.seconds < 45 + 18 / (2 * SLOTS) * 5 + 10


def test_a_stopped_worker_hands_its_tasks_back_and_leaves_no_process(checkout: Checkout) -> None:
    tasks = TaskSet(checkout, "stopped", 18, 5)
    tasks.start()
    at(checkout.bed, HOST3, "stop", tasks.role("worker"))
    assert (
        "run.py"
        not in checkout.bed.inside(HOST3, "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").stdout
    )
    tasks.wait("its tasks are handed back", lambda status: status["hosts"]["host3"]["running"] == 0, 10)
    outcome = tasks.finish()
    tasks.check(outcome, repeats=SLOTS)


def test_a_broker_that_restarts_repeats_nothing(checkout: Checkout) -> None:
    tasks = TaskSet(checkout, "broker", 24, 5)
    tasks.start()
    at(checkout.bed, MASTER, "stop", tasks.role("broker"))
    time.sleep(10)
    at(checkout.bed, MASTER, "start", tasks.role("broker"))
    tasks.check(tasks.finish(), repeats=0)


def test_a_broker_that_crashes_repeats_nothing(checkout: Checkout) -> None:
    tasks = TaskSet(checkout, "broker crash", 18, 5)
    tasks.start()
    checkout.bed.inside(HOST1, "kill", "-9", tasks.first_process(HOST1, "broker"))
    tasks.check(tasks.finish(), repeats=0)


def test_a_broker_with_an_empty_volume_repeats_nothing(checkout: Checkout) -> None:
    tasks = TaskSet(checkout, "empty broker", 18, 5)
    tasks.start()
    at(checkout.bed, MASTER, "rm", "--force", tasks.role("broker"))
    at(checkout.bed, MASTER, "volume", "rm", tasks.role("broker"))
    checkout.run("infrainit.sh", "-f", "-d", str(tasks.path))
    tasks.check(tasks.finish(), repeats=0)


def test_a_master_that_crashes_repeats_nothing(checkout: Checkout) -> None:
    tasks = TaskSet(checkout, "master crash", 24, 4)
    tasks.start()
    for _ in range(3):
        checkout.bed.inside(HOST1, "kill", "-9", tasks.first_process(HOST1, "master"))
        time.sleep(4)
    tasks.check(tasks.finish(), repeats=0)


def test_a_cut_of_ten_seconds_repeats_nothing(checkout: Checkout) -> None:
    tasks = TaskSet(checkout, "cut", 18, 5)
    tasks.start()
    bed = checkout.bed
    docker("network", "disconnect", bed.network, bed.container(HOST2))
    time.sleep(10)
    docker("network", "connect", "--ip", bed.address(HOST2), bed.network, bed.container(HOST2))
    tasks.check(tasks.finish(), repeats=0)


def test_a_host_that_loses_power_costs_only_what_it_ran(checkout: Checkout) -> None:
    tasks = TaskSet(checkout, "power", 18, 5)
    tasks.start()
    checkout.bed.cut_power(HOST3)
    try:
        tasks.wait("the others have finished the set", lambda status: status["finished"], 120)
    finally:
        checkout.bed.restore_power(HOST3)
    wait_for("its worker is back", lambda: tasks.status()["hosts"]["host3"]["alive"], seconds=60)
    tasks.check(tasks.finish(), repeats=SLOTS)


def test_a_worker_that_returns_with_its_tasks_keeps_them(checkout: Checkout) -> None:
    tasks = TaskSet(checkout, "returned", 4, 75)
    tasks.bring_up()
    tasks.wait("all run", lambda status: status["running"] == 4, 60)
    bed = checkout.bed
    cut = next(host for host in (HOST2, HOST3) if tasks.status()["hosts"][host.name]["running"])

    def running_elsewhere(status: dict[str, Any]) -> int:
        return sum(host["running"] for name, host in status["hosts"].items() if name != cut.name)

    before = running_elsewhere(tasks.status())
    docker("network", "disconnect", bed.network, bed.container(cut))
    try:
        tasks.wait("its tasks run elsewhere", lambda status: running_elsewhere(status) == 4, 60)
    finally:
        docker("network", "connect", "--ip", bed.address(cut), bed.network, bed.container(cut))
    tasks.wait("these are stopped", lambda status: running_elsewhere(status) == before, 30)
    outcome = tasks.finish()
    tasks.check(outcome, repeats=4 - before)
    assert sum(row["host"] == cut.name for row in outcome.rows) == 4 - before
    assert all(float(row["seconds"]) >= 75 for row in outcome.rows)
