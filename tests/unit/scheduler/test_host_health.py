"""Who is at fault: the combination or the host."""

from __future__ import annotations

from framework.scheduler.host_health import FIRST_PROBE_SECONDS, LONGEST_PROBE_SECONDS, Blame

ALL = {"a", "b", "c"}


def fail(blame: Blame, host: str, *tasks: str, now: float = 0.0) -> None:
    for task in tasks:
        blame.failed(task, host, {host}, now)


def test_a_host_where_three_combinations_fail_while_others_succeed_is_put_aside() -> None:
    blame = Blame()
    fail(blame, "a", "x", "y", now=10)
    blame.succeeded("b", 11)
    fail(blame, "a", "y", now=12)
    assert blame.review(ALL, 12) == [], "twice the same combination"
    fail(blame, "a", "z", now=13)
    (said,) = blame.review(ALL, 13)
    assert said.startswith("a is put aside: 3 different combinations failed there in a row")
    assert "others finished" in said
    assert blame.limits(ALL, 13) == {"a": 0}
    assert blame.others("b", ALL, 13) == {"c"}
    assert blame.review(ALL, 14) == [], "it is said once"
    assert blame.notices(14) == [said]


def test_a_success_in_between_clears_a_host() -> None:
    blame = Blame()
    fail(blame, "a", "x", "y")
    assert blame.distrusts("a")
    blame.succeeded("a", 1)
    assert not blame.distrusts("a")
    fail(blame, "a", "z", "v", now=2)
    assert blame.review(ALL, 3) == []


def test_a_combination_that_fails_on_two_hosts_is_at_fault_itself() -> None:
    blame = Blame()
    fail(blame, "a", "x", "y", "z")
    assert len(blame.review(ALL, 0)) == 1
    blame.failed("x", "b", {"a"}, 1)
    assert blame.review(ALL, 1) == ["a is sent tasks again"]
    assert not blame.distrusts("b")
    for number in range(9):
        blame.failed(f"bad{number}", "b", {"a"}, 2)
    assert blame.review(ALL, 2) == []


def test_a_host_that_fails_everything_before_any_task_is_done_is_put_aside_if_there_are_others() -> None:
    blame = Blame()
    fail(blame, "a", "x", "y", "z")
    assert blame.review({"a"}, 0) == [], "the only one"
    (said,) = blame.review({"a", "b"}, 0)
    assert "others to try" in said
    fail(blame, "b", "u", "v", "w")
    assert blame.review({"a", "b"}, 0) == [], "the last one stays"


def test_it_is_probed_with_one_task_ever_more_seldom_until_it_finishes_one() -> None:
    blame = Blame()
    fail(blame, "a", "x", "y", "z")
    blame.review(ALL, 0)
    fail(blame, "a", "late")  # was under way there when it was put aside
    assert blame.limits(ALL, FIRST_PROBE_SECONDS - 1) == {"a": 0}
    now, pause = FIRST_PROBE_SECONDS, FIRST_PROBE_SECONDS
    for number in range(6):
        assert blame.limits(ALL, now) == {"a": 1}
        fail(blame, "a", f"probe{number}", now=now)
        blame.review(ALL, now)
        pause = min(2 * pause, LONGEST_PROBE_SECONDS)
        assert blame.limits(ALL, now + pause - 1) == {"a": 0}
        now += pause
    assert pause == LONGEST_PROBE_SECONDS
    blame.succeeded("a", now)
    assert blame.review(ALL, now) == ["a is sent tasks again"]
    assert blame.limits(ALL, now) == {}
    assert blame.notices(now) == []


def test_where_only_bad_hosts_are_left_they_are_used() -> None:
    blame = Blame()
    fail(blame, "a", "x", "y", "z")
    blame.review(ALL, 0)
    assert blame.limits({"a"}, 1) == {}
    assert blame.others("b", {"a", "b"}, 1) == set()


def test_a_last_failure_is_excused_where_the_host_may_be_at_fault() -> None:
    blame = Blame()
    fail(blame, "a", "x")
    assert blame.excuses("a", {"a"}, ALL, 0), "it has finished nothing yet"
    assert not blame.excuses("a", {"a"}, {"a"}, 0), "there is no other"
    assert not blame.excuses("a", {"a", "b"}, ALL, 0), "it has failed elsewhere, too"
    blame.succeeded("a", 1)
    fail(blame, "a", "x")
    assert not blame.excuses("a", {"a"}, ALL, 1)
    fail(blame, "a", "y")
    assert blame.excuses("a", {"a"}, ALL, 1), "the second in a row"
