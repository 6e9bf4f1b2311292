"""Combinations by index: their order and number, and spaces of any size."""

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.space.product import Space
from framework.space.values import Value, interval

values = st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text())
spaces = st.dictionaries(st.text("abcdef", min_size=1), st.lists(values, min_size=1, max_size=4), max_size=4)


@given(spaces)
def test_count_index_and_order_are_those_of_the_product(chosen: dict[str, list[Value]]) -> None:
    space = Space(chosen)
    expected = [dict(zip(chosen, items, strict=True)) for items in itertools.product(*chosen.values())]
    assert space.count == len(expected)
    assert list(space) == expected
    assert [space.combination(index) for index in range(space.count)] == expected
    assert [list(combination) for combination in space] == [list(chosen)] * space.count


def test_the_number_of_a_combination_depends_on_the_type_of_its_values() -> None:
    space = Space({"x": [1, 1.0, True, "1"], "y": interval(0, 1, 0.25), "z": range(0, 10, 3)})
    for index, combination in enumerate(space):
        assert space.index_of(combination) == index
    assert space.index_of({"x": 1, "y": 0.25, "z": 4}) is None
    assert space.index_of({"x": 1, "y": 0.3, "z": 3}) is None
    assert space.index_of({"x": 1, "y": 0.25, "z": 3.0}) is None
    assert space.index_of({"x": 1, "y": 0.25}) is None
    assert space.index_of({"x": 1, "y": 0.25, "z": 3, "more": 1}) is None
    assert space.including([{"x": 5}]).index_of({"x": 5}) == space.count


@pytest.mark.parametrize("index", [-1, 6, 10**30])
def test_an_index_outside_is_refused(index: int) -> None:
    with pytest.raises(IndexError):
        Space({"a": [1, 2], "b": [1, 2, 3]}).combination(index)


def test_what_is_included_comes_last() -> None:
    space = Space({"x": [1, 2]}).including([{"x": 5}, {"x": 6}])
    assert list(space) == [{"x": 1}, {"x": 2}, {"x": 5}, {"x": 6}]
    assert [space.index_of(combination) for combination in space] == [0, 1, 2, 3]
    assert space.contains({"x": 6})
    assert not space.contains({"x": 7})
    space.combination(2)["x"] = 7
    assert space.combination(2) == {"x": 5}


def test_combinations_share_nothing() -> None:
    space = Space({"a": [1]})
    space.combination(0)["a"] = 2
    assert space.combination(0) == {"a": 1}


def test_a_huge_space_costs_nothing() -> None:
    space = Space({name: interval(0, 1_000_000, 0.5) for name in "abcdefgh"})
    began = time.monotonic()
    assert space.count == 2_000_000**8
    assert space.combination(space.count - 1) == dict.fromkeys("abcdefgh", 999_999.5)
    assert space.combination(1) == dict.fromkeys("abcdefg", 0.0) | {"h": 0.5}
    assert time.monotonic() - began < 0.1
