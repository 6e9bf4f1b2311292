"""The space of metaparameters: every combination of values, computed by index and never held in memory."""

from __future__ import annotations

import copy
import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import TypeAlias, overload

from framework.diagram import Axis, Diagram, Rule
from framework.distributions import Categorical, Distribution

Value: TypeAlias = str | int | float | bool
Dimension: TypeAlias = Sequence[Value] | Distribution

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
_NAME = re.compile(r"\w[\w.:/+-]*")


class Combinations(ABC):
    """Combinations in an order that never changes, each computed by its index."""

    names: tuple[str, ...]  # of all metaparameters; one that has a condition is not in every combination

    @property
    @abstractmethod
    def count(self) -> int:
        """The number of combinations; may be larger than len() of anything could be."""

    @abstractmethod
    def combination(self, index: int) -> dict[str, Value]:
        """Combination number `index`, counted from 0, as a dict of its own. Raises IndexError."""

    def __iter__(self) -> Iterator[dict[str, Value]]:
        return map(self.combination, range(self.count))

    def _check(self, index: int) -> None:
        if not 0 <= index < self.count:
            raise IndexError(f"combination {index} of {self.count}")


class Space(Combinations):
    """The product of the values of each metaparameter, less what rules take out, and what is added to it.

    The order is that of itertools.product over the names in the order given: the last name varies fastest;
    names that are zipped vary together, in the place of the first of them. What is excluded is left out, what
    is included comes last. A metaparameter whose conditions do not hold is missing from the combination.

    A sequence in `dimensions` is a metaparameter's values: a `range` of whole numbers, an `Interval` of
    floats, or a list. A space with distributions has no combinations by index, but draws.
    """

    def __init__(
        self,
        dimensions: Mapping[str, Dimension],
        *,
        conditions: Mapping[str, Mapping[str, Sequence[Value]]] | None = None,
        zipped: Sequence[Sequence[str]] = (),
        excluded: Sequence[Mapping[str, Sequence[Value]]] = (),
        seeds: int | None = None,
    ) -> None:
        """`conditions`: which values of earlier metaparameters one needs to exist; the same for all of a zip.

        `excluded` take out the combinations that have one of the values given of each metaparameter named.
        Raises ValueError if zipped ones differ in length, or the rules are too entangled to be counted.
        """
        self.dimensions = dict(dimensions)  # in order; those with conditions too
        self.conditions = {name: dict(each) for name, each in (conditions or {}).items()}
        self.included: tuple[dict[str, Value], ...] = ()
        self.seeds = seeds  # each combination is to be run that many times with a `seed` of its own
        self.names = tuple(self.dimensions)
        self.is_finite = not any(isinstance(each, Distribution) for each in self.dimensions.values())
        groups = {name: tuple(group) for group in zipped for name in group}
        # the names of each axis of the product, and the other way round
        self._axes = list(dict.fromkeys(groups.get(name, (name,)) for name in self.names))
        self._axis_of = {name: axis for axis, names in enumerate(self._axes) for name in names}
        self._diagram = Diagram(
            [self._axis(names) for names in self._axes], [self._rule(each) for each in excluded]
        )

    @property
    def count(self) -> int:
        return self._diagram.count + len(self.included)

    @property
    def mass(self) -> float:
        """The share of draws from all distributions that no rule takes out."""
        return self._diagram.mass

    def combination(self, index: int) -> dict[str, Value]:
        self._check(index)
        if index >= self._diagram.count:
            return dict(self.included[index - self._diagram.count])
        return self._at(self._diagram.options(index), None)

    def index_of(self, combination: Mapping[str, Value]) -> int | None:
        """The number of a combination of a finite space, or None if it has no such one; 1 and 1.0 differ."""
        wanted = canonical(dict(combination))
        options = [self._option(names, combination) for names in self._axes]
        index = self._diagram.index(options) if combination.keys() <= self.dimensions.keys() else None
        if index is not None and canonical(self.combination(index)) == wanted:
            return index
        for number, included in enumerate(self.included):
            if canonical(included) == wanted:
                return self._diagram.count + number
        return None

    def including(self, combinations: Sequence[Mapping[str, Value]]) -> Space:
        """The same space with these combinations added to it."""
        space = copy.copy(self)
        space.included = tuple(dict(combination) for combination in combinations)
        return space

    def draw(self, random: Callable[[], float]) -> dict[str, Value]:
        """A draw from the product, by what gives uniform numbers in [0, 1); nothing that is included."""
        return self._at(self._diagram.draw(random), random)

    def _at(self, options: Sequence[int | None], random: Callable[[], float] | None) -> dict[str, Value]:
        combination: dict[str, Value] = {}
        for name, dimension in self.dimensions.items():
            option = options[self._axis_of[name]]
            if option is None:
                continue
            if isinstance(dimension, Categorical | Sequence):
                combination[name] = listed(dimension)[option]
            elif random is not None:
                combination[name] = dimension.quantile(random() or 2.0**-54)
            else:
                raise ValueError(f"{name} is drawn from a distribution: no combination has a number")
        return combination

    def _axis(self, names: Sequence[str]) -> Axis:
        first = self.dimensions[names[0]]
        lengths = {len(listed(self.dimensions[name])) for name in names}
        if len(lengths) > 1:
            raise ValueError(f"{', '.join(names)} are zipped, but differ in length")
        weights = first.probabilities if isinstance(first, Categorical) else None
        # what cannot be listed is one option here: which value it is, is drawn
        length = lengths.pop() if isinstance(first, Categorical | Sequence) else 1
        return Axis(length, self._rule(self.conditions.get(names[0], {})), weights)

    def _rule(self, wanted: Mapping[str, Sequence[Value]]) -> Rule:
        """Which options of which axes have the values that are wanted."""
        rule: dict[int, frozenset[int]] = {}
        for name, values in wanted.items():
            axis, dimension = self._axis_of[name], listed(self.dimensions[name])
            found = frozenset(option for value in values for option in options_with(dimension, value))
            rule[axis] = rule[axis] & found if axis in rule else found
        return rule

    def _option(self, names: Sequence[str], combination: Mapping[str, Value]) -> int | None:
        """Which option of an axis a combination has; None if none."""
        if not combination.keys() >= set(names):
            return None
        found = []
        for name in names:
            values, wanted = listed(self.dimensions[name]), combination[name]
            options = options_with(values, wanted)
            found.append({option for option in options if canonical(values[option]) == canonical(wanted)})
        return min(set.intersection(*found), default=None)


def listed(dimension: Dimension) -> Sequence[Value]:
    """The values of a metaparameter; none if it is drawn from more than can be listed."""
    if isinstance(dimension, Categorical):
        return dimension.values
    return dimension if isinstance(dimension, Sequence) else ()


def options_with(values: Sequence[Value], value: Value) -> list[int]:
    """Where a value stands among others; numbers are compared by value: 1 is 1.0, but not true."""
    if isinstance(values, range | Interval) and not isinstance(value, bool | str):
        if isinstance(values, Interval):
            return values.options_with(value)
        return [values.index(int(value))] if value in values else []
    return [
        option
        for option, each in enumerate(values)
        if each == value and isinstance(each, bool) == isinstance(value, bool)
    ]


class Interval(Sequence[float]):
    """The floats start, start + step, … of an interval; each is the float nearest to the exact decimal."""

    def __init__(self, start: Fraction, step: Fraction, length: int) -> None:
        # over their common denominator, because Python divides integers to the nearest float
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
        """The index of a value, or nothing."""
        index = round((Fraction(value) * self._denominator - self._start) / self._step)
        return [index] if 0 <= index < self._length and self[index] == value else []


def interval(start: int | float, end: int | float, step: int | float) -> Sequence[int] | Sequence[float]:
    """The half-open interval [start, end) in steps of `step`, which may be negative.

    Exact in decimal: [0.1, 0.4) by 0.1 is 0.1, 0.2, 0.3. Three integers give integers.
    Raises ValueError if it never ends, is empty, or has values that floats cannot tell apart.
    """
    for number in (start, end, step):
        if not math.isfinite(number):
            raise ValueError(f"{number} is no number that an interval can have")
    # repr is the shortest decimal that reads back as the same float: what the user wrote
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


def name_problem(name: str) -> str | None:
    """Why `name` cannot be the name of a metaparameter, or None if it can."""
    if _NAME.fullmatch(name):
        return None
    return f"{name!r} cannot be an option; use letters, digits and _.:/+-, a letter, digit or _ first"


def value_problem(value: object) -> str | None:
    """Why `value` cannot be the value of a metaparameter, or None if it can."""
    if isinstance(value, str):
        if "\0" in value:
            return "text with a NUL character cannot be passed to a program; remove it"
        if any("\ud800" <= character <= "\udfff" for character in value):
            return "text with half of a surrogate pair is no valid Unicode; remove it"
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is not a number a program can be given; put it in quotes to pass it as text"
    if isinstance(value, bool | int | float):
        return None
    return f"a value is text, a number, true or false, not {type(value).__name__}"


def canonical(value: object) -> str:
    """JSON that is the same for the same content in whatever order of keys; 1, 1.0, true and "1" differ."""
    return _CANONICAL.encode(value)
