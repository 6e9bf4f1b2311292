"""Random numbers of calls: each has its own, unless the import has given a seed."""

from __future__ import annotations

import functools
import gc
import random
import sys
from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

_LARGEST_PLAIN_SEED = 2**32  # torch draws 53 bits where no seed is given


class SeedRecord:
    """Record of the generators that are seeded while a module is imported, as a context around the import.

    A state does not tell whether a seed was given. So the functions that seed generators are replaced by
    functions that record it, until the import has ended. Generators of numpy keep the number that they were
    seeded with: it was not given if it came from the operating system.
    """

    def __init__(self) -> None:
        self._is_recording = False
        self._unseeded: WeakValueDictionary[int, random.Random] = WeakValueDictionary()  # by id()
        self._drawn: set[int] = set()  # what the operating system was asked for
        self._plain = random.Random.seed
        self._global: random.Random = random.seed.__self__  # type: ignore[attr-defined]
        self._note(self._global, is_given=False)
        self._replaced: list[tuple[Any, str, Any, Any]] = []

    def __enter__(self) -> SeedRecord:
        self._is_recording = True
        system = random.SystemRandom.getrandbits

        @functools.wraps(system)
        def getrandbits(generator: random.SystemRandom, bits: int) -> int:
            number = system(generator, bits)
            if self._is_recording:  # numpy keeps this function
                self._drawn.add(number)
            return number

        self._replace(random.SystemRandom, "getrandbits", getrandbits)
        for name in ("seed", "setstate"):
            self._replace(random.Random, name, self._recording(getattr(random.Random, name)))
            self._replace(random, name, functools.partial(getattr(random.Random, name), self._global))
        return self

    def __exit__(self, *_: object) -> None:
        self._is_recording = False
        for owner, name, plain, recording in self._replaced:
            if owner.__dict__.get(name) is recording:  # the import has not replaced it, too
                setattr(owner, name, plain)

    def renewals(self) -> list[Callable[[], object]]:
        """Return the steps after which a call draws the numbers that it would draw without the fork.

        A generator that the import has seeded gives the same numbers in each call; all others give each call
        its own.
        """
        steps: list[Callable[[], object]] = [
            functools.partial(self._plain, generator) for generator in self._unseeded.values()
        ]
        if id(self._global) not in self._unseeded:  # Python seeds it anew in each fork
            steps.append(functools.partial(self._global.setstate, self._global.getstate()))
        return [*steps, *_numpy_renewals(self._drawn), *_torch_renewals()]

    def _replace(self, owner: Any, name: str, recording: Callable[..., object]) -> None:
        self._replaced.append((owner, name, owner.__dict__[name], recording))
        setattr(owner, name, recording)

    def _recording(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        """Return a replacement of the method Random.seed or Random.setstate."""

        @functools.wraps(plain)
        def record(generator: random.Random, *arguments: Any, **named: Any) -> Any:
            result = plain(generator, *arguments, **named)
            if self._is_recording:
                given = arguments[0] if arguments else named.get("a", named.get("state"))
                self._note(generator, is_given=given is not None)
            return result

        return record

    def _note(self, generator: random.Random, is_given: bool) -> None:
        if is_given:
            self._unseeded.pop(id(generator), None)
        else:
            self._unseeded[id(generator)] = generator


def _numpy_renewals(drawn: set[int]) -> list[Callable[[], object]]:
    """Steps for numpy: its global generator, and all others that the import has made."""
    numpy: Any = sys.modules.get("numpy.random")
    if numpy is None:
        return []
    objects = gc.get_objects()
    sources = [each for each in objects if issubclass(type(each), numpy.BitGenerator)]
    unseeded = {id(each): each for each in sources if _entropy(each) in drawn}
    states = [
        each
        for each in objects
        if issubclass(type(each), numpy.RandomState) and id(each._bit_generator) in unseeded
    ]
    return [functools.partial(_renew, list(unseeded.values()), states)] if unseeded else []


def _seed_sequence(bit_generator: Any) -> Any:
    """The seed of a bit generator; None for one that was seeded by seed(). Public since numpy 1.25."""
    return getattr(bit_generator, "seed_seq", None) or getattr(bit_generator, "_seed_seq", None)


def _entropy(bit_generator: Any) -> int | None:
    entropy = getattr(_seed_sequence(bit_generator), "entropy", None)
    return entropy if isinstance(entropy, int) else None


def _renew(bit_generators: list[Any], states: list[Any]) -> None:
    """Seed bit generators anew; those that descend from one seed do so afterwards.

    `states` are the instances of RandomState that use them: they may hold a number that was drawn before.
    """
    system = random.SystemRandom()
    fresh: dict[int, int] = {}
    for each in bit_generators:
        old = _seed_sequence(each)
        entropy = fresh.setdefault(old.entropy, system.getrandbits(128))
        seed = type(old)(
            entropy,
            spawn_key=old.spawn_key,
            pool_size=old.pool_size,
            n_children_spawned=old.n_children_spawned,
        )
        each.__setstate__(type(each)(seed).__reduce__()[2])  # the state, and the seed that spawn() uses
    for each in states:
        each.set_state({**each.get_state(legacy=False), "has_gauss": 0, "gauss": 0.0})


def _torch_renewals() -> list[Callable[[], object]]:
    torch: Any = sys.modules.get("torch")
    initial_seed = getattr(torch, "initial_seed", None)
    return [torch.seed] if initial_seed is not None and initial_seed() >= _LARGEST_PLAIN_SEED else []
