"""Sampling methods: grid, random, adaptive."""

from __future__ import annotations

import hashlib
import random
from array import array
from dataclasses import dataclass
from functools import cached_property

from framework.space.distributions import Distribution
from framework.space.product import Combinations, Space
from framework.space.values import Value, canonical

METHODS = ("grid", "random", "tpe", "bayes")
SEED = "seed"  # the metaparameter that `seeds:` adds
_MOST_REPEATS = 1000  # draws in a row that repeat earlier ones: then hardly any new one is left


@dataclass(frozen=True)
class Method:
    """The method that makes a sweep of a space."""

    name: str = "grid"  # one of METHODS
    run_cap: int | None = None  # the largest number of tasks; None: no limit, where there are finitely many
    seed: int = 0  # seed of everything random

    @property
    def is_adaptive(self) -> bool:
        """True if each combination is made from the results so far: TPE, which W&B's `bayes` means too."""
        return self.name in ("tpe", "bayes")

    def choose(self, space: Space) -> Combinations:
        """The combinations of the space that run, as far as they are known in advance."""
        if self.is_adaptive:
            return NoneYet(space)
        chosen: Combinations = space
        if self.name == "random" and space.is_finite:
            chosen = Shuffled(space, self.seed)
        elif self.name == "random":
            chosen = Draws(space, self.run_cap or 0, self.seed)
        if space.seeds is not None:
            chosen = WithSeeds(chosen, space.seeds)
        return chosen if self.run_cap is None else First(chosen, self.run_cap)


class NoneYet(Combinations):
    """No combinations: those of an adaptive sweep are not known in advance."""

    count = 0

    def __init__(self, space: Space) -> None:
        self.names = space.names

    def combination(self, index: int) -> dict[str, Value]:
        raise IndexError(f"combination {index} is not known yet")


class First(Combinations):
    """The first of other combinations, at most `most`."""

    def __init__(self, combinations: Combinations, most: int) -> None:
        self.names = combinations.names
        self._combinations = combinations
        self._most = most

    @property
    def count(self) -> int:
        return min(self._combinations.count, self._most)

    def combination(self, index: int) -> dict[str, Value]:
        self._check(index)
        return self._combinations.combination(index)


class WithSeeds(Combinations):
    """Each of other combinations with every seed from 0 to seeds - 1; the seed varies fastest."""

    def __init__(self, combinations: Combinations, seeds: int) -> None:
        self.names = (*combinations.names, SEED)
        self._combinations = combinations
        self._seeds = seeds

    @property
    def count(self) -> int:
        return self._combinations.count * self._seeds

    def combination(self, index: int) -> dict[str, Value]:
        self._check(index)
        number, seed = divmod(index, self._seeds)
        return {**self._combinations.combination(number), SEED: seed}


class Shuffled(Combinations):
    """All of other combinations, each once, in a random order that depends on the seed alone."""

    def __init__(self, combinations: Combinations, seed: int) -> None:
        self.names = combinations.names
        self._combinations = combinations
        self._seed = seed

    @property
    def count(self) -> int:
        return self._combinations.count

    def combination(self, index: int) -> dict[str, Value]:
        self._check(index)
        return self._combinations.combination(permuted(index, self.count, self._seed))


class Draws(Combinations):
    """The included combinations of a space, then draws from it; what repeats an earlier one is drawn anew.

    Draw n depends on the seed and n alone, so that more draws change no earlier one. Where every draw has a
    value from a continuous distribution none repeats; elsewhere the numbers of the new ones are kept: 8 bytes
    for each draw. There are fewer than `draws` if the space has hardly anything new left.
    """

    def __init__(self, space: Space, draws: int, seed: int) -> None:
        self.names = space.names
        self._space = space
        self._draws = draws
        self._seed = seed

    @property
    def count(self) -> int:
        return len(self._space.included) + (self._draws if self._kept is None else len(self._kept))

    def combination(self, index: int) -> dict[str, Value]:
        self._check(index)
        included = self._space.included
        if index < len(included):
            return dict(included[index])
        number = index - len(included)
        return self._draw(number if self._kept is None else self._kept[number])

    @cached_property
    def _kept(self) -> array[int] | None:
        """The numbers of the draws that repeat no earlier one; None: the first draws, all of them."""
        if any(
            isinstance(each, Distribution) and each.is_continuous and name not in self._space.conditions
            for name, each in self._space.dimensions.items()
        ):
            return None
        seen = {canonical(each) for each in self._space.included}
        kept = array("Q")
        number = repeats = 0
        while len(kept) < self._draws and repeats < _MOST_REPEATS:
            drawn = canonical(self._draw(number))
            repeats = repeats + 1 if drawn in seen else 0
            if drawn not in seen:
                seen.add(drawn)
                kept.append(number)
            number += 1
        return kept

    def _draw(self, number: int) -> dict[str, Value]:
        return self._space.draw(random.Random(f"{self._seed}/{number}").random)


def permuted(index: int, count: int, seed: int) -> int:
    """The number that a pseudo-random permutation of range(count) takes `index` to; needs no table.

    A Feistel network of six rounds on the smallest even number of bits; a number outside of the range goes
    through it again (Black and Rogaway, Ciphers with Arbitrary Finite Domains, 2002).
    """
    half = ((count - 1).bit_length() + 1) // 2
    while True:
        left, right = index >> half, index & ((1 << half) - 1)
        for turn in range(6):
            digest = hashlib.shake_256(f"{seed}/{turn}/{right}".encode()).digest(half // 8 + 1)
            left, right = right, left ^ (int.from_bytes(digest, "big") & ((1 << half) - 1))
        index = left << half | right
        if index < count:
            return index
