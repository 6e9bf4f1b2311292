"""The master goes elsewhere, with its journal or without."""

from __future__ import annotations

import pytest
from checkout import Checkout, at
from sets import MASTER, SLOTS, WORKERS, TaskSet
from testbed import HOST2

pytestmark = pytest.mark.usefixtures("infrastructure")


def half_done(checkout: Checkout, name: str) -> tuple[TaskSet, set[str]]:
    """A set, and its tasks that are done."""
    tasks = TaskSet(checkout, name, 42, 3)
    tasks.start()
    tasks.wait("some are done", lambda status: status["done"] >= 2 * SLOTS, 60)
    return tasks, {attempt.task for attempt in tasks.attempts() if attempt.state == "done"}


def test_a_master_that_moves_takes_its_journal_along(checkout: Checkout) -> None:
    tasks, done = half_done(checkout, "moved")
    checkout.run("infrainit.sh", "-f", "-y", "-d", tasks.path, "-m", "2")
    tasks.master = HOST2
    assert checkout.inventory(MASTER)["containers"] == [tasks.role("runner"), tasks.role("worker")]
    outcome = tasks.finish()
    tasks.check(outcome, repeats=SLOTS * len(WORKERS))
    assert {outcome.executions[task] for task in done} == {1}


def test_results_are_recovered_when_master_and_journal_are_gone(checkout: Checkout) -> None:
    tasks, done = half_done(checkout, "recovered")
    at(checkout.bed, MASTER, "rm", "--force", tasks.role("master"))
    checkout.bed.inside(MASTER, "rm", "-r", tasks.data("master"))
    checkout.run("infrainit.sh", "-f", "-d", tasks.path, "--recover")
    outcome = tasks.finish()
    tasks.check(outcome, repeats=SLOTS * len(WORKERS))
    assert {outcome.executions[task] for task in done} == {1}
