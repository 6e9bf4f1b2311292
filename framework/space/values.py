"""Values of metaparameters: validity, comparison, exact intervals."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import TypeAlias, overload

from framework.text import text_problem

# Lists and mappings, which nobody changes, hold values again.
Value: TypeAlias = "str | int | float | bool | list[Value] | dict[str, Value] | None"
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
NAME = re.compile(r"\w[\w.:/+\[\]-]*")  # of a metaparameter
_MOST_LISTED = 100_000  # values that are kept in a list


def options_with(values: Sequence[Value], value: Value) -> list[int]:
    """The indices of `value` in `values`; numbers are compared by value: 1 equals 1.0, but not true."""
    if isinstance(values, range | Interval):
        if isinstance(value, bool) or not isinstance(value, int | float):
            return []
        if isinstance(values, Interval):
            return values.options_with(value)
        return [values.index(int(value))] if value in values else []
    return [
        option
        for option, each in enumerate(values)
        if each == value and isinstance(each, bool) == isinstance(value, bool)
    ]


class Interval(Sequence[float]):
    """The floats start, start + step, …, start + (length - 1) * step, each nearest to the exact decimal."""

    def __init__(self, start: Fraction, step: Fraction, length: int) -> None:
        # Kept over their common denominator: Python divides integers to the nearest float.
        self._denominator = math.lcm(start.denominator, step.denominator)
        self._start = int(start * self._denominator)
        self._step = int(step * self._denominator)
        self._length = length

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> float: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[float]: ...
    def __getitem__(self, index: int | slice) -> float | Sequence[float]:
        if isinstance(index, slice):
            return [self[i] for i in range(self._length)[index]]
        return (self._start + range(self._length)[index] * self._step) / self._denominator

    def options_with(self, value: float) -> list[int]:
        """The index of `value`, as a list; empty if it is not one of these floats."""
        index = round((Fraction(value) * self._denominator - self._start) / self._step)
        return [index] if 0 <= index < self._length and self[index] == value else []


def interval(start: int | float, end: int | float, step: int | float) -> Sequence[int] | Sequence[float]:
    """The half-open interval [start, end) in steps of `step`, which may be negative.

    Exact in decimal: [0.1, 0.4) by 0.1 is 0.1, 0.2, 0.3. Three integers give integers.
    Raises ValueError if it never ends, is empty, has more than 2**53 values, or steps too small for floats.
    """
    for number in (start, end, step):
        if not math.isfinite(number):
            raise ValueError(f"{number} cannot be a number of an interval")
    # repr is the shortest decimal that reads back as the same float: the one that the user wrote.
    exact_start, exact_end, exact_step = (Fraction(repr(number)) for number in (start, end, step))
    if exact_step == 0:
        raise ValueError("a step of 0 never ends")
    length = math.ceil((exact_end - exact_start) / exact_step)
    if length < 1:
        reach = "never reaches" if exact_end != exact_start else "starts at"
        raise ValueError(f"the interval is empty: {start} by steps of {step} {reach} {end}")
    if length > 2**53:
        raise ValueError(f"the interval has {length} values")
    if isinstance(start, int) and isinstance(end, int) and isinstance(step, int):
        return range(start, end, step)
    if length > 1 and abs(exact_step) < 2 * Fraction(math.ulp(max(abs(start), abs(end)))):
        raise ValueError(f"steps of {step} are too small for floats of this size to tell the values apart")
    return Interval(exact_start, exact_step, length)


def logspace(start: int | float, end: int | float, count: int) -> list[int] | list[float]:
    """`count` numbers from start to end, both included, of which each is the same multiple of the one before.

    Each is the float nearest to the exact number; whole numbers between whole limits stay whole.
    Raises ValueError if there are too few or too many, or a limit is not above 0.
    """
    if not 2 <= count <= _MOST_LISTED:
        raise ValueError(f"{count} numbers; write how many, from 2 to {_MOST_LISTED}")
    if not all(math.isfinite(limit) and limit > 0 for limit in (start, end)):
        raise ValueError("the limits have to be above 0, as their logarithms are taken")
    with localcontext() as context:
        context.prec = 60
        first, last = Decimal(repr(start)), Decimal(repr(end))
        step = (last / first).ln() / (count - 1)
        exact = [first * (step * number).exp() for number in range(count)]
        numbers = [start, *(float(number) for number in exact[1:-1]), end]
        whole = [round(number) for number in exact]
        is_whole = all(
            abs(number - near) < Decimal("1e-30") for number, near in zip(exact, whole, strict=True)
        )
    if len(set(numbers)) < count:
        raise ValueError(f"{start} and {end} are too close for {count} different numbers")
    if isinstance(start, int) and isinstance(end, int) and is_whole:
        return whole
    return [float(number) for number in numbers]


def name_problem(name: str) -> str | None:
    """The reason why `name` cannot be the name of a metaparameter; None if it can."""
    if NAME.fullmatch(name):
        return None
    for sign, macro in (("++", "${args_override_hydra}"), ("+", "${args_append_hydra}")):
        if name.startswith(sign) and NAME.fullmatch(name.removeprefix(sign)):
            return f"{name!r} cannot be an option; leave out the {sign}, and write {macro} in the command"
    return f"{name!r} cannot be an option; use letters, digits and _.:/+-[], a letter, digit or _ first"


def value_problem(value: object) -> str | None:
    """The reason why `value` cannot be the value of a metaparameter; None if it can."""
    if isinstance(value, str):
        return text_problem(value)
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is not a number a program can be given; put it in quotes to pass it as text"
    if value is None or isinstance(value, bool | int | float):
        return None
    if isinstance(value, list):
        return next(filter(None, map(value_problem, value)), None)
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return next(filter(None, map(value_problem, (*value, *value.values()))), None)
    return f"a value is text, a number, true, false, null, a list or a mapping, not {type(value).__name__}"


def canonical(value: object) -> str:
    """JSON that does not depend on the order of keys; 1, 1.0, true and "1" differ.

    Task ids are hashes of it: it must never change. Raises ValueError for NaN and infinities.
    """
    return _CANONICAL.encode(value)
