"""Distributions are their quantile functions: within their limits, rising, and rounded exactly."""

import math
import random
from collections import Counter
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from framework.space.distributions import (
    Categorical,
    Distribution,
    LogNormal,
    LogUniform,
    Normal,
    Numeric,
    Quantized,
    Truncated,
    Uniform,
)
from framework.space.product import Space
from framework.space.values import Value

shares = st.floats(0, 1, exclude_min=True, exclude_max=True)
ALL = [
    Uniform(-3, 5.5), LogUniform(1e-5, 10), Normal(2, 0.5), LogNormal(-1, 2), Quantized(Uniform(0, 1), 0.1),
    Quantized(LogUniform(1, 1e6), 8), Quantized(Normal(0, 100), 5), Quantized(LogNormal(0, 1), 0.25),
    Categorical((1, 2, 3), (0.2, 0.3, 0.5)), Truncated(Normal(0, 1), -0.5, 2),
    Truncated(LogNormal(-3, 1), 0.01, 0.2), Truncated(Normal(0, 1), low=3), Truncated(LogNormal(0, 1), 0, 9),
]  # fmt: skip


@pytest.mark.parametrize("distribution", ALL, ids=repr)
@given(shares, shares)
def test_a_larger_share_has_no_smaller_value(distribution: Distribution, one: float, other: float) -> None:
    low, high = (distribution.quantile(share) for share in sorted([one, other]))
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    assert low <= high or math.isclose(low, high)


@pytest.mark.parametrize(
    ("distribution", "middle"),
    [
        (Uniform(-3, 5), 1),
        (Uniform(-1e308, 1e308), 0),
        (LogUniform(1e-4, 1), 1e-2),
        (Normal(2, 0.5), 2),
        (LogNormal(-1, 2), math.exp(-1)),
    ],
)
def test_the_middle(distribution: Distribution, middle: float) -> None:
    assert distribution.quantile(0.5) == pytest.approx(middle)


@given(st.floats(1e-300, 1e300), st.floats(1e-300, 1e300), shares)
def test_nothing_lies_beyond_the_limits(one: float, other: float, share: float) -> None:
    low, high = sorted([one, other])
    for distribution in (Uniform(low, high), LogUniform(low, high)):
        assert low <= distribution.quantile(share) <= high


def test_a_standard_deviation_has_its_usual_share() -> None:
    assert Normal(10, 2).quantile(0.841344746) == pytest.approx(12)
    assert LogNormal(1, 0.5).quantile(0.841344746) == pytest.approx(math.exp(1.5))


@given(st.integers(1, 1000), st.integers(0, 4), shares)
def test_rounding_is_to_an_exact_decimal(digits: int, places: int, share: float) -> None:
    q = Decimal(digits).scaleb(-places)
    value = Quantized(Uniform(-50, 50), float(q)).quantile(share)
    multiple = round(Decimal(value) / q)
    assert value == float(multiple * q)
    assert abs(value - Uniform(-50, 50).quantile(share)) <= float(q) / 2 * (1 + 1e-9)


def test_a_whole_q_makes_whole_numbers() -> None:
    assert [Quantized(Uniform(0, 10), 5).quantile(share) for share in (0.1, 0.3, 0.9)] == [0, 5, 10]
    assert isinstance(Quantized(Normal(0, 1), 1).quantile(0.9), int)
    assert isinstance(Quantized(Normal(0, 1), 1.0).quantile(0.9), float)


def test_categories_come_as_often_as_they_are_probable() -> None:
    distribution = Categorical(("a", "never", "b"), (0.25, 0.0, 0.75))
    uniform = random.Random(1).random
    counts = Counter(distribution.quantile(uniform()) for _ in range(4000))
    assert counts.keys() == {"a", "b"}
    assert 900 < counts["a"] < 1100


@pytest.mark.parametrize("distribution", ALL, ids=repr)
def test_what_is_continuous(distribution: Distribution) -> None:
    assert distribution.is_continuous == (not isinstance(distribution, Quantized | Categorical))
    assert not Uniform(1, 1 + 1e-14).is_continuous


@given(
    st.sampled_from(
        [Uniform(-1, 3), LogUniform(1e-8, 1e3), Normal(5, 2), LogNormal(0, 3), Quantized(Uniform(0, 9), 2),
         Quantized(LogUniform(0.1, 10), 0.1), Quantized(Normal(0, 1), 0.5), Uniform(2, 2)]
    ),
    shares,
)  # fmt: skip
@example(Normal(5, 2), 1.4553e-16)  # far out, where a share is known to fewer digits than one in the middle
@example(Normal(5, 2), 0.006209665325773995)  # near the value 0
def test_what_a_distribution_gave_is_found_in_it_again(distribution: Numeric, u: float) -> None:
    value = distribution.quantile(u)
    level = distribution.level(value)
    assert level is not None
    assert distribution.quantile(level) == pytest.approx(value, rel=1e-9)
    assert Space({"x": distribution}).contains({"x": value})


@pytest.mark.parametrize(
    "combination", [{"x": 4.5}, {"x": 1}, {"x": "1.5"}, {}, {"x": 1.5, "y": 1}, {"x": -1e-9}, {"x": True}]
)
def test_what_a_distribution_does_not_give_is_not_in_it(combination: dict[str, Value]) -> None:
    assert not Space({"x": Uniform(0, 4)}).contains(combination)


@pytest.mark.parametrize(
    ("distribution", "value"),
    [(Quantized(Uniform(0, 9), 2), 3), (Quantized(Uniform(0, 9), 2), 2.0), (Quantized(Uniform(0, 9), 2), 12),
     (Quantized(Uniform(0, 9000), 2), 2001),
     (LogUniform(1, 10), 11.0), (LogUniform(1, 10), 1.0 - 1e-9)],
)  # fmt: skip
def test_what_lies_beyond_or_between_has_no_share(distribution: Numeric, value: Value) -> None:
    assert distribution.level(value) is None


@pytest.mark.parametrize(
    ("distribution", "low", "high"),
    [
        (Truncated(Normal(0, 1), -0.5, 2), -0.5, 2),
        (Truncated(Normal(0, 1), 12, 13), 12, 13),
        (Truncated(Normal(5, 2), -16, -15), -16, -15),
        (Truncated(LogNormal(-3, 1), 0.01, 0.2), 0.01, 0.2),
    ],
)
def test_a_truncated_distribution_reaches_its_limits_and_no_farther(
    distribution: Truncated, low: float, high: float
) -> None:
    drawn = [distribution.quantile(number / 1000) for number in range(1, 1000)]
    assert drawn == sorted(drawn)
    assert len(set(drawn)) == len(drawn)
    assert low <= distribution.quantile(2.0**-54) <= drawn[0]
    assert drawn[-1] <= distribution.quantile(1 - 2.0**-53) <= high
    assert math.isclose(distribution.quantile(2.0**-54), low, rel_tol=1e-6)
    assert math.isclose(distribution.quantile(1 - 2.0**-53), high, rel_tol=1e-6)


def test_a_truncated_distribution_keeps_the_shape_of_the_whole() -> None:
    whole, truncated = Normal(1, 2), Truncated(Normal(1, 2), 0, 4)
    below, above = 0.3085375387, 0.9331927987  # shares of the whole below 0 and below 4
    for share in (0.1, 0.5, 0.9):
        expected = whole.quantile(below + share * (above - below))
        assert math.isclose(truncated.quantile(share), expected, rel_tol=1e-6)
    assert math.isclose(truncated.mass, above - below, rel_tol=1e-6)
    assert Truncated(Normal(0, 1), 50, 60).mass < 1e-200
