"""Checks of the fields of messages: their limits, from both sides."""

from __future__ import annotations

import math
import time
from datetime import datetime, timezone

import pytest

from framework.errors import MessageError
from framework.messages.checks import (
    END_OF_TIME,
    LONGEST_REASON,
    LONGEST_SECONDS,
    LONGEST_TEXT,
    MOST_METRICS,
    are_metrics,
    are_parameters,
    checked,
    is_bool,
    is_count,
    is_duration,
    is_host,
    is_optional_text,
    is_reason,
    is_text,
    is_time,
)
from framework.runner import output


def test_a_text_is_not_empty_and_not_too_long() -> None:
    assert is_text("x")
    assert is_text("x" * LONGEST_TEXT)
    for value in ("", "x" * (LONGEST_TEXT + 1), "\0", "\ud800", None, 5, b"x", ["x"]):
        assert not is_text(value)
    assert is_optional_text("")
    assert not is_optional_text("x" * (LONGEST_TEXT + 1))
    assert not is_optional_text(None)


def test_a_reason_may_be_empty_and_is_not_too_long() -> None:
    assert is_reason("")
    assert is_reason("x" * LONGEST_REASON)
    for value in ("x" * (LONGEST_REASON + 1), "\0", None, 5):
        assert not is_reason(value)


def test_a_host_has_a_name_that_can_be_printed() -> None:
    assert all(map(is_host, ("a", "10.0.0.1", "[fd00::1]", "h\u00f6st", "x" * LONGEST_TEXT)))
    for value in ("", "a\n", "a\x1b[2J", "a\x9b", "a\u202eb", "x" * (LONGEST_TEXT + 1), None, 5):
        assert not is_host(value)


def test_a_time_is_one_that_a_clock_can_show() -> None:
    times: list[object] = [0, 0.0, 1.5, time.time(), END_OF_TIME]
    assert all(map(is_time, times))
    assert datetime.fromtimestamp(END_OF_TIME, tz=timezone.utc).isoformat() == "2100-01-01T00:00:00+00:00"
    others: list[object] = [
        -1, -0.5, END_OF_TIME + 1, 2**53 - 1, 2**53, 1e300, 10**400, math.inf, math.nan, True, "1", None
    ]  # fmt: skip
    assert not any(map(is_time, others))


def test_a_duration_is_one_that_a_program_can_take() -> None:
    durations: list[object] = [0, 0.0, 1.5, LONGEST_SECONDS]
    assert all(map(is_duration, durations))
    others: list[object] = [
        -1, -0.5, LONGEST_SECONDS + 1, 2**53 - 1, 1e300, 10**400, math.inf, math.nan, True, "1", None
    ]  # fmt: skip
    assert not any(map(is_duration, others))


def test_a_count_is_a_whole_number_up_to_a_limit() -> None:
    assert is_count(0, 5)
    assert is_count(5, 5)
    for value in (-1, 6, 1.0, True, "1", None):
        assert not is_count(value, 5)


def test_only_true_and_false_are_flags() -> None:
    assert is_bool(True)
    assert is_bool(False)
    for value in (0, 1, "true", None):
        assert not is_bool(value)


def test_parameters_and_metrics_have_valid_names_and_values() -> None:
    assert are_parameters({})
    assert are_parameters({"C": 0.1, "text": "a\n", "on": True, "none": None, "layers": [1, {"a": None}]})
    no_parameters: list[object] = [
        None, [], {"--x": 1}, {1: 1}, {"x": [math.nan]}, {"x": {1: 1}}, {"x": math.nan}
    ]  # fmt: skip
    assert not any(map(are_parameters, no_parameters))
    assert are_metrics({})
    assert are_metrics({"val/loss": 0.5, "state": "ok"})
    no_metrics: list[object] = [None, [], {"a\nb": 1}, {1: 1}, {"x": None}, {"x": math.inf}, {"x": True}]
    assert not any(map(are_metrics, no_metrics))


def test_metrics_are_numbers_that_fit_into_a_float() -> None:
    for value in (10**308, -(10**308), 1.7e308, "inf", "-inf", "nan"):
        assert are_metrics({"x": value})
    for value in (10**400, -(10**400), 2**1024):
        assert not are_metrics({"x": value})


def test_metrics_are_not_too_many() -> None:
    assert MOST_METRICS > output.MOST_METRICS + 1, "what workers send is taken"
    assert are_metrics(dict.fromkeys(map(str, range(MOST_METRICS)), 0.5))
    assert not are_metrics(dict.fromkeys(map(str, range(MOST_METRICS + 1)), 0.5))


def test_a_message_has_exactly_the_fields_that_are_checked() -> None:
    checks = {"name": is_text, "on": is_bool}
    message = {"name": "x", "on": False}
    assert checked(message, checks) == message
    others: list[object] = [
        None, [], "name", {"name": "x"}, message | {"more": 1}, {"name": "x", 1: False}
    ]  # fmt: skip
    for other in others:
        with pytest.raises(MessageError):
            checked(other, checks)
    with pytest.raises(MessageError, match="an impossible name: ''"):
        checked(message | {"name": ""}, checks)


def test_the_error_about_a_message_is_short() -> None:
    messages: list[object] = ["x" * 10**6, dict.fromkeys(map(str, range(10**5))), {"name": "x" * 10**6}]
    for message in messages:
        with pytest.raises(MessageError) as raised:
            checked(message, {"name": is_text})
        assert len(str(raised.value)) < 500
