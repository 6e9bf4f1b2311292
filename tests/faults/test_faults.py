"""One fault for each test: what it costs, and that nothing is lost. README's rows of what happens."""

from __future__ import annotations

import time
from typing import Any

import pytest
from checkout import Checkout, at
from figures import Figures, Goal
from schedule import cut
from sets import MASTER, SLOTS, TaskSet
from testbed import HOST1, HOST2, HOST3, wait_for

pytestmark = pytest.mark.usefixtures("infrastructure")


def test_a_worker_that_crashes_is_restarted_and_repeats_what_it_ran(checkout: Checkout) -> None:
    tasks = TaskSet(checkout, "crash", 12, 5)
    tasks.start()
    checkout.bed.inside(HOST2, "kill", "-9", tasks.first_process(HOST2, "worker"))
    outcome = tasks.finish()
    tasks.check(outcome, repeats=SLOTS)


def test_what_a_killed_worker_ran_runs_elsewhere(checkout: Checkout, figures: Figures) -> None:
    tasks = TaskSet(checkout, "killed", 18, 5)
    tasks.start()
    killed = time.time()
    at(checkout.bed, HOST2, "kill", tasks.role("worker"))
    outcome = tasks.finish()
    tasks.check(outcome, repeats=SLOTS)
    figures.measured(Goal.KILLED, tasks.until_rerun(HOST2, killed))
    assert outcome.seconds < 45 + 18 / (2 * SLOTS) * 5 + 10


def test_a_stopped_worker_hands_its_tasks_back_and_leaves_no_process(checkout: Checkout) -> None:
    tasks = TaskSet(checkout, "stopped", 12, 5)
    tasks.start()
    at(checkout.bed, HOST3, "stop", tasks.role("worker"))
    assert (
        "run.py"
        not in checkout.bed.inside(HOST3, "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").stdout
    )
    tasks.wait("its tasks are handed back", lambda status: status["hosts"]["host3"]["running"] == 0, 10)
    outcome = tasks.finish()
    tasks.check(outcome, repeats=SLOTS)


def test_a_broker_that_restarts_repeats_nothing(checkout: Checkout, figures: Figures) -> None:
    tasks = TaskSet(checkout, "broker", 12, 5)
    tasks.start()
    at(checkout.bed, MASTER, "stop", tasks.role("broker"))
    time.sleep(10)
    at(checkout.bed, MASTER, "start", tasks.role("broker"))
    started = time.time()
    tasks.check(tasks.finish(), repeats=0)
    figures.measured(Goal.BROKER, tasks.until_more(started))


def test_a_broker_that_crashes_repeats_nothing(checkout: Checkout, figures: Figures) -> None:
    tasks = TaskSet(checkout, "broker crash", 12, 5)
    tasks.start()
    crashed = time.time()
    checkout.bed.inside(HOST1, "kill", "-9", tasks.first_process(HOST1, "broker"))
    tasks.check(tasks.finish(), repeats=0)
    figures.measured(Goal.BROKER, tasks.until_more(crashed))


def test_a_broker_that_hangs_for_longer_than_a_lease_repeats_nothing(checkout: Checkout) -> None:
    tasks = TaskSet(checkout, "broker hangs", 4, 45)
    tasks.bring_up()
    tasks.wait("all run", lambda status: status["running"] == 4, 60)
    at(checkout.bed, MASTER, "pause", tasks.role("broker"))
    time.sleep(34)
    at(checkout.bed, MASTER, "unpause", tasks.role("broker"))
    tasks.check(tasks.finish(), repeats=0)


def test_a_broker_with_an_empty_volume_repeats_nothing(checkout: Checkout) -> None:
    tasks = TaskSet(checkout, "empty broker", 12, 5)
    tasks.start()
    at(checkout.bed, MASTER, "rm", "--force", tasks.role("broker"))
    at(checkout.bed, MASTER, "volume", "rm", tasks.role("broker"))
    checkout.run("infrainit.sh", "-f", "-d", str(tasks.path))
    tasks.check(tasks.finish(), repeats=0)


def test_a_master_that_crashes_repeats_nothing(checkout: Checkout, figures: Figures) -> None:
    tasks = TaskSet(checkout, "master crash", 24, 4)
    tasks.start()
    crashed = []
    for _ in range(3):
        crashed.append(time.time())
        checkout.bed.inside(HOST1, "kill", "-9", tasks.first_process(HOST1, "master"))
        time.sleep(4)
    tasks.check(tasks.finish(), repeats=0)
    for when in crashed:
        figures.measured(Goal.MASTER, tasks.until_more(when))


def test_a_cut_of_ten_seconds_repeats_nothing(checkout: Checkout, figures: Figures) -> None:
    tasks = TaskSet(checkout, "cut", 12, 6)
    tasks.start()
    with cut(checkout.bed, HOST2):
        time.sleep(10)
    outcome = tasks.finish()
    figures.note(f"a cut of 10 s: {outcome.repeats} repeats (goal: 0)")
    tasks.check(outcome, repeats=0)


def test_a_host_that_loses_power_costs_only_what_it_ran(checkout: Checkout, figures: Figures) -> None:
    tasks = TaskSet(checkout, "power", 12, 5)
    tasks.start()
    killed = time.time()
    checkout.bed.cut_power(HOST3)
    try:
        tasks.wait("the others have finished the set", lambda status: status["finished"], 120)
    finally:
        checkout.bed.restore_power(HOST3)
    wait_for("its worker is back", lambda: tasks.status()["hosts"]["host3"]["alive"], seconds=60)
    tasks.check(tasks.finish(), repeats=SLOTS)
    figures.measured(Goal.KILLED, tasks.until_rerun(HOST3, killed))


def test_a_worker_that_returns_with_its_tasks_keeps_them(checkout: Checkout) -> None:
    tasks = TaskSet(checkout, "returned", 4, 60)
    tasks.bring_up()
    tasks.wait("all run", lambda status: status["running"] == 4, 60)
    away = next(host for host in (HOST2, HOST3) if tasks.status()["hosts"][host.name]["running"])

    def running_elsewhere(status: dict[str, Any]) -> int:
        return sum(host["running"] for name, host in status["hosts"].items() if name != away.name)

    before = running_elsewhere(tasks.status())
    with cut(checkout.bed, away):
        tasks.wait("its tasks run elsewhere", lambda status: running_elsewhere(status) == 4, 60)
    tasks.wait("these are stopped", lambda status: running_elsewhere(status) == before, 30)
    outcome = tasks.finish()
    tasks.check(outcome, repeats=4 - before)
    assert sum(row["host"] == away.name for row in outcome.rows) == 4 - before
    assert all(float(row["seconds"]) >= 60 for row in outcome.rows)
