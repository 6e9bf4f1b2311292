"""Values: intervals exact in decimal, comparison, and what names and values may be."""

import math
import sys
from collections.abc import Sequence
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.space.values import (
    Value,
    canonical,
    interval,
    logspace,
    name_problem,
    options_with,
    value_problem,
)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ((0.1, 0.4, 0.1), [0.1, 0.2, 0.3]),
        ((0.001, 0.01, 0.001), [0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.007, 0.008, 0.009]),
        ((0, 12, 5), [0, 5, 10]),
        ((3, 0, -1), [3, 2, 1]),
        ((1, 0.4, -0.2), [1.0, 0.8, 0.6]),
        ((0, 1, 0.5), [0.0, 0.5]),
        ((1e-7, 3e-7, 1e-7), [1e-7, 2e-7]),
        ((0, 1, 10), [0]),
        ((0.5, 3, 1), [0.5, 1.5, 2.5]),
        ((0, 2.5, 1), [0.0, 1.0, 2.0]),
        ((0, 3, 1.0), [0.0, 1.0, 2.0]),
        ((1, 1.0000000000000002, 2.3e-16), [1.0]),
        ((10**30, 10**30 + 2, 1), [10**30, 10**30 + 1]),
    ],
)
def test_interval(limits: tuple[float, float, float], expected: list[float]) -> None:
    found = list(interval(*limits))
    assert found == expected
    assert [type(value) for value in found] == [type(value) for value in expected]


@given(
    st.decimals(-1000, 1000, places=3), st.integers(1, 200), st.decimals("0.001", 10, places=3), st.booleans()
)
def test_an_interval_does_not_drift(start: Decimal, count: int, step: Decimal, falling: bool) -> None:
    step = -step if falling else step
    found = interval(float(start), float(start + count * step), float(step))
    assert list(found) == [float(start + number * step) for number in range(count)]
    assert found[-1] == float(start + (count - 1) * step)


@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        ((0, 1, 0), "never ends"),
        ((0, 1, 0.0), "never ends"),
        ((0, 1, -1), "empty"),
        ((1, 0, 0.1), "empty"),
        ((1, 1, 1), "empty"),
        ((0, math.inf, 1), "inf"),
        ((math.nan, 1, 1), "nan"),
        ((0, 1e300, 1e-300), "values"),
        ((1e16, 1e16 + 100, 0.1), "too small"),
        ((0, 1e16, 2.0), "too small"),
        ((-1e16, 0, 2.0), "too small"),
    ],
)
def test_an_impossible_interval(limits: tuple[float, float, float], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        interval(*limits)


def test_an_interval_is_a_sequence() -> None:
    found: Sequence[float] = interval(0, 1, 0.25)
    assert len(found) == 4
    assert found[1:3] == [0.25, 0.5]
    assert found[-1] == 0.75
    with pytest.raises(IndexError):
        found[4]


@pytest.mark.parametrize("name", ["C", "learning_rate", "model.depth", "data:path", "x-y", "2d", "größe"])
def test_a_name(name: str) -> None:
    assert name_problem(name) is None


@pytest.mark.parametrize("name", ["", "-a", "--a", "a=b", "a b", "a\n", ".", "$a", "a'b"])
def test_no_name(name: str) -> None:
    assert name_problem(name)


def test_signs_of_hydra_are_no_part_of_a_name() -> None:
    assert "${args_append_hydra}" in str(name_problem("+model.width"))
    assert "${args_override_hydra}" in str(name_problem("++model.width"))
    assert "leave out" not in str(name_problem("+"))


@pytest.mark.parametrize(
    "value",
    [
        "",
        "$HOME\n'*\"",
        "\ud7ff\ue000\U0001f600",
        0,
        -(10**40),
        1e-300,
        sys.float_info.max,
        True,
        False,
        None,
        [1, [None, "x"]],
        {"a": {"b": [1.5]}},
    ],
)
def test_a_value(value: Value) -> None:
    assert value_problem(value) is None


@pytest.mark.parametrize(
    "value",
    [
        "a\0b",
        *(f"a{chr(half)}b" for half in (0xD800, 0xDBFF, 0xDC00, 0xDFFF)),
        math.nan,
        math.inf,
        -math.inf,
        [1, [math.nan]],
        {"a": {"b": b"x"}},
        {1: "a"},
        {"\0": 1},
        (1,),
        b"x",
    ],
)
def test_no_value(value: object) -> None:
    assert value_problem(value)


@given(
    st.decimals(-100, 100, places=2),
    st.integers(1, 50),
    st.decimals("0.01", 5, places=2),
    st.integers(-2, 51),
)
def test_an_interval_has_its_own_values_and_none_beside_them(
    start: Decimal, length: int, step: Decimal, index: int
) -> None:
    found = interval(float(start), float(start + length * step), float(step))
    value = float(start + index * step)
    assert options_with(found, value) == ([index] if 0 <= index < length else [])
    for beside in (math.nextafter(value, math.inf), value + float(step) / 3):
        assert options_with(found, beside) == []


@pytest.mark.parametrize(
    ("values", "value", "expected"),
    [
        ([1, 1.0, True, "1", 2], 1, [0, 1]),
        ([1, 1.0, True, "1", 2], True, [2]),
        ([1, 1.0, True, "1", 2], "1", [3]),
        (range(0, 10, 3), 3.0, [1]),
        (range(0, 10, 3), 3.5, []),
        (range(0, 10, 3), 4, []),
        (range(2), True, []),
        (range(2), "1", []),
        (interval(0, 2, 0.5), True, []),
        (interval(0, 2, 0.5), 1, [2]),
    ],
)
def test_numbers_are_compared_by_value(values: Sequence[Value], value: Value, expected: list[int]) -> None:
    assert options_with(values, value) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [({"b": 1, "a": [1.0, True, "1"]}, '{"a":[1.0,true,"1"],"b":1}'), ("größe", '"gr\\u00f6\\u00dfe"')],
)
def test_canonical_json_is_the_one_that_journals_know(content: object, expected: str) -> None:
    assert canonical(content) == expected


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ((1e-5, 1e-1, 5), [1e-5, 1e-4, 1e-3, 1e-2, 1e-1]),
        ((0.1, 0.001, 3), [0.1, 0.01, 0.001]),
        ((16, 512, 6), [16, 32, 64, 128, 256, 512]),
        ((1, 100, 2), [1, 100]),
        ((1, 1000, 3), [1.0, 31.622776601683793, 1000.0]),
        ((1.0, 100, 3), [1.0, 10.0, 100.0]),
        ((1e-300, 1e300, 3), [1e-300, 1.0, 1e300]),
    ],
)
def test_log_spaced_lists(limits: tuple[float, float, int], expected: list[float]) -> None:
    found = logspace(*limits)
    assert found == expected
    assert {type(number) for number in found} == {type(expected[0])}


@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        ((0, 1, 3), "above 0"),
        ((-1, 1, 3), "above 0"),
        ((1, math.inf, 3), "above 0"),
        ((1, 10, 1), "1 numbers"),
        ((1, 10, 100_001), "100001 numbers"),
        ((2.5, 2.5, 3), "too close"),
        ((3, 3, 2), "too close"),
    ],
)
def test_no_log_spaced_lists(limits: tuple[float, float, int], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        logspace(*limits)
