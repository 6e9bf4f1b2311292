"""Window: attempts that a slot is sent, for tasks of every length."""

from __future__ import annotations

import pytest

from framework.placement.window import MOST_FOR_A_SLOT, MOST_FOR_ALL, RecentMean, window


@pytest.mark.parametrize(
    ("mean", "expected"),
    [
        (None, 1),
        (3600.0, 1),
        (2.0, 1),
        (1.9, 2),
        (0.25, 2),
        (0.1, 5),
        (0.01, 50),
        (0.0007, MOST_FOR_A_SLOT),
        (0.0, MOST_FOR_A_SLOT),
    ],
)
def test_a_slot_has_half_a_second_of_work_but_no_task_of_seconds_waits(
    mean: float | None, expected: int
) -> None:
    assert window(mean, 10**6, 2) == expected


@pytest.mark.parametrize(("left", "expected"), [(800, 100), (799, 99), (80, 10), (23, 2), (2, 2), (0, 2)])
def test_at_the_end_of_a_sweep_a_slot_gets_a_part_of_its_share_of_the_rest(left: int, expected: int) -> None:
    assert window(0.001, left, 2) == expected


def test_many_slots_share_what_may_be_under_way() -> None:
    assert window(0.001, 10**9, 2000) == MOST_FOR_ALL // 2000
    assert window(0.001, 10**9, 10**6) == 2
    assert window(0.001, 10**9, 0) == MOST_FOR_A_SLOT


def test_the_mean_is_that_of_the_latest_tasks() -> None:
    mean = RecentMean()
    assert mean.seconds is None
    for seconds in (1.0, 2.0, 3.0):
        mean.add(seconds)
    assert mean.seconds == pytest.approx(2.0)
    for _ in range(200):
        mean.add(0.001)
    assert mean.seconds == pytest.approx(0.001, abs=0.001)
    mean.add(100.0)
    assert window(mean.seconds, 10**6, 2) == 1, "one long task is enough"
