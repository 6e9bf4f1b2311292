"""Combinations by index: their order and number, and spaces of any size."""

import itertools
import random
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.space.distributions import Uniform
from framework.space.expressions import parse_expression
from framework.space.product import Space, WrongExpressionError
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
    assert time.monotonic() - began < 20


def test_where_leaves_what_it_leaves_of_the_product_in_its_order() -> None:
    a, b, c, d, e = range(1, 9), [1, 2, 4], ["x", "y"], range(5), [0.5, 1.5]
    texts = ["a * b <= 8", "c == 'x' or d > a", "a + d != 5"]
    space = Space({"a": a, "b": b, "c": c, "d": d, "e": e}, where=[parse_expression(text) for text in texts])
    expected: list[dict[str, Value]] = [
        {"a": some, "b": factor, "c": letter, "d": other, "e": last}
        for some, factor, letter, other, last in itertools.product(a, b, c, d, e)
        if some * factor <= 8 and (letter == "x" or other > some) and some + other != 5
    ]
    assert list(space) == expected
    assert [space.index_of(each) for each in expected] == list(range(len(expected)))
    assert not space.contains({"a": 8, "b": 4, "c": "x", "d": 0, "e": 0.5})
    drawn = random.Random(1)
    assert all(space.draw(drawn.random) in expected for _ in range(200))


def test_where_goes_with_zip_exclude_and_conditions() -> None:
    space = Space(
        {"a": [1, 2, 3], "b": [3, 2, 1], "c": [1, 2], "m": [1, 5]},
        zipped=[["a", "b"]],
        conditions={"m": {"c": [2]}},
        excluded=[{"a": [1], "c": [2]}],
        where=[parse_expression("a + m > 6"), parse_expression("b >= 2")],
    )
    # Where m does not exist, nothing is said of it.
    assert [tuple(each.values()) for each in space] == [(1, 3, 1), (2, 2, 1), (2, 2, 2, 5)]


def test_where_on_a_million_combinations_takes_little_memory() -> None:
    tracemalloc.start()
    space = Space(
        {name: range(1, 11) for name in "abcdef"},
        where=[parse_expression("a * b <= 50"), parse_expression("c + d + e != 12")],
    )
    pairs = sum(a * b <= 50 for a, b in itertools.product(range(1, 11), repeat=2))
    triples = sum(sum(each) != 12 for each in itertools.product(range(1, 11), repeat=3))
    assert space.count == pairs * triples * 10
    assert len(space.combination(space.count - 1)) == 6
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_computed_metaparameters() -> None:
    space = Space(
        {
            "width": [32, 64],
            "hidden": parse_expression("2 * width"),
            "kind": ["a", "b"],
            "depth": [1, 2],
            "twice": parse_expression("${depth}"),
            "last": parse_expression("hidden + twice"),
        },
        conditions={"depth": {"kind": ["b"]}},
        where=[parse_expression("last != 65")],
    )
    assert list(space)[:3] == [
        {"width": 32, "hidden": 64, "kind": "a"},
        {"width": 32, "hidden": 64, "kind": "b", "depth": 2, "twice": 2, "last": 66},
        {"width": 64, "hidden": 128, "kind": "a"},
    ]
    assert space.names == ("width", "hidden", "kind", "depth", "twice", "last")
    assert [space.index_of(each) for each in space] == list(range(space.count))
    assert not space.contains({"width": 32, "hidden": 65, "kind": "a"})
    assert space.contains({"width": 32, "hidden": 64, "kind": "a"})


def test_values_computed_from_draws() -> None:
    space = Space({"rate": Uniform(1.0, 2.0), "least": parse_expression("rate / 100")})
    drawn = space.draw(random.Random(3).random)
    rate = drawn["rate"]
    assert isinstance(rate, float)
    assert drawn["least"] == rate / 100


def test_a_computed_value_can_be_a_list_that_another_metaparameter_has() -> None:
    space = Space({"a": [[1, 2], None], "x": parse_expression("a")})
    assert [space.combination(index)["x"] for index in range(2)] == [[1, 2], None]


@pytest.mark.parametrize(
    ("text", "where", "problem"),
    [
        ("1 / a", "b > 0", "'1 / a' has no value for a: 0: division by 0"),
        ("u ** 2", "b > 0", "u is drawn from a distribution; use"),
        ("a", "u > 1", "u is drawn from a distribution; where"),
        ("a", "a + 1", "'a + 1' is 1, not true or false"),
        ("[a]", "b > 0", "'[a]': a value is text, a number, true or false, not list"),
        ("a", "b + c > 1", "would be tried with 1000000 combinations"),
        ("b * c", "a > 1", "would be tried with 1000000 combinations"),
    ],
)
def test_expressions_that_are_refused(text: str, where: str, problem: str) -> None:
    with pytest.raises(WrongExpressionError) as caught:
        Space(
            {
                "a": [0, 1],
                "b": range(1000),
                "c": range(1000),
                "u": Uniform(0.0, 1.0),
                "x": parse_expression(text),
            },
            where=[parse_expression(where)],
        )
    assert problem in str(caught.value)
