"""Estimates of the rest of a sweep: speeds of hosts, the end, what more hosts would save."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable

import pytest

from framework.journal.records import TimedTask
from framework.messages.status import Estimate
from framework.scheduler.estimate import LATEST, Durations, RunningTask, estimate, survival


def durations_of(known: Iterable[tuple[str, float]]) -> Durations:
    return Durations(TimedTask("t", host, {}, seconds) for host, seconds in known)


EVEN = durations_of([("a", 10.0)] * 20)


def rest(*arguments: object) -> Estimate:
    durations, slots, running, *others = arguments
    made = estimate(durations, slots, [RunningTask(*each) for each in running], *others)  # type: ignore
    assert made is not None
    return made


@pytest.mark.parametrize(
    ("durations", "slots", "running", "waiting"),
    [
        (Durations(), {"a": 2}, [("a", 5.0)], 3),  # nothing is done
        (EVEN, {}, [], 3),  # no host
        (EVEN, {"a": 0}, [], 3),
        (EVEN, {"a": 2}, [], 0),  # nothing left
    ],
)
def test_what_cannot_be_known_is_not_guessed(
    durations: Durations, slots: dict[str, int], running: list[tuple[str, float]], waiting: int
) -> None:
    assert estimate(durations, slots, [RunningTask(*each) for each in running], waiting) is None


@pytest.mark.parametrize(
    ("running", "waiting", "seconds"),
    [
        ([], 6, 30.0),
        ([], 1, 10.0),  # no task is shared among slots
        ([], 7, 40.0),  # the last one runs alone
        ([("a", 4.0)], 0, 6.0),
        ([("a", 4.0), ("a", 9.0)], 2, 16.0),
        ([], 6000, 30_000.0),
    ],
)
def test_even_tasks_are_shared_among_two_slots(
    running: list[tuple[str, float]], waiting: int, seconds: float
) -> None:
    made = rest(EVEN, {"a": 2}, running, waiting)
    assert made.seconds == pytest.approx(seconds)
    assert made.least == made.most == made.seconds


def test_the_speeds_of_hosts_count() -> None:
    known = durations_of([("fast", 10.0), ("slow", 40.0)] * 30)
    made = rest(known, {"fast": 1, "slow": 1}, [], 50)
    assert made.seconds == pytest.approx(400, rel=0.15), "40 on the fast one, 10 on the slow one"
    assert made.like == "fast"
    assert made.saved == pytest.approx(400 - 50 / (3 / 10 + 1 / 40), rel=0.2)
    assert rest(known, {"slow": 1}, [], 10).seconds == pytest.approx(400, rel=0.1)
    unknown = rest(known, {"new": 1}, [], 10).seconds
    assert unknown == pytest.approx(250, rel=0.1), "a new host is taken to be as fast as all together"


def test_the_range_holds_most_ends_of_uneven_tasks() -> None:
    chance = random.Random(3)
    inside, ends = 0, 40
    for _ in range(ends):
        known = durations_of([("a", chance.lognormvariate(3, 0.7)) for _ in range(60)])
        made = rest(known, {"a": 4}, [], 40)
        free = [0.0] * 4
        for _ in range(40):
            free.sort()
            free[0] += chance.lognormvariate(3, 0.7)
        inside += made.least <= max(free) <= made.most
        assert made.least < made.seconds < made.most
    assert inside >= 0.6 * ends


def test_a_task_that_has_outrun_all_others_is_not_about_to_end_at_once() -> None:
    made = rest(EVEN, {"a": 1}, [("a", 100.0)], 0)
    assert 10 < made.seconds <= 100
    assert made.least < made.most


def test_what_runs_and_takes_long_counts_although_it_has_not_ended() -> None:
    """The first to end are the short ones."""
    early = durations_of([("a", 1.0)] * 5)
    assert rest(early, {"a": 10}, [("a", 20.0)] * 5, 100).seconds > 100
    assert rest(early, {"a": 10}, [], 100).seconds == pytest.approx(10)
    durations, weights = survival([(1, True), (2, False), (3, True), (4, False)])
    assert durations == [1, 3, 8]
    assert weights == pytest.approx([0.25, 0.375, 0.375])


def test_expected_sizes_count_in_their_order() -> None:
    known = Durations()
    for size in (1.0, 2.0, 4.0):
        known.add("a", 10.0 * size, size)
    assert rest(known, {"a": 1}, [], 3, [0.5, 1.0, 3.0]).seconds == pytest.approx(45.0)
    assert rest(known, {"a": 2}, [], 3, [3.0, 1.0, 0.5]).seconds == pytest.approx(30.0)
    assert rest(known, {"a": 2}, [], 3, [0.5, 1.0, 3.0]).seconds == pytest.approx(35.0)
    assert rest(known, {"a": 1}, [("a", 5.0, 2.0)], 0).seconds == pytest.approx(15.0)


def test_more_hosts_are_not_said_to_save_what_they_do_not() -> None:
    assert rest(EVEN, {"a": 4}, [], 4).like == "", "all run at once already"
    assert rest(EVEN, {"a": 4}, [("a", 1.0)], 0).like == ""
    assert rest(durations_of([("a", 10.0)] * 2), {"a": 1}, [], 100).like == "", "a guess"
    assert rest(EVEN, {"b": 1}, [], 100).like == "", "nothing is known of this host"


def test_the_same_values_give_the_same_estimate() -> None:
    known = durations_of([("a", float(seconds)) for seconds in range(1, 50)])
    assert rest(known, {"a": 3}, [("a", 2.0)], 20) == rest(known, {"a": 3}, [("a", 2.0)], 20)


def test_the_latest_tasks_count_and_no_others() -> None:
    known = durations_of([("old", 1000.0)] + [("a", 10.0)] * LATEST)
    assert len(known) == LATEST
    assert known.median == 10.0
    assert {each.host for each in known.known()} == {"a"}


def test_thousands_of_slots_and_a_million_tasks_take_little_time() -> None:
    known = durations_of([(f"h{number % 500}", 1.0 + number % 7) for number in range(LATEST)])
    began = time.process_time()
    rest(known, {f"h{number}": 8 for number in range(500)}, [], 1_000_000)
    assert time.process_time() - began < 3
