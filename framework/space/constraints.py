"""Decision diagram: counts, numbers and draws what constraints leave of a product."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from framework.space.tables import FAILS, Table

# The options, by axis, that a rule names. It holds for a choice that has one of them on each of these axes.
Rule: TypeAlias = Mapping[int, frozenset[int]]

# What is still open after the beginning of a choice: a bit for each rule, and the state of each table.
Name: TypeAlias = tuple[int, tuple[int, ...]]

MOST_NODES = 100_000  # more would take longer to count than a user waits


@dataclass(frozen=True)
class Axis:
    """One factor of the product: a choice among options numbered from 0."""

    length: int  # the number of options
    condition: Rule  # on earlier axes; where it does not hold, nothing is chosen on this one
    weights: Sequence[float] | None = None  # the probability of each option; None: all are equal


@dataclass(frozen=True)
class _Run:
    """Neighbouring options that are named by the same rules."""

    start: int  # the first option
    length: int  # the number of options
    weight: float  # the probability that a draw chooses one of them
    named_by: int  # a bit for each rule


@dataclass(frozen=True)
class _Choice:
    """The options of one run at a node, or no option, and the node that each leads to."""

    start: int | None  # the first option; None: nothing is chosen
    length: int  # the number of options
    each: int  # the number of ways to go on from each option
    then: Name  # the node on the next level


@dataclass
class _Node:
    """All beginnings of choices after which the same is open."""

    choices: list[_Choice] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)  # the number of ways through the choices so far
    masses: list[float] = field(default_factory=list)  # the share of draws that go through them

    @property
    def count(self) -> int:
        return self.ends[-1] if self.ends else 0

    @property
    def mass(self) -> float:
        return self.masses[-1] if self.masses else 0.0


# Start, length and weight of a choice, and what is open after it.
_Way: TypeAlias = tuple[int | None, int, float, Name]


class _Rules:
    """Excluded rules and conditions of axes, each a bit; on each level, numbers made of these bits.

    Tables are followed beside them, each by its state.
    """

    def __init__(self, axes: Sequence[Axis], excluded: Sequence[Rule], tables: Sequence[Table]) -> None:
        # An axis with the same condition as another shares its rule.
        conditions = list({_key(axis.condition): axis.condition for axis in axes if axis.condition}.values())
        rules = [*excluded, *conditions]
        bits = {_key(condition): 1 << len(excluded) + n for n, condition in enumerate(conditions)}
        self._needed = [bits[_key(axis.condition)] if axis.condition else 0 for axis in axes]
        self._named_here = [_mask(level in rule for rule in rules) for level in range(len(axes))]
        self._runs = [list(_runs(axis, level, rules)) for level, axis in enumerate(axes)]
        self._decided_here = [0] * len(axes)  # excluded rules whose last axis is this one
        for bit, rule in enumerate(excluded):
            self._decided_here[max(rule)] |= 1 << bit
        # The rules that this level or a later one looks at; others need not be told apart.
        self._open = [0] * (len(axes) + 1)
        for level in reversed(range(len(axes))):
            self._open[level] = self._open[level + 1] | self._needed[level] | self._decided_here[level]
        self._tables = tables
        self._tables_here = [
            [number for number, table in enumerate(tables) if level in table.axes]
            for level in range(len(axes))
        ]
        # What is open before any choice.
        self.top: Name = (_mask(True for _ in rules) & self._open[0], tuple(table.top for table in tables))

    def ways(self, level: int, node: Name) -> Iterator[_Way]:
        """The choices at a node, each with what is open after it."""
        rules, states = node
        unnamed = rules & ~self._named_here[level]
        found: list[tuple[int | None, int, float, int]] = [(None, 1, 1.0, unnamed)]
        if rules & self._needed[level] == self._needed[level]:
            found = [
                part
                for run in self._runs[level]
                for part in self._parts(level, states, run, unnamed | rules & run.named_by)
            ]
        for start, length, weight, then in found:
            after = self._after(level, states, start)
            if not then & self._decided_here[level] and FAILS not in after:
                yield start, length, weight, (then & self._open[level + 1], after)

    def _parts(
        self, level: int, states: Sequence[int], run: _Run, then: int
    ) -> Iterator[tuple[int, int, float, int]]:
        """The parts of a run that the tables treat alike."""
        end = run.start + run.length
        tables = self._tables_here[level]
        edges = {edge for number in tables for edge in self._tables[number].edges(states[number])}
        inner = sorted(edge for edge in edges if run.start < edge < end)
        for start, stop in itertools.pairwise([run.start, *inner, end]):
            yield start, stop - start, run.weight * (stop - start) / run.length, then

    def _after(self, level: int, states: tuple[int, ...], option: int | None) -> tuple[int, ...]:
        """The states of the tables after an option, the first of those that they treat alike."""
        changed = list(states)
        for number in self._tables_here[level]:
            changed[number] = self._tables[number].after(states[number], option)
        return tuple(changed)


class Diagram:
    """The product of the axes less every choice for which an excluded rule holds, or a table does not.

    The order is that of itertools.product: the last axis varies fastest. On each level a node stands for
    every beginning after which the same is open, so that its ways on are counted once.
    """

    def __init__(self, axes: Sequence[Axis], excluded: Sequence[Rule], tables: Sequence[Table] = ()) -> None:
        """Raises ValueError if the rules are so entangled that the diagram has too many nodes."""
        rules = _Rules(axes, excluded, tables)
        self._top = rules.top
        levels: list[dict[Name, _Node]] = [{self._top: _Node()}]
        for level in range(len(axes)):
            following: dict[Name, _Node] = {}
            levels.append(following)
            for name in levels[level]:
                following.update((then, _Node()) for *_, then in rules.ways(level, name))
                if sum(map(len, levels)) > MOST_NODES:
                    raise ValueError(
                        "the rules are too entangled to be counted; write fewer, or simpler ones"
                    )
        for end in levels[-1].values():
            end.ends, end.masses = [1], [1.0]
        for level in reversed(range(len(axes))):
            for name, node in levels[level].items():
                _count(node, rules.ways(level, name), levels[level + 1])
        self._levels = levels[:-1]
        self.count = levels[0][self._top].count
        self.mass = levels[0][self._top].mass

    def options(self, index: int) -> list[int | None]:
        """The option on each axis (None: nothing) in choice number `index`, 0 <= index < count."""
        options: list[int | None] = []
        name = self._top
        for nodes in self._levels:
            node = nodes[name]
            which = bisect.bisect_right(node.ends, index)
            choice = node.choices[which]
            index -= node.ends[which - 1] if which else 0
            step, index = divmod(index, choice.each)
            options.append(None if choice.start is None else choice.start + step)
            name = choice.then
        return options

    def index(self, options: Sequence[int | None]) -> int | None:
        """The number of the choice with these options; None if there is none."""
        index, name = 0, self._top
        for nodes, option in zip(self._levels, options, strict=True):
            node = nodes[name]
            for which, choice in enumerate(node.choices):
                before = node.ends[which - 1] if which else 0
                if choice.start is None:
                    step = None if option is not None else 0
                else:
                    step = None if option is None else option - choice.start
                if step is not None and 0 <= step < choice.length:
                    index += before + step * choice.each
                    name = choice.then
                    break
            else:
                return None
        return index

    def draw(self, random: Callable[[], float]) -> list[int | None]:
        """A choice that no rule excludes, drawn by the weights of its options; `mass` must not be 0.

        `random` gives uniform numbers in [0, 1).
        """
        options: list[int | None] = []
        name = self._top
        for nodes in self._levels:
            node = nodes[name]
            which = bisect.bisect_right(node.masses, random() * node.masses[-1], hi=len(node.masses) - 1)
            choice = node.choices[which]
            if choice.start is None:
                options.append(None)
            else:
                options.append(
                    choice.start + int(random() * choice.length) if choice.length > 1 else choice.start
                )
            name = choice.then
        return options


def _count(node: _Node, ways: Iterable[_Way], following: Mapping[Name, _Node]) -> None:
    """Fill in the choices of a node, of which those on the next level are filled in."""
    count, mass = 0, 0.0
    for start, length, weight, then in ways:
        each = following[then].count
        count += length * each
        mass += weight * following[then].mass
        if each:
            node.choices.append(_Choice(start, length, each, then))
            node.ends.append(count)
            node.masses.append(mass)


def _runs(axis: Axis, level: int, rules: Sequence[Rule]) -> Iterator[_Run]:
    """The options of an axis; neighbours that the same rules name are together."""

    def named_by(option: int) -> int:
        return _mask(option in rule.get(level, ()) for rule in rules)

    if axis.weights is not None:
        for option, weight in enumerate(axis.weights):
            yield _Run(option, 1, weight, named_by(option))
        return
    special = sorted(set[int]().union(*(rule.get(level, frozenset()) for rule in rules)))
    edges = sorted({0, *special, *(option + 1 for option in special), axis.length})
    for _, group in itertools.groupby(itertools.pairwise(edges), lambda span: named_by(span[0])):
        spans = list(group)
        start, end = spans[0][0], spans[-1][1]
        yield _Run(start, end - start, (end - start) / axis.length, named_by(start))


def _mask(bits: Iterable[bool]) -> int:
    return sum(1 << bit for bit, is_set in enumerate(bits) if is_set)


def _key(rule: Rule) -> frozenset[tuple[int, frozenset[int]]]:
    return frozenset(rule.items())
