"""Product of metaparameters: every combination by its index."""

from __future__ import annotations

import copy
import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias, cast

from framework.space.constraints import Axis, Diagram, Rule
from framework.space.distributions import Categorical, Distribution, Numeric
from framework.space.expressions import Expression
from framework.space.tables import Table
from framework.space.values import Value, canonical, options_with, value_problem

MOST_ROWS = 200_000  # combinations that an expression is tried with: more take longer than a user waits

Dimension: TypeAlias = Sequence[Value] | Distribution


class WrongExpressionError(ValueError):
    """An expression that has no value, or no usable one, for some combination."""

    def __init__(self, expression: Expression, problem: str) -> None:
        super().__init__(problem)
        self.expression = expression


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
    floats, or a list. A space with distributions has draws, and no combinations by index. An expression there
    computes its metaparameter from earlier ones, and is missing where one of those is.
    """

    def __init__(
        self,
        dimensions: Mapping[str, Dimension | Expression],
        *,
        conditions: Mapping[str, Mapping[str, Sequence[Value]]] | None = None,
        zipped: Sequence[Sequence[str]] = (),
        excluded: Sequence[Mapping[str, Sequence[Value]]] = (),
        where: Sequence[Expression] = (),
        seeds: int | None = None,
        paths: Mapping[str, Sequence[str]] | None = None,
        drawn: Iterable[str] = (),
    ) -> None:
        """A rule maps names of metaparameters to values, and holds where each of them has one of its values.

        `conditions`: by metaparameter, the rule on earlier ones under which it exists; the same for all
        names of a zip. `zipped`: groups of names. `excluded`: the rules that take combinations out.
        `where`: what has to be true of each combination that has all its metaparameters.
        `seeds`: how often each combination is run, each time with another `seed`; None: once, without one.
        `paths`: of each metaparameter in a mapping, the names of the mappings around it, then its own.
        `drawn`: metaparameters that have whole numbers between limits, which random methods draw from.
        Raises ValueError if zipped lists differ in length, or the rules are too entangled to count, and
        WrongExpressionError if an expression has no value for values that it is made of.
        """
        self.computed = {name: each for name, each in dimensions.items() if isinstance(each, Expression)}
        self.dimensions = {
            name: each for name, each in dimensions.items() if not isinstance(each, Expression)
        }
        self.conditions = {name: dict(each) for name, each in (conditions or {}).items()}
        self.included: tuple[dict[str, Value], ...] = ()
        self.seeds = seeds
        self.paths = dict(paths or {})
        self.drawn = tuple(drawn)
        self.names = tuple(dimensions)
        self.is_finite = not any(isinstance(each, Distribution) for each in self.dimensions.values())
        groups = {name: tuple(group) for group in zipped for name in group}
        # The names on each axis of the product: more than one if they are zipped.
        self.axes = list(dict.fromkeys(groups.get(name, (name,)) for name in self.dimensions))
        self._axis_of = {name: axis for axis, names in enumerate(self.axes) for name in names}
        for expression in self.computed.values():
            self._check_values(expression)
        self._diagram = Diagram(
            [self._axis(names) for names in self.axes],
            [self._rule(each) for each in excluded],
            [self._table(each) for each in where],
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
        index = self._diagram.index(options) if combination.keys() <= set(self.names) else None
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
        if not combination.keys() <= set(self.names) or self._diagram.index(options) is None:
            return False
        chosen = {name: combination[name] for name in self.dimensions if name in combination}
        return canonical(self.complete(chosen)) == canonical(dict(combination))

    def exists(self, name: str, combination: Mapping[str, Value]) -> bool:
        """True if the conditions of a metaparameter hold, and all that it is computed from exists."""
        conditions = self.conditions.get(name, {})
        needed = self.computed[name].names if name in self.computed else ()
        return all(each in combination for each in needed) and all(
            other in combination and bool(options_with(values, combination[other]))
            for other, values in conditions.items()
        )

    def complete(self, chosen: Mapping[str, Value]) -> dict[str, Value]:
        """A combination with its computed metaparameters. Raises WrongExpressionError."""
        if not self.computed:
            return dict(chosen)
        combination: dict[str, Value] = {}
        for name in self.names:
            if name in self.dimensions and name in chosen:
                combination[name] = chosen[name]
            elif name in self.computed and self.exists(name, combination):
                combination[name] = _usable(self.computed[name], combination)
        return combination

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
        return self.complete(combination)

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

    def _made_of(self, names: Iterable[str]) -> set[str]:
        """The metaparameters that are not computed among these, and those that the computed are made of."""
        found: set[str] = set()
        for name in names:
            if name in self.computed:
                found |= self._made_of([*self.computed[name].names, *self.conditions.get(name, {})])
            else:
                found.add(name)
        return found

    def _table(self, where: Expression) -> Table:
        made_of = self._made_of(where.names)
        for name in made_of:
            if isinstance(self.dimensions[name], Numeric):
                raise WrongExpressionError(
                    where, f"{name} is drawn from a distribution; where takes metaparameters with values"
                )
        axes = sorted({self._axis_of[name] for name in made_of})
        columns = [(name, listed(self.dimensions[name]), axes.index(self._axis_of[name])) for name in made_of]

        def holds(options: tuple[int, ...]) -> bool:
            combination = self.complete({name: values[options[axis]] for name, values, axis in columns})
            return not combination.keys() >= set(where.names) or _truth(where, combination)

        lengths = [len(listed(self.dimensions[self.axes[axis][0]])) for axis in axes]
        _check_rows(where, lengths)
        return Table(axes, lengths, holds)

    def _check_values(self, expression: Expression) -> None:
        """Try an expression with all values that it is made of, and with the limits of distributions.

        Raises WrongExpressionError.
        """
        if expression.is_reference:
            return
        made_of = sorted(self._made_of(expression.names), key=self.names.index)
        columns: list[Sequence[Value]] = []
        for name in made_of:
            dimension = self.dimensions[name]
            if isinstance(dimension, Numeric):
                if not expression.is_safe_for_draws:
                    raise WrongExpressionError(
                        expression,
                        f"{name} is drawn from a distribution; use + - * and / by a number only",
                    )
                columns.append([dimension.quantile(u) for u in (2.0**-54, 0.5, 1 - 2.0**-53)])
            else:
                columns.append(listed(dimension))
        _check_rows(expression, [len(column) for column in columns])
        for values in itertools.product(*columns):
            combination = self.complete(dict(zip(made_of, values, strict=True)))
            if combination.keys() >= set(expression.names):
                _usable(expression, combination)

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


def listed(dimension: Dimension | Expression) -> Sequence[Value]:
    """The values of a metaparameter; empty if it is computed, or drawn and not Categorical."""
    if isinstance(dimension, Categorical):
        return dimension.values
    return dimension if isinstance(dimension, Sequence) else ()


def _check_rows(expression: Expression, lengths: Sequence[int]) -> None:
    rows = math.prod(lengths)
    if rows > MOST_ROWS:
        raise WrongExpressionError(
            expression,
            f"{expression.text!r} would be tried with {rows} combinations of what it is made of, "
            f"{MOST_ROWS} at most; write fewer values, or fewer metaparameters in it",
        )


def _usable(expression: Expression, combination: Mapping[str, Value]) -> Value:
    """The value that a metaparameter is given. Raises WrongExpressionError if it cannot be one."""
    try:
        value = expression.value(combination)
    except ValueError as error:
        raise WrongExpressionError(expression, f"{error}; change it, or the values") from error
    problem = value_problem(value)
    is_made = not any(value is each for each in combination.values())
    if is_made and (value is None or isinstance(value, list | dict)):
        problem = f"a value is text, a number, true or false, not {type(value).__name__}"
    if problem:
        raise WrongExpressionError(expression, f"{expression.text!r}: {problem}; change it, or the values")
    return cast(Value, value)


def _truth(where: Expression, combination: Mapping[str, Value]) -> bool:
    try:
        truth = where.value(combination)
    except ValueError as error:
        raise WrongExpressionError(where, f"{error}; change it, or the values") from error
    if not isinstance(truth, bool):
        raise WrongExpressionError(
            where, f"{where.text!r} is {truth!r}, not true or false; compare it, as in '… <= 512'"
        )
    return truth
