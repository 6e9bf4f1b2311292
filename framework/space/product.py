"""Product of metaparameters: every combination by its index."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

from framework.space.constraints import Axis, Diagram, Rule
from framework.space.distributions import Categorical, Distribution, Numeric
from framework.space.values import Value, canonical, options_with

Dimension: TypeAlias = Sequence[Value] | Distribution


class Combinations(ABC):
    """Combinations in an order that never changes, each computed by its index."""

    names: tuple[str, ...]  # all metaparameters; one with a condition is missing from some combinations

    @property
    @abstractmethod
    def count(self) -> int:
        """The number of combinations; it may exceed sys.maxsize, the limit of len()."""

    @abstractmethod
    def combination(self, index: int) -> dict[str, Value]:
        """A new dict with combination number `index`, counted from 0. Raises IndexError."""

    def __iter__(self) -> Iterator[dict[str, Value]]:
        return map(self.combination, range(self.count))

    def _check(self, index: int) -> None:
        if not 0 <= index < self.count:
            raise IndexError(f"combination {index} of {self.count}")


class Space(Combinations):
    """The product of the values of all metaparameters, without excluded combinations, with included ones.

    The order is that of itertools.product over the names in the order given: the last name varies fastest;
    zipped names vary together, in the place of the first of them. Included combinations come last. A
    metaparameter whose conditions do not hold is missing from the combination.

    A sequence in `dimensions` holds a metaparameter's values: a `range` of whole numbers, an `Interval` of
    floats, or a list. A space with distributions has draws, and no combinations by index.
    """

    def __init__(
        self,
        dimensions: Mapping[str, Dimension],
        *,
        conditions: Mapping[str, Mapping[str, Sequence[Value]]] | None = None,
        zipped: Sequence[Sequence[str]] = (),
        excluded: Sequence[Mapping[str, Sequence[Value]]] = (),
        seeds: int | None = None,
        paths: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """A rule maps names of metaparameters to values, and holds where each of them has one of its values.

        `conditions`: by metaparameter, the rule on earlier ones under which it exists; the same for all
        names of a zip. `zipped`: groups of names. `excluded`: the rules that take combinations out.
        `seeds`: how often each combination is run, each time with another `seed`; None: once, without one.
        `paths`: of each metaparameter in a mapping, the names of the mappings around it, then its own.
        Raises ValueError if zipped lists differ in length, or the rules are too entangled to count.
        """
        self.dimensions = dict(dimensions)
        self.conditions = {name: dict(each) for name, each in (conditions or {}).items()}
        self.included: tuple[dict[str, Value], ...] = ()
        self.seeds = seeds
        self.paths = dict(paths or {})
        self.names = tuple(self.dimensions)
        self.is_finite = not any(isinstance(each, Distribution) for each in self.dimensions.values())
        groups = {name: tuple(group) for group in zipped for name in group}
        # The names on each axis of the product: more than one if they are zipped.
        self.axes = list(dict.fromkeys(groups.get(name, (name,)) for name in self.names))
        self._axis_of = {name: axis for axis, names in enumerate(self.axes) for name in names}
        self._diagram = Diagram(
            [self._axis(names) for names in self.axes], [self._rule(each) for each in excluded]
        )

    @property
    def count(self) -> int:
        return self._diagram.count + len(self.included)

    @property
    def mass(self) -> float:
        """The share of all draws, from 0 to 1, that no rule excludes."""
        return self._diagram.mass

    def combination(self, index: int) -> dict[str, Value]:
        self._check(index)
        if index >= self._diagram.count:
            return dict(self.included[index - self._diagram.count])
        return self._at(self._diagram.options(index), None)

    def index_of(self, combination: Mapping[str, Value]) -> int | None:
        """The index of a combination of a finite space; None if it is not in it. 1 and 1.0 differ."""
        wanted = canonical(dict(combination))
        options = [self._option(names, combination) for names in self.axes]
        index = self._diagram.index(options) if combination.keys() <= self.dimensions.keys() else None
        if index is not None and canonical(self.combination(index)) == wanted:
            return index
        for number, included in enumerate(self.included):
            if canonical(included) == wanted:
                return self._diagram.count + number
        return None

    def contains(self, combination: Mapping[str, Value]) -> bool:
        """True for a combination of the space, or one that can be drawn from it. 1 and 1.0 differ."""
        if any(canonical(included) == canonical(dict(combination)) for included in self.included):
            return True
        options = [self._option(names, combination) for names in self.axes]
        return combination.keys() <= self.dimensions.keys() and self._diagram.index(options) is not None

    def including(self, combinations: Sequence[Mapping[str, Value]]) -> Space:
        """A copy of this space that includes these combinations, and no others."""
        space = copy.copy(self)
        space.included = tuple(dict(combination) for combination in combinations)
        return space

    def draw(self, random: Callable[[], float]) -> dict[str, Value]:
        """A combination drawn from the product; included ones are never drawn.

        `random` gives uniform numbers in [0, 1); `mass` must not be 0.
        """
        return self._at(self._diagram.draw(random), random)

    def _at(self, options: Sequence[int | None], random: Callable[[], float] | None) -> dict[str, Value]:
        """The combination with these options; `random` draws from distributions, without it ValueError."""
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
        # A distribution that is not categorical is one option; its value is drawn.
        length = lengths.pop() if isinstance(first, Categorical | Sequence) else 1
        return Axis(length, self._rule(self.conditions.get(names[0], {})), weights)

    def _rule(self, wanted: Mapping[str, Sequence[Value]]) -> Rule:
        """The options of each axis that have one of the wanted values."""
        rule: dict[int, frozenset[int]] = {}
        for name, values in wanted.items():
            axis, dimension = self._axis_of[name], listed(self.dimensions[name])
            found = frozenset(option for value in values for option in options_with(dimension, value))
            rule[axis] = rule[axis] & found if axis in rule else found
        return rule

    def _option(self, names: Sequence[str], combination: Mapping[str, Value]) -> int | None:
        """The option of an axis that a combination has; None if it has none of them."""
        if not combination.keys() >= set(names):
            return None
        first = self.dimensions[names[0]]
        if isinstance(first, Numeric):
            return None if first.level(combination[names[0]]) is None else 0
        found = []
        for name in names:
            values, wanted = listed(self.dimensions[name]), combination[name]
            options = options_with(values, wanted)
            found.append({option for option in options if canonical(values[option]) == canonical(wanted)})
        return min(set.intersection(*found), default=None)


def listed(dimension: Dimension) -> Sequence[Value]:
    """The values of a metaparameter; empty if it has a distribution that is not categorical."""
    if isinstance(dimension, Categorical):
        return dimension.values
    return dimension if isinstance(dimension, Sequence) else ()
