"""Rules on a product: they leave what brute force leaves, and cost little however large it is."""

import itertools
import random
import tracemalloc
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.space.constraints import Axis, Diagram
from framework.space.product import Space
from framework.space.values import Value, canonical


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


AXES = [
    Axis(3, {}, (0.5, 0.25, 0.25)),
    Axis(1000, {0: frozenset({1, 2})}),
    Axis(2, {}),
]
EXCLUDED = [{0: frozenset({1}), 2: frozenset({0})}, {1: frozenset({3, 4, 999})}]


def test_choices_are_numbered_with_nothing_where_a_condition_does_not_hold() -> None:
    diagram = Diagram(AXES, EXCLUDED)
    assert diagram.count == 2 + 997 + 2 * 997
    assert [diagram.options(index) for index in (0, 1, 2, 5, 998, 999, diagram.count - 1)] == [
        [0, None, 0], [0, None, 1], [1, 0, 1], [1, 5, 1], [1, 998, 1], [2, 0, 0], [2, 998, 1],
    ]  # fmt: skip
    assert all(diagram.index(diagram.options(index)) == index for index in range(diagram.count))


@pytest.mark.parametrize(
    "options",
    [
        [1, 0, 0],
        [1, 3, 1],
        [2, 999, 0],
        [0, 0, 0],
        [1, None, 1],
        [2, 1000, 0],
        [3, 0, 0],
        [2, -1, 0],
        [None, 0, 0],
    ],
)
def test_a_choice_that_is_not_there_has_no_number(options: list[int | None]) -> None:
    assert Diagram(AXES, EXCLUDED).index(options) is None


def test_the_mass_is_the_share_of_draws_that_no_rule_excludes() -> None:
    assert Diagram(AXES, EXCLUDED).mass == pytest.approx(0.5 + 0.25 * 0.997 / 2 + 0.25 * 0.997)
    assert Diagram(AXES, []).mass == pytest.approx(1)
    assert Diagram([Axis(2, {}, (1, 0))], [{0: frozenset({0})}]).mass == 0


def test_draws_choose_each_choice_as_often_as_its_weights_say() -> None:
    diagram = Diagram(AXES, EXCLUDED)
    drawn = [diagram.draw(random.Random(number).random) for number in range(4000)]
    assert all(diagram.index(options) is not None for options in drawn)
    counts = Counter((options[0], options[2]) for options in drawn)
    for kind, share in {(0, 0): 0.25, (0, 1): 0.25, (1, 1): 0.125, (2, 0): 0.125, (2, 1): 0.125}.items():
        assert counts.pop(kind) / 4000 == pytest.approx(share / 0.875, abs=0.03)
    assert not counts
    assert diagram.draw(lambda: 0.0) == [0, None, 0]
    assert diagram.draw(lambda: 1 - 2**-53) == [2, 998, 1]
