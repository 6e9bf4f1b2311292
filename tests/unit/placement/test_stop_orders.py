"""Orders to workers to stop attempts that are not wanted any more."""

from __future__ import annotations

from framework.messages.task_ids import AttemptId
from framework.placement.stop_orders import StopOrders

FIRST = AttemptId("0" * 16, 1)
SECOND = AttemptId("0" * 16, 2)
OTHER = AttemptId("f" * 16, 1)


def test_orders_are_taken_once_and_in_order() -> None:
    orders = StopOrders()
    assert orders.take() == {}
    orders.add("a", [OTHER, SECOND])
    orders.add("a", {FIRST, SECOND})
    orders.add("b", {FIRST})
    assert orders.take() == {"a": [FIRST, SECOND, OTHER], "b": [FIRST]}
    assert orders.take() == {}


def test_a_host_without_attempts_to_stop_gets_no_order() -> None:
    orders = StopOrders()
    orders.add("a", set())
    orders.note_unwanted("b", set())
    assert orders.take() == {}


def test_an_unwanted_attempt_is_stopped_when_two_heartbeats_in_a_row_have_named_it() -> None:
    orders = StopOrders()
    orders.note_unwanted("a", {FIRST, OTHER})
    assert orders.take() == {}, "its result may be under way"
    orders.note_unwanted("a", {FIRST})
    assert orders.take() == {"a": [FIRST]}
    orders.note_unwanted("a", {FIRST, OTHER})
    assert orders.take() == {"a": [FIRST]}, "the order may have been lost"
    orders.note_unwanted("a", set())
    orders.note_unwanted("a", {FIRST, OTHER})
    assert orders.take() == {}, "a heartbeat in between did not name them"


def test_orders_to_hand_back_are_taken_by_themselves() -> None:
    orders = StopOrders()
    orders.hand_back("a", {OTHER, FIRST})
    orders.hand_back("a", {SECOND})
    orders.hand_back("b", set())
    assert orders.take() == {}
    assert orders.take_hand_backs() == {"a": [FIRST, SECOND, OTHER]}
    assert orders.take_hand_backs() == {}


def test_heartbeats_of_another_host_do_not_count() -> None:
    orders = StopOrders()
    orders.note_unwanted("a", {FIRST})
    orders.note_unwanted("b", {FIRST})
    assert orders.take() == {}
    orders.note_unwanted("a", {FIRST})
    assert orders.take() == {"a": [FIRST]}
