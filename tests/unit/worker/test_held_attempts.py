"""Attempts that a worker holds: reserved, waiting for devices, running, and stopped in each state."""

from __future__ import annotations

import pytest

from framework.messages.assignment import Assignment, AttemptResult
from framework.messages.task_ids import AttemptId
from framework.worker.held_attempts import HeldAttempt, HeldAttempts, Phase

FIRST = AttemptId("0" * 16, 1)
SECOND = AttemptId("f" * 16, 1)
LOST = AttemptResult(FIRST.task, 1, "host1", "lost", 1.0, 0.0, None, "", {}, "v1", "", "infra-1", "p")


def begun(held: HeldAttempts, attempt: AttemptId) -> HeldAttempt:
    one = HeldAttempt(Assignment("infra-1", "p", attempt.task, attempt.number, {}))
    held.begin(one)
    return one


def names(held: HeldAttempts) -> tuple[set[AttemptId], set[AttemptId]]:
    running, reserved = held.running_and_reserved()
    return set(running), set(reserved)


@pytest.mark.parametrize("is_reserved", [False, True])
def test_an_attempt_is_reserved_until_the_runner_has_it_and_held_until_it_ends(is_reserved: bool) -> None:
    held = HeldAttempts()
    if is_reserved:
        held.reserve(FIRST)
        assert names(held) == (set(), {FIRST})
    one = begun(held, FIRST)
    assert (held.get(FIRST), held.get(SECOND), len(held), list(held)) == (one, None, 1, [one])
    for phase, runs in (
        (Phase.WAITING, False),
        (Phase.GIVEN, False),
        (Phase.TAKEN, True),
        (Phase.EXITED, True),
    ):
        one.phase = phase
        assert names(held) == (({FIRST}, set()) if runs else (set(), {FIRST}))
        assert held.in_phase(phase) == [one]
        assert held.in_phase(*(set(Phase) - {phase})) == []
    held.end(one)
    assert names(held) == (set(), set())
    assert (held.get(FIRST), len(held)) == (None, 0)


def test_an_outcome_is_awaited_from_when_the_runner_has_it_until_it_is_known() -> None:
    held = HeldAttempts()
    one = begun(held, FIRST)
    awaited = []
    for one.phase in Phase:
        awaited.append(one.awaits_outcome)
    assert awaited == [False, False, True, True]
    one.outcome = LOST
    assert not one.awaits_outcome


def test_a_reserved_attempt_can_be_released_and_one_that_has_begun_cannot() -> None:
    held = HeldAttempts()
    held.reserve(FIRST)
    held.release(FIRST)
    held.release(SECOND)
    assert names(held) == (set(), set())
    held.reserve(FIRST)
    one = begun(held, FIRST)
    held.release(FIRST)
    assert names(held) == (set(), {FIRST})
    one.phase = Phase.TAKEN
    held.release(FIRST)
    assert names(held) == ({FIRST}, set())


@pytest.mark.parametrize("phase", Phase)
def test_only_the_named_attempts_are_stopped(phase: Phase) -> None:
    held = HeldAttempts()
    first, second = begun(held, FIRST), begun(held, SECOND)
    first.phase = phase
    assert held.stop([FIRST, AttemptId(SECOND.task, 7)]) == [first]
    assert (first.is_unwanted, second.is_unwanted) == (True, False)


def test_a_reserved_attempt_that_is_stopped_is_unwanted_when_it_begins() -> None:
    held = HeldAttempts()
    held.reserve(FIRST)
    assert held.stop([FIRST, SECOND]) == []
    one = begun(held, FIRST)
    assert one.is_unwanted
    assert not begun(held, SECOND).is_unwanted, "it was not held then"
    held.end(one)
    held.reserve(FIRST)
    assert not begun(held, FIRST).is_unwanted, "it is another delivery"


def test_a_released_attempt_is_not_stopped_when_it_comes_again() -> None:
    held = HeldAttempts()
    held.reserve(FIRST)
    held.stop([FIRST])
    held.release(FIRST)
    held.reserve(FIRST)
    assert not begun(held, FIRST).is_unwanted


def test_an_attempt_may_end_while_all_are_looked_at() -> None:
    held = HeldAttempts()
    begun(held, FIRST)
    begun(held, SECOND)
    for one in held:
        held.end(one)
    assert len(held) == 0
