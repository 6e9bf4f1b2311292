"""Distributions of metaparameters, each given by its quantile function."""

from __future__ import annotations

import bisect
import itertools
import math
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from framework.space.values import Value

_BITS_OF_1 = int.from_bytes(struct.pack("<d", 1.0), "little")


class Distribution(ABC):
    """The distribution that the values of one metaparameter are drawn from."""

    @abstractmethod
    def quantile(self, u: float) -> Value:
        """The inverse of the cumulative distribution function at `u`, 0 < u < 1.

        A share `u` of all draws does not exceed this value, so that a uniform random `u` makes a draw.
        """

    @property
    def is_continuous(self) -> bool:
        """True if two draws are practically never equal."""
        near = {self.quantile(0.4 + step * 2**-40) for step in range(8)}
        return len(near) == 8


class Numeric(Distribution):
    """A distribution of numbers; its quantile function never falls."""

    @abstractmethod
    def quantile(self, u: float) -> int | float: ...

    def level(self, value: Value) -> float | None:
        """The `u`, 0 < u < 1, with quantile(u) = `value`: the middle of all of them; None if there is none.

        Rounding is allowed for: quantile(u) may differ from `value` in the ninth digit.
        """
        middle = self.quantile(0.5)
        if isinstance(value, str) or type(value) is not type(middle):
            return None
        _, least = _around(lambda u: self.quantile(u) >= value)
        most, _ = _around(lambda u: self.quantile(u) > value)
        u = (least + most) / 2
        if not 0 < u < 1:
            return None
        # A value near 0 is the difference of two numbers of the size of the middle.
        is_close = math.isclose(self.quantile(u), value, rel_tol=1e-9, abs_tol=1e-14 * abs(middle))
        return u if is_close else None


@dataclass(frozen=True)
class Uniform(Numeric):
    """Numbers from low to high, all equally probable."""

    low: float
    high: float

    def quantile(self, u: float) -> float:
        value = self.low * (1 - u) + self.high * u  # high - low could overflow
        return min(max(value, self.low), self.high)


@dataclass(frozen=True)
class LogUniform(Numeric):
    """Numbers from low to high, both above 0, whose logarithms are uniform."""

    low: float
    high: float

    def quantile(self, u: float) -> float:
        value = math.exp(Uniform(math.log(self.low), math.log(self.high)).quantile(u))
        return min(max(value, self.low), self.high)


@dataclass(frozen=True)
class Normal(Numeric):
    """The normal distribution with mean mu and standard deviation sigma > 0."""

    mu: float
    sigma: float

    def quantile(self, u: float) -> float:
        return NormalDist(self.mu, self.sigma).inv_cdf(u)


@dataclass(frozen=True)
class LogNormal(Numeric):
    """Numbers whose logarithms are normal with mean mu and standard deviation sigma > 0."""

    mu: float
    sigma: float

    def quantile(self, u: float) -> float:
        return math.exp(NormalDist(self.mu, self.sigma).inv_cdf(u))


@dataclass(frozen=True)
class Truncated(Numeric):
    """A normal or log-normal distribution without the values below low and above high."""

    of: Normal | LogNormal
    low: float = -math.inf
    high: float = math.inf

    @property
    def mass(self) -> float:
        """The share of draws from the whole distribution that lie between the limits."""
        low, high, _ = self._standard_limits()
        return _below(high) - _below(low)

    def quantile(self, u: float) -> float:
        low, high, is_mirrored = self._standard_limits()
        share = _below(low) + (1 - u if is_mirrored else u) * (_below(high) - _below(low))
        level = NormalDist().inv_cdf(min(max(share, 5e-324), 1 - 2**-53))
        value = self.of.mu + self.of.sigma * (-level if is_mirrored else level)
        return min(max(self._scaled(value), self.low), self.high)

    def _scaled(self, value: float) -> float:
        return math.exp(value) if isinstance(self.of, LogNormal) else value

    def _standard_limits(self) -> tuple[float, float, bool]:
        """The limits in standard deviations from the mean, and whether they are mirrored.

        Floats tell shares near 0 apart, those near 1 not: what lies above the mean is seen from below.
        """
        low, high = ((self._unscaled(limit) - self.of.mu) / self.of.sigma for limit in (self.low, self.high))
        return (-high, -low, True) if low > 0 else (low, high, False)

    def _unscaled(self, limit: float) -> float:
        if isinstance(self.of, Normal):
            return limit
        return math.log(limit) if limit > 0 else -math.inf


@dataclass(frozen=True)
class Quantized(Numeric):
    """Draws from another distribution, rounded to the nearest multiple of q > 0: W&B's q_….

    As in W&B, the nearest multiple may lie up to q / 2 beyond the limits. A whole q gives whole numbers.
    """

    of: Uniform | LogUniform | Normal | LogNormal | Truncated
    q: int | float  # in the unit of the metaparameter

    def quantile(self, u: float) -> int | float:
        q = Fraction(repr(self.q))  # the decimal that the user wrote
        value = round(Fraction(self.of.quantile(u)) / q) * q
        return int(value) if isinstance(self.q, int) else float(value)


@dataclass(frozen=True)
class Categorical(Distribution):
    """Listed values, each with its probability; the probabilities sum to 1."""

    values: tuple[Value, ...]
    probabilities: tuple[float, ...]

    def quantile(self, u: float) -> Value:
        ends = list(itertools.accumulate(self.probabilities))
        return self.values[min(bisect.bisect_right(ends, u), len(self.values) - 1)]


def _below(level: float) -> float:
    """The share of the standard normal distribution below `level`."""
    return math.erfc(-level / math.sqrt(2)) / 2


def _around(is_beyond: Callable[[float], bool]) -> tuple[float, float]:
    """The neighbouring floats in [0, 1] between which a condition begins to hold; it holds for all above."""
    # Floats above 0 have the order of their bits, read as whole numbers: the search ends after 62 steps, and
    # is as fine near 0 as near 1.
    first = bisect.bisect_left(range(_BITS_OF_1), True, lo=1, key=lambda bits: is_beyond(_float(bits)))
    return _float(first - 1), _float(first)


def _float(bits: int) -> float:
    value: float = struct.unpack("<d", bits.to_bytes(8, "little"))[0]
    return value
