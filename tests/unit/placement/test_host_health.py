"""Health of hosts: failures that are the fault of a host, and those of a combination."""

from __future__ import annotations

from master_bench import Bench, Clock

from framework.messages.assignment import Assignment
from framework.placement.host_health import (
    FIRST_PROBE_SECONDS,
    LONGEST_PROBE_SECONDS,
    HealthChange,
    HostHealth,
)

ALL = {"a", "b", "c"}


def fail(health: HostHealth, host: str, *tasks: str, now: float = 0.0) -> None:
    for task in tasks:
        health.record_failure(task, host, {host}, now)


def test_a_host_where_three_combinations_fail_while_others_succeed_is_suspended() -> None:
    health = HostHealth()
    fail(health, "a", "x", "y", now=10)
    health.record_success("b", 11)
    fail(health, "a", "y", now=12)
    assert health.review(ALL, 12) == [], "twice the same combination"
    fail(health, "a", "z", now=13)
    (change,) = health.review(ALL, 13)
    said = change.message
    assert change.is_suspended
    assert said.startswith("a is suspended: 3 different combinations failed there in a row")
    assert "others finished" in said
    assert health.limits(ALL, 13) == {"a": 0}
    assert health.others("b", ALL, 13) == {"c"}
    assert health.review(ALL, 14) == [], "it is said once"
    assert health.notices(14) == [said]


def test_a_success_in_between_clears_a_host() -> None:
    health = HostHealth()
    fail(health, "a", "x", "y")
    assert health.is_suspect("a")
    health.record_success("a", 1)
    assert not health.is_suspect("a")
    fail(health, "a", "z", "v", now=2)
    assert health.review(ALL, 3) == []


def test_a_combination_that_fails_on_two_hosts_is_at_fault_itself() -> None:
    health = HostHealth()
    fail(health, "a", "x", "y", "z")
    assert len(health.review(ALL, 0)) == 1
    health.record_failure("x", "b", {"a"}, 1)
    assert health.review(ALL, 1) == [HealthChange(False, "a is healthy again: it gets tasks")]
    assert not health.is_suspect("b")
    for number in range(9):
        health.record_failure(f"bad{number}", "b", {"a"}, 2)
    assert health.review(ALL, 2) == []


def test_a_host_that_fails_every_task_before_one_is_done_is_suspended_if_there_are_others() -> None:
    health = HostHealth()
    fail(health, "a", "x", "y", "z")
    assert health.review({"a"}, 0) == [], "the only one"
    (change,) = health.review({"a", "b"}, 0)
    assert "others to try" in change.message
    fail(health, "b", "u", "v", "w")
    assert health.review({"a", "b"}, 0) == [], "the last one stays"


def test_successes_of_others_before_its_failures_do_not_count_against_a_host() -> None:
    health = HostHealth()
    health.record_success("b", 1)
    fail(health, "a", "x", "y", "z", now=2)
    assert health.review({"a"}, 3) == [], "b is gone, and may have met the same"
    health.record_success("b", 4)
    (change,) = health.review({"a", "b"}, 4)
    assert "others finished" in change.message


def test_a_suspended_host_is_probed_ever_more_seldom_until_it_finishes_a_task() -> None:
    health = HostHealth()
    fail(health, "a", "x", "y", "z")
    health.review(ALL, 0)
    fail(health, "a", "late")  # was under way there when it was suspended
    assert health.limits(ALL, FIRST_PROBE_SECONDS - 1) == {"a": 0}
    now, pause = FIRST_PROBE_SECONDS, FIRST_PROBE_SECONDS
    for number in range(6):
        assert health.limits(ALL, now) == {"a": 1}
        fail(health, "a", f"probe{number}", now=now)
        health.review(ALL, now)
        pause = min(2 * pause, LONGEST_PROBE_SECONDS)
        assert health.limits(ALL, now + pause - 1) == {"a": 0}
        now += pause
    assert pause == LONGEST_PROBE_SECONDS
    health.record_success("a", now)
    assert health.review(ALL, now) == [HealthChange(False, "a is healthy again: it gets tasks")]
    assert health.limits(ALL, now) == {}
    assert health.notices(now) == []


def test_suspended_hosts_are_used_if_there_are_no_others() -> None:
    health = HostHealth()
    fail(health, "a", "x", "y", "z")
    health.review(ALL, 0)
    assert health.limits({"a"}, 1) == {}
    assert health.others("b", {"a", "b"}, 1) == set()


def test_a_last_failure_is_excused_where_the_host_may_be_at_fault() -> None:
    health = HostHealth()
    fail(health, "a", "x")
    assert health.excuses("a", {"a"}, ALL, 0), "it has finished nothing yet"
    assert not health.excuses("a", {"a"}, {"a"}, 0), "there is no other"
    assert not health.excuses("a", {"a", "b"}, ALL, 0), "it has failed elsewhere, too"
    health.record_success("a", 1)
    fail(health, "a", "x")
    assert not health.excuses("a", {"a"}, ALL, 1)
    fail(health, "a", "y")
    assert health.excuses("a", {"a"}, ALL, 1), "the second in a row"


def test_a_host_that_fails_every_task_costs_no_task_its_result(bench: Bench, clock: Clock) -> None:
    """Long tasks, no retries, and one host of three on which each fails at once."""
    count = 12
    bench.write_project(x=str(list(range(1, count + 1))))
    bench.master = bench.start()
    under_way: list[tuple[float, str, Assignment]] = []
    on_bad = 0
    for _ in range(5000):
        clock.now += 10
        for due, host, assignment in [each for each in under_way if each[0] <= clock.now]:
            under_way.remove((due, host, assignment))
            bench.messenger.result(host, assignment, "failed" if host == "bad" else "done", 1200)
        for host in ("good1", "good2", "bad"):
            held = [f"{each.task}.{each.attempt}" for _, where, each in under_way if where == host]
            bench.messenger.beat(host, 1, held)
        for host, assignment in bench.turn():
            on_bad += host == "bad"
            under_way.append((clock.now + (10 if host == "bad" else 1200), host, assignment))
        if bench.status().finished:
            break
    assert {row["state"] for row in bench.rows()} == {"done"}
    assert len(bench.rows()) == count
    assert 3 <= on_bad <= 3 + 10, "three, and probes"
    assert any("bad is suspended" in notice for notice in bench.status().notices)


def test_a_host_that_is_suspended_anew_is_probed_as_soon_as_for_the_first_time() -> None:
    health = HostHealth()
    fail(health, "a", "x", "y", "z")
    health.review(ALL, 0)
    fail(health, "a", "probe", now=FIRST_PROBE_SECONDS)
    later = 10 * LONGEST_PROBE_SECONDS
    assert health.limits(ALL, later) == {"a": 1}
    health.record_success("a", later)
    health.review(ALL, later)
    fail(health, "a", "u", "v", "w", now=later)
    assert len(health.review(ALL, later)) == 1
    assert health.limits(ALL, later + FIRST_PROBE_SECONDS - 1) == {"a": 0}
    assert health.limits(ALL, later + FIRST_PROBE_SECONDS) == {"a": 1}


def test_a_host_is_proven_by_its_last_task() -> None:
    health = HostHealth()
    assert not health.is_proven("a")
    assert health.is_unblemished
    health.record_success("a", 1)
    assert health.is_proven("a")
    assert health.is_unblemished
    fail(health, "a", "x", now=2)
    assert not health.is_proven("a")
    assert not health.is_unblemished
    health.record_success("a", 3)
    assert health.is_proven("a")
    assert health.is_unblemished
