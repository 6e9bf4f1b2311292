"""Combinations by index, intervals exact in decimal, and what names and values may be."""

import itertools
import math
import sys
import time
import tracemalloc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framework.space.product import Space
from framework.space.values import Value, canonical, interval, name_problem, value_problem

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


@dataclass(frozen=True)
class Rules:
    """A space with rules over small numbers, and what it has to be by brute force."""

    dimensions: dict[str, list[Value]]
    zipped: list[list[str]]
    conditions: dict[str, dict[str, list[Value]]]
    excluded: list[dict[str, list[Value]]]

    def space(self) -> Space:
        return Space(self.dimensions, zipped=self.zipped, conditions=self.conditions, excluded=self.excluded)

    def expected(self) -> list[dict[str, Value]]:
        groups = {name: tuple(group) for group in self.zipped for name in group}
        axes = list(dict.fromkeys(groups.get(name, (name,)) for name in self.dimensions))
        found: dict[str, dict[str, Value]] = {}
        for options in itertools.product(*(range(len(self.dimensions[names[0]])) for names in axes)):
            chosen: dict[str, Value] = {}
            for names, option in zip(axes, options, strict=True):
                if _holds(self.conditions.get(names[0], {}), chosen):
                    chosen |= {name: self.dimensions[name][option] for name in names}
            combination = {name: chosen[name] for name in self.dimensions if name in chosen}
            if not any(_holds(rule, combination) for rule in self.excluded):
                found.setdefault(canonical(list(combination.items())), combination)
        return list(found.values())


def _holds(rule: Mapping[str, Sequence[Value]], chosen: Mapping[str, Value]) -> bool:
    return all(name in chosen and chosen[name] in values for name, values in rule.items())


@st.composite
def rules(draw: st.DrawFn) -> Rules:
    names = [*"abcdef"[: draw(st.integers(1, 5))]]
    lengths = {name: draw(st.integers(1, 4)) for name in names}
    zipped = [sorted(draw(st.permutations(names))[:2])] if len(names) > 2 and draw(st.booleans()) else []
    for first, second in zipped:
        lengths[second] = lengths[first]
    dimensions: dict[str, list[Value]] = {name: [*range(lengths[name])] for name in names}

    def partial(of: list[str]) -> dict[str, list[Value]]:
        chosen = draw(st.lists(st.sampled_from(of), min_size=1, max_size=3, unique=True))
        return {name: draw(st.lists(st.sampled_from(dimensions[name]), min_size=1)) for name in chosen}

    conditions: dict[str, dict[str, list[Value]]] = {}
    for number, name in enumerate(names):
        group = next((group for group in zipped if name in group), [name])
        if number and name == group[0] and draw(st.booleans()):
            conditions |= dict.fromkeys(group, partial(names[:number]))
    return Rules(dimensions, zipped, conditions, [partial(names) for _ in range(draw(st.integers(0, 4)))])


@settings(max_examples=100)
@given(rules())
def test_rules_leave_what_they_leave_of_the_product_in_its_order(case: Rules) -> None:
    space, expected = case.space(), case.expected()
    assert space.count == len(expected)
    assert list(space) == expected
    assert [list(combination) for combination in space] == [list(combination) for combination in expected]
    assert [space.index_of(combination) for combination in expected] == list(range(space.count))
    for items in itertools.product(*case.dimensions.values()):
        combination = dict(zip(case.dimensions, items, strict=True))
        assert combination in expected or space.index_of(combination) is None


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


def test_a_huge_space_with_rules_costs_nothing() -> None:
    tracemalloc.start()
    space = Space(
        {name: range(1000) for name in "abcd"},
        conditions={"d": {"a": [1, 2]}},
        excluded=[{"a": [1], "c": [7]}, {"b": [5]}],
    )
    assert space.count == 999 * (998 * 1000 + 999 * 1000 + 1000 * 1000)
    assert space.combination(space.count - 1) == {"a": 999, "b": 999, "c": 999}
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


def test_rules_that_are_too_entangled_are_refused() -> None:
    names = [f"x{number}" for number in range(60)]
    entangled = [{names[number]: [0], names[number + 30]: [0]} for number in range(30)]
    with pytest.raises(ValueError, match="too entangled"):
        Space({name: range(2) for name in names}, excluded=entangled)


@pytest.mark.parametrize("index", [-1, 6, 10**30])
def test_an_index_outside_is_refused(index: int) -> None:
    with pytest.raises(IndexError):
        Space({"a": [1, 2], "b": [1, 2, 3]}).combination(index)


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


@pytest.mark.parametrize("value", ["", "$HOME\n'*\"", 0, -(10**40), 1e-300, sys.float_info.max, True, False])
def test_a_value(value: Value) -> None:
    assert value_problem(value) is None


@pytest.mark.parametrize(
    "value", ["a\0b", "\ud800", math.nan, math.inf, -math.inf, None, [1], {"a": 1}, b"x"]
)
def test_no_value(value: object) -> None:
    assert value_problem(value)
