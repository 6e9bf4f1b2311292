"""Methods: the combinations that run and their order, by index and the same in every process."""

import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.space.distributions import Categorical, Distribution, Normal, Quantized, Uniform
from framework.space.product import Combinations, Space
from framework.space.sampling import Method, permuted
from framework.space.values import canonical


def texts(combinations: Combinations) -> list[str]:
    return [canonical(combination) for combination in combinations]


@given(st.integers(1, 300), st.integers(0, 2**64))
def test_a_permutation_takes_each_number_to_another(count: int, seed: int) -> None:
    assert sorted(permuted(index, count, seed) for index in range(count)) == list(range(count))


@given(st.integers(2, 10**60).flatmap(lambda count: st.tuples(st.just(count), st.integers(0, count - 1))))
def test_a_permutation_of_any_size_stays_within_it(case: tuple[int, int]) -> None:
    count, index = case
    assert 0 <= permuted(index, count, 7) < count


def test_random_runs_each_combination_once_in_an_order_of_its_own() -> None:
    space = Space({"a": range(20), "b": ["x", "y", "z"]}, excluded=[{"a": [3], "b": ["y"]}])
    chosen = Method("random").choose(space)
    assert chosen.count == space.count == 59
    assert texts(chosen) != texts(space)
    assert sorted(texts(chosen)) == sorted(texts(space))
    assert texts(Method("random", seed=1).choose(space)) != texts(chosen)


def test_a_larger_cap_only_adds() -> None:
    space = Space({"a": range(20), "lr": Uniform(0, 1)})
    for searched in (space, Space({"a": range(200)})):
        few, many = (texts(Method("random", cap).choose(searched)) for cap in (10, 30))
        assert len(few) == 10
        assert len(many) == 30
        assert many[:10] == few


def test_a_grid_is_cut_off_at_its_cap() -> None:
    space = Space({"a": range(10**9)})
    assert [each["a"] for each in Method("grid", 3).choose(space)] == [0, 1, 2]
    assert Method("grid", 5).choose(Space({"a": [1, 2]})).count == 2
    with pytest.raises(IndexError):
        Method("grid", 3).choose(space).combination(3)


@pytest.mark.parametrize("name", ["tpe", "bayes"])
def test_an_adaptive_method_has_no_combinations_in_advance(name: str) -> None:
    chosen = Method(name, 5).choose(Space({"a": [1, 2], "b": ["x"]}))
    assert (chosen.names, chosen.count, list(chosen)) == (("a", "b"), 0, [])
    with pytest.raises(IndexError):
        chosen.combination(0)


def test_draws_are_the_same_in_every_process_and_by_index() -> None:
    program = (
        "from framework.space.distributions import *; from framework.space.sampling import Method\n"
        "from framework.space.product import Space\n"
        "chosen = Method('random', 100, 5).choose(Space({'lr': Uniform(0, 1), 'k': ['a', 'b', 'c']}))\n"
        "print(chosen.combination(77))"
    )
    chosen = Method("random", 100, 5).choose(Space({"lr": Uniform(0, 1), "k": ["a", "b", "c"]}))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(chosen.combination(77))
    assert len(set(texts(chosen))) == 100
    assert {each["k"] for each in chosen} == {"a", "b", "c"}


@pytest.mark.parametrize(
    "distribution",
    [Categorical((1, 2, 3), (0.9, 0.05, 0.05)), Quantized(Normal(0, 10), 5), Quantized(Uniform(0, 4), 1)],
    ids=repr,
)
def test_a_draw_that_repeats_another_is_no_task_of_its_own(distribution: Distribution) -> None:
    chosen = Method("random", 200).choose(Space({"x": distribution, "y": [True, False]}))
    assert 3 < chosen.count < 60
    assert len(set(texts(chosen))) == chosen.count == len(list(chosen))


def test_draws_that_repeat_are_drawn_anew() -> None:
    space = Space({"k": ["a", "b"], "lr": Uniform(0, 1)}, conditions={"lr": {"k": ["b"]}})
    chosen = Method("random", 40).choose(space)
    kinds = Counter(each["k"] for each in chosen)
    assert kinds == {"a": 1, "b": 39}
    assert len(set(texts(chosen))) == chosen.count == 40
    fewer = Method("random", 10).choose(space)
    assert texts(chosen)[:10] == texts(fewer), "a larger run_cap keeps those that there are"


def test_what_is_included_comes_before_the_draws_and_is_not_drawn_again() -> None:
    space = Space({"x": Categorical(("a", "b"), (0.5, 0.5))}).including([{"x": "b"}])
    assert list(Method("random", 20).choose(space)) == [{"x": "b"}, {"x": "a"}]


def test_draws_follow_the_rules_and_the_probabilities_of_what_is_left() -> None:
    space = Space(
        {"k": Categorical(("a", "b", "c"), (0.5, 0.25, 0.25)), "lr": Uniform(0, 1), "d": [1, 2, 3, 4]},
        conditions={"d": {"k": ["b"]}},
        excluded=[{"k": ["a"]}, {"k": ["b"], "d": [1, 2]}],
    )
    chosen = list(Method("random", 2000).choose(space))
    kinds = Counter((each["k"], each.get("d")) for each in chosen)
    assert kinds.keys() == {("b", 3), ("b", 4), ("c", None)}
    # of the probability 0.25 of each, half of b's is excluded
    assert kinds["c", None] / len(chosen) == pytest.approx(2 / 3, abs=0.05)
    assert kinds["b", 3] / len(chosen) == pytest.approx(1 / 6, abs=0.05)


@given(st.integers(1, 4), st.sampled_from(["grid", "random"]), st.integers(1, 40))
def test_each_combination_has_all_seeds(seeds: int, name: str, cap: int) -> None:
    space = Space({"x": range(7)}, seeds=seeds)
    chosen = Method(name, cap).choose(space)
    assert chosen.names == ("x", "seed")
    assert chosen.count == min(7 * seeds, cap)
    found = list(chosen)
    assert [each["seed"] for each in found] == [number % seeds for number in range(chosen.count)]
    assert all(count == seeds for count in list(Counter(each["x"] for each in found).values())[:-1])
