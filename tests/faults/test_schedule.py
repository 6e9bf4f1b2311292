"""Faults of all kinds, at random: nothing is lost, and what is repeated was out of reach."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise

import pytest
from checkout import Checkout
from figures import Figures
from schedule import Chaos, Happening, draw
from sets import Attempt, Execution, TaskSet

pytestmark = pytest.mark.usefixtures("infrastructure")

TASKS_A_MINUTE = 200  # of 1.2 s; somewhat more than three workers of two slots manage while things fail

# Every tenth task fails the first time. They take half a second to two seconds, or longer if there are fewer.
PROGRAM = """
import os, sys, time
open("began", "x").close()
n = int(sys.argv[1].partition("=")[2])
time.sleep({scale} * (0.5 + n * 7 % 16 / 10))
sys.exit(n % 10 == 3 and os.environ["TASK_ATTEMPT"] == "1")
"""
PLANNED = "exit code 1"


def test_a_random_schedule_of_faults_loses_nothing(
    checkout: Checkout, figures: Figures, pytestconfig: pytest.Config
) -> None:
    seed, minutes = pytestconfig.getoption("seed"), pytestconfig.getoption("minutes")
    usual = max(60, round(TASKS_A_MINUTE * minutes))
    number = pytestconfig.getoption("tasks") or usual
    name = f"random schedule of faults, --seed {seed} --minutes {minutes:g} --tasks {number}"
    faults = draw(seed, 60 * minutes)
    program = PROGRAM.replace("{scale}", f"{max(1.0, usual / number):.2f}")
    tasks = TaskSet(checkout, f"schedule {seed}", number, program, "retries: 1\n")
    tasks.start()
    chaos = Chaos(tasks, faults)
    print(name)
    try:
        chaos.run()
        outcome = tasks.finish(180 + 30 * minutes)
    except BaseException:
        figures.note(f"{name}: failed")
        raise
    attempts = tasks.attempts()
    repeats = find_repeats(tasks.marks(), attempts)
    figures.note(f"{name}:")
    figures.note(f"  {len(chaos.happened)} faults: {count_kinds(chaos.happened)}")
    executions, lost = sum(outcome.executions.values()), tasks.tasks - len(outcome.rows)
    figures.note(f"  {tasks.tasks} tasks, {executions} executions, {len(repeats)} repeats, {lost} lost")
    states = Counter(attempt.state for attempt in attempts)
    figures.note(
        "  the journal's attempts: " + ", ".join(f"{states[state]} {state}" for state in sorted(states))
    )
    figures.note(f"  {longest_recovery(chaos.happened, attempts)}")

    tasks.check_rows(outcome)
    check_marks(tasks.marks(), attempts)
    sent = {attempt.name: attempt.sent for attempt in attempts}
    for first, second in repeats:
        since, until = sent[first.name], max(first.began, second.began)
        assert since is not None
        assert chaos.explains(first.host, since, until), (
            f"{second} repeats {first} for no reason; {chaos.happened}"
        )


def find_repeats(marks: list[Execution], attempts: list[Attempt]) -> list[tuple[Execution, Execution]]:
    """Executions of a task after one that did not fail as it was to, each with the one before."""
    planned = {
        attempt.name
        for attempt in attempts
        if attempt.state == "failed" and attempt.reason.startswith(PLANNED)
    }
    by_task: dict[str, list[Execution]] = defaultdict(list)
    for mark in sorted(marks, key=lambda mark: mark.attempt):
        by_task[mark.task].append(mark)
    pairs = [pair for found in by_task.values() for pair in pairwise(found)]
    return [(earlier, later) for earlier, later in pairs if earlier.name not in planned]


def check_marks(marks: list[Execution], attempts: list[Attempt]) -> None:
    """Demand that every attempt was executed once at the most, and where the journal says."""
    assert [name for name, count in Counter(mark.name for mark in marks).items() if count > 1] == []
    hosts = {attempt.name: attempt.host for attempt in attempts}
    assert [mark for mark in marks if hosts.get(mark.name) != mark.host] == []


def count_kinds(happened: list[Happening]) -> str:
    kinds = Counter(f"{each.fault.kind.name} of {each.fault.role}" for each in happened)
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())).replace(" of host", "")


def longest_recovery(happened: list[Happening], attempts: list[Attempt]) -> str:
    found = [
        (seconds, str(each.fault))
        for each in happened
        if (seconds := each.recovery(attempts, happened)) is not None
    ]
    if not found:
        return "longest recovery: no fault had an end of its own"
    seconds, fault = max(found)
    return f"longest recovery: {seconds:.0f} s, after {fault}"
