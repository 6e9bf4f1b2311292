"""Distributions of metaparameters, each given by its quantile function."""

from __future__ import annotations

import bisect
import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from framework.space.values import Value


class Distribution(ABC):
    """What one metaparameter is drawn from."""

    @abstractmethod
    def quantile(self, u: float) -> Value:
        """The value that a share `u` of all draws does not exceed, 0 < u < 1: the inverse of the CDF.

        Of a `u` that is uniform this makes a draw.
        """

    def level(self, value: Value) -> float | None:
        """The `u` that gives `value`, in the middle of those that do; None if no draw does."""
        if isinstance(value, str) or type(value) is not type(self.quantile(0.5)):
            return None
        _, least = _around(lambda u: self._number(u) >= value)
        most, _ = _around(lambda u: self._number(u) > value)
        u = (least + most) / 2
        # the last digit of a value may not come back from its logarithm
        return u if 0 < u < 1 and math.isclose(self._number(u), value, rel_tol=1e-9) else None

    def _number(self, u: float) -> float:
        value = self.quantile(u)
        assert not isinstance(value, str)
        return value

    @property
    def is_continuous(self) -> bool:
        """Are two draws practically never equal?"""
        near = {self.quantile(0.4 + step * 2**-40) for step in range(8)}
        return len(near) == 8


@dataclass(frozen=True)
class Uniform(Distribution):
    """Any number from low to high, all alike."""

    low: float
    high: float

    def quantile(self, u: float) -> float:
        value = self.low * (1 - u) + self.high * u  # high - low could overflow
        return min(max(value, self.low), self.high)


@dataclass(frozen=True)
class LogUniform(Distribution):
    """Numbers from low to high, both above 0, whose logarithms are uniform."""

    low: float
    high: float

    def quantile(self, u: float) -> float:
        value = math.exp(Uniform(math.log(self.low), math.log(self.high)).quantile(u))
        return min(max(value, self.low), self.high)


@dataclass(frozen=True)
class Normal(Distribution):
    """The normal distribution with mean mu and standard deviation sigma > 0."""

    mu: float
    sigma: float

    def quantile(self, u: float) -> float:
        return NormalDist(self.mu, self.sigma).inv_cdf(u)


@dataclass(frozen=True)
class LogNormal(Distribution):
    """Numbers whose logarithms are normal with mean mu and standard deviation sigma > 0."""

    mu: float
    sigma: float

    def quantile(self, u: float) -> float:
        return math.exp(NormalDist(self.mu, self.sigma).inv_cdf(u))


@dataclass(frozen=True)
class Quantized(Distribution):
    """What is drawn from another one, rounded to the nearest multiple of q > 0, which W&B calls q_….

    As there, the nearest multiple may lie up to q / 2 beyond the limits. A whole q gives whole numbers.
    """

    of: Uniform | LogUniform | Normal | LogNormal
    q: int | float

    def quantile(self, u: float) -> int | float:
        q = Fraction(repr(self.q))  # the decimal that the user wrote
        value = round(Fraction(self.of.quantile(u)) / q) * q
        return int(value) if isinstance(self.q, int) else float(value)


@dataclass(frozen=True)
class Categorical(Distribution):
    """Values that have a probability each; the probabilities sum to 1."""

    values: tuple[Value, ...]
    probabilities: tuple[float, ...]

    def quantile(self, u: float) -> Value:
        ends = list(itertools.accumulate(self.probabilities))
        return self.values[min(bisect.bisect_right(ends, u), len(self.values) - 1)]

    def level(self, value: Value) -> float | None:
        for number, (each, end) in enumerate(
            zip(self.values, itertools.accumulate(self.probabilities), strict=True)
        ):
            if each == value and type(each) is type(value):
                return end - self.probabilities[number] / 2
        return None


def _around(is_beyond: Callable[[float], bool]) -> tuple[float, float]:
    """The neighbours in [0, 1] between which a condition begins to hold, which holds above them."""
    low, high = 0.0, 1.0
    for _ in range(64):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        low, high = (low, middle) if is_beyond(middle) else (middle, high)
    return low, high
