"""Attempts that a worker holds: reserved, waiting for devices, running, and stopped in each state."""

from __future__ import annotations

import threading

import pytest

from framework.messages.task_ids import AttemptId
from framework.worker.held_attempts import HeldAttempts

FIRST = AttemptId("0" * 16, 1)
SECOND = AttemptId("f" * 16, 1)


def began(held: HeldAttempts, attempt: AttemptId) -> threading.Event:
    stop = held.begin(attempt)
    assert stop is not None
    return stop


def names(held: HeldAttempts) -> tuple[set[AttemptId], set[AttemptId]]:
    running, reserved = held.running_and_reserved()
    return set(running), set(reserved)


def test_an_attempt_is_reserved_until_it_executes_and_held_until_it_ends() -> None:
    held = HeldAttempts()
    held.reserve(FIRST)
    assert names(held) == (set(), {FIRST})
    stop = began(held, FIRST)
    assert names(held) == (set(), {FIRST}), "it waits for devices"
    held.execute(FIRST)
    assert names(held) == ({FIRST}, set())
    assert not stop.is_set()
    held.end(FIRST)
    assert names(held) == (set(), set())


def test_an_attempt_that_was_not_reserved_is_held_too() -> None:
    held = HeldAttempts()
    began(held, FIRST)
    assert names(held) == (set(), {FIRST})
    held.end(FIRST)
    assert names(held) == (set(), set())


def test_an_attempt_begins_once_until_it_ends() -> None:
    held = HeldAttempts()
    stop = began(held, FIRST)
    assert held.begin(FIRST) is None
    held.execute(FIRST)
    assert held.begin(FIRST) is None
    held.end(FIRST)
    assert began(held, FIRST) is not stop


def test_a_reserved_attempt_can_be_released_and_one_that_has_begun_cannot() -> None:
    held = HeldAttempts()
    held.reserve(FIRST)
    held.release(FIRST)
    held.release(SECOND)
    assert names(held) == (set(), set())
    held.reserve(FIRST)
    began(held, FIRST)
    held.release(FIRST)
    assert names(held) == (set(), {FIRST})
    held.execute(FIRST)
    held.release(FIRST)
    assert names(held) == ({FIRST}, set())


@pytest.mark.parametrize("executes", [False, True])
def test_only_the_named_attempts_are_stopped(executes: bool) -> None:
    held = HeldAttempts()
    first, second = began(held, FIRST), began(held, SECOND)
    if executes:
        held.execute(FIRST)
    held.stop([FIRST, AttemptId(SECOND.task, 7)])
    assert (first.is_set(), second.is_set(), held.is_stopping) == (True, False, False)


def test_a_reserved_attempt_that_is_stopped_is_stopped_when_it_begins() -> None:
    held = HeldAttempts()
    held.reserve(FIRST)
    held.stop([FIRST, SECOND])
    assert began(held, FIRST).is_set()
    assert not began(held, SECOND).is_set(), "it was not held then"
    held.end(FIRST)
    held.reserve(FIRST)
    assert not began(held, FIRST).is_set(), "it is another delivery"


def test_a_released_attempt_is_not_stopped_when_it_comes_again() -> None:
    held = HeldAttempts()
    held.reserve(FIRST)
    held.stop([FIRST])
    held.release(FIRST)
    held.reserve(FIRST)
    assert not began(held, FIRST).is_set()


def test_a_stop_of_all_stops_also_what_begins_later() -> None:
    held = HeldAttempts()
    first = began(held, FIRST)
    assert not held.wait_for_stop(0)
    held.stop_all()
    assert (first.is_set(), held.is_stopping, held.wait_for_stop(0)) == (True, True, True)
    assert began(held, SECOND).is_set()


def test_a_signal_may_stop_all_in_a_thread_that_holds_the_lock() -> None:
    held = HeldAttempts()
    stop = began(held, FIRST)

    def stop_all() -> None:
        with held._lock:
            held.stop_all()

    threading.Thread(target=stop_all, daemon=True).start()
    assert stop.wait(10)
