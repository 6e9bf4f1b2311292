"""One fault for each test: what it costs, and that nothing is lost. README's rows of what happens."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from checkout import Checkout, at
from figures import Figures, Goal
from schedule import cut
from sets import MASTER, SLOTS, WORKERS, TaskSet
from testbed import HOST1, HOST2, HOST3, Host, wait_for

pytestmark = pytest.mark.usefixtures("infrastructure")

HANGS = 600
STRAGGLER = f"""
import os, sys, time
open("began", "x").close()
time.sleep({HANGS} if sys.argv[1] == "--n=0" and os.environ["TASK_ATTEMPT"] == "1" else 1)
print("Done: value=1")
"""


def test_a_worker_that_crashes_repeats_nothing(checkout: Checkout) -> None:
    tasks = TaskSet(checkout, "crash", 24, 5)
    tasks.start()
    for _ in range(2):
        checkout.bed.inside(HOST2, "kill", "-9", tasks.first_process(HOST2, "worker"))
        time.sleep(4)
    tasks.check(tasks.finish(), repeats=0)


def test_a_worker_that_is_stopped_and_started_again_repeats_nothing(checkout: Checkout) -> None:
    tasks = TaskSet(checkout, "restarted", 24, 5)
    tasks.start()
    at(checkout.bed, HOST2, "restart", tasks.role("worker"))
    at(checkout.bed, HOST3, "stop", tasks.role("worker"))
    time.sleep(5)
    at(checkout.bed, HOST3, "start", tasks.role("worker"))
    tasks.check(tasks.finish(), repeats=0)


def test_a_worker_with_a_new_framework_repeats_nothing(checkout: Checkout) -> None:
    tasks = TaskSet(checkout, "updated", 12, 20)  # longer than update_files.sh and the restarts take
    tasks.start()
    incarnations = worker_starts(tasks)
    module = checkout.path / "framework" / "worker" / "disk.py"
    module.write_text(module.read_text() + "\n")
    checkout.run("update_files.sh")
    wait_for("all workers have restarted", lambda: not set(incarnations) & set(worker_starts(tasks)), 30)
    assert sum(host["running"] for host in tasks.status()["hosts"].values()) > 0, "they did not wait"
    tasks.check(tasks.finish(), repeats=0)


def worker_starts(tasks: TaskSet) -> list[str]:
    """When the worker of each host was started last."""
    started = "inspect", "--format", "{{.State.StartedAt}}", tasks.role("worker")
    return [f"{host.name} {at(tasks.bed, host, *started)}" for host in WORKERS]


def test_what_a_killed_worker_ran_runs_elsewhere(checkout: Checkout, figures: Figures) -> None:
    tasks = TaskSet(checkout, "killed", 18, 5)
    tasks.start()
    at(checkout.bed, HOST2, "kill", tasks.role("worker"))
    killed = time.time()  # what had begun by then ran there
    outcome = tasks.finish()
    tasks.check(outcome, repeats=SLOTS)
    figures.measured(Goal.KILLED, tasks.until_rerun(HOST2, killed))
    assert outcome.seconds < 45 + 18 / (2 * SLOTS) * 5 + 10


def test_what_a_killed_runner_ran_is_told_as_lost_at_once(checkout: Checkout, figures: Figures) -> None:
    tasks = TaskSet(checkout, "runner", 30, 5)
    tasks.start()
    checkout.bed.inside(HOST2, "kill", "-9", tasks.first_process(HOST2, "runner"))
    killed = time.time()  # what had begun by then ran there
    outcome = tasks.finish()
    tasks.check(outcome, repeats=SLOTS)
    figures.measured(Goal.RUNNER, tasks.until_rerun(HOST2, killed))
    lost = [attempt for attempt in tasks.attempts() if attempt.state == "lost"]
    assert {attempt.host for attempt in lost} == {"host2"}
    assert all("runner" in attempt.reason for attempt in lost)


def test_worker_and_runner_that_are_killed_together_repeat_only_what_ran(checkout: Checkout) -> None:
    tasks = TaskSet(checkout, "both", 30, 4)
    tasks.start()
    processes = [tasks.first_process(HOST2, role) for role in ("worker", "runner")]
    checkout.bed.inside(HOST2, "kill", "-9", *processes)
    tasks.check(tasks.finish(), repeats=SLOTS)


def test_what_ends_while_there_is_no_worker_is_reported_when_it_is_back(checkout: Checkout) -> None:
    tasks = TaskSet(checkout, "away", 24, 5)
    tasks.start()
    at(checkout.bed, HOST2, "kill", tasks.role("worker"))
    time.sleep(8)  # what it ran has ended
    at(checkout.bed, HOST2, "start", tasks.role("worker"))
    outcome = tasks.finish()
    tasks.check(outcome, repeats=0)
    assert all(attempt.state == "done" for attempt in tasks.attempts())


def test_a_runner_that_is_stopped_hands_its_tasks_back_at_once(checkout: Checkout) -> None:
    tasks = TaskSet(checkout, "stopped", 24, 5)
    tasks.start()
    at(checkout.bed, HOST3, "stop", tasks.role("runner"))
    assert not runs_a_task(tasks, HOST3)
    tasks.wait("its tasks are handed back", lambda status: status["hosts"]["host3"]["running"] == 0, 10)
    tasks.wait("the status says why", lambda status: any(
        "its runner does not answer" in notice for notice in status["notices"]
    ), 10)  # fmt: skip
    outcome = tasks.finish()
    tasks.check(outcome, repeats=SLOTS)


def test_a_stopped_worker_that_does_not_come_back_hands_its_tasks_back(checkout: Checkout) -> None:
    tasks = TaskSet(checkout, "left", 6, 40)
    tasks.start()
    at(checkout.bed, HOST3, "stop", tasks.role("worker"))
    wait_for("its host is free", lambda: not runs_a_task(tasks, HOST3), 35)
    outcome = tasks.finish(300)
    tasks.check(outcome, repeats=SLOTS)
    assert {attempt.state for attempt in tasks.attempts() if attempt.host == "host3"} == {"lost"}


def runs_a_task(tasks: TaskSet, host: Host) -> bool:
    """True if a program of a task runs on the host."""
    command_lines = tasks.bed.inside(host, "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").stdout
    return "run.py" in command_lines


def test_a_straggler_is_copied_and_the_set_ends_with_the_copy(checkout: Checkout, figures: Figures) -> None:
    tasks = TaskSet(checkout, "straggler", 12, STRAGGLER, "copies: true\n")
    tasks.bring_up()
    outcome = tasks.finish()
    tasks.check_rows(outcome)
    slow, copy = (it for it in tasks.attempts() if it.task == outcome.rows[0]["task"])
    assert (slow.state, copy.state, outcome.rows[0]["host"]) == ("stopped", "done", copy.host)
    assert slow.host != copy.host
    assert {it.state for it in tasks.attempts()} == {"done", "stopped"}, "none was lost"
    wait_for("the slow one is stopped", lambda: not any(runs_a_task(tasks, host) for host in WORKERS), 60)
    took = (copy.started or 0) + (copy.seconds or 0) - (slow.started or 0)
    figures.note(
        f"a task that hangs for {HANGS} s: the set ended after {took / HANGS:.0%} of that with a copy"
    )


def test_a_broker_that_restarts_repeats_nothing(checkout: Checkout, figures: Figures) -> None:
    tasks = TaskSet(checkout, "broker", 24, 5)
    tasks.start()
    at(checkout.bed, MASTER, "stop", tasks.role("broker"))
    time.sleep(10)
    at(checkout.bed, MASTER, "start", tasks.role("broker"))
    started = time.time()
    tasks.check(tasks.finish(), repeats=0)
    figures.measured(Goal.BROKER, tasks.until_more(started))


def test_a_broker_that_crashes_repeats_nothing(checkout: Checkout, figures: Figures) -> None:
    tasks = TaskSet(checkout, "broker crash", 24, 5)
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
    tasks = TaskSet(checkout, "empty broker", 24, 5)
    tasks.start()
    at(checkout.bed, MASTER, "rm", "--force", tasks.role("broker"))
    at(checkout.bed, MASTER, "volume", "rm", tasks.role("broker"))
    checkout.run("infrainit.sh", "-f", "-d", str(tasks.path))
    tasks.check(tasks.finish(), repeats=0)


def test_a_master_that_crashes_repeats_nothing(checkout: Checkout, figures: Figures) -> None:
    tasks = TaskSet(checkout, "master crash", 42, 4)
    tasks.start()
    crashed = []
    for _ in range(3):
        crashed.append(time.time())
        checkout.bed.inside(HOST1, "kill", "-9", tasks.first_process(HOST1, "master"))
        time.sleep(4)
    tasks.check(tasks.finish(), repeats=0)
    figures.measured(Goal.MASTER, [seconds for when in crashed for seconds in tasks.until_more(when)])


def test_a_cut_of_ten_seconds_repeats_nothing(checkout: Checkout, figures: Figures) -> None:
    tasks = TaskSet(checkout, "cut", 24, 6)
    tasks.start()
    with cut(checkout.bed, HOST2):
        time.sleep(10)
    outcome = tasks.finish()
    figures.note(f"a cut of 10 s: {outcome.repeats} repeats (goal: 0)")
    tasks.check(outcome, repeats=0)


def test_a_host_that_loses_power_costs_only_what_it_ran(checkout: Checkout, figures: Figures) -> None:
    tasks = TaskSet(checkout, "power", 24, 5)
    tasks.start()
    checkout.bed.cut_power(HOST3)
    killed = time.time()  # what had begun by then ran there
    try:
        tasks.wait("the others have finished the set", lambda status: status["finished"], 120)
    finally:
        checkout.bed.restore_power(HOST3)
    wait_for("its worker is back", lambda: tasks.status()["hosts"]["host3"]["alive"], seconds=60)
    texts = "\n".join(event["text"] for event in tasks.status()["events"])
    assert re.search(
        r"^host3 has been silent for 30 s: its (task|2 tasks) will run again elsewhere$", texts, re.M
    )
    assert "\nhost3 is back" in texts
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
