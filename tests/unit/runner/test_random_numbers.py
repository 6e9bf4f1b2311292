"""Random numbers of calls: their own, unless the import has given a seed."""

import random
import sys
from types import SimpleNamespace

import pytest
from attempt_bench import CallBench

from framework.runner.random_numbers import SeedRecord

pytestmark = pytest.mark.slow

UNSEEDED = {
    "random": "random.random()",
    "drawn from by the import": "random.random()",
    "Random": "MINE.random()",
    "subclass": "SUBCLASS.random()",
    "seeded with nothing": "NOTHING.gauss(0, 1)",
    "numpy": "numpy.random.random()",
    "default_rng": "RNG.random()",
    "its children in a call": "RNG.spawn(1)[0].random()",
    "a child of a sequence": "CHILD.random()",
    "RandomState": "STATE.random()",
    "a number in reserve": "STATE.standard_normal()",
    "a number in reserve of the global one": "numpy.random.standard_normal()",
    "Philox": "PHILOX.random()",
}
SEEDED = {
    "Random": "SEEDED.random()",
    "Random, seeded later": "LATER.random()",
    "setstate": "SET.random()",
    "default_rng": "SEEDED_RNG.random()",
    "as long as one of the operating system": "LONG_RNG.random()",
    "RandomState": "SEEDED_STATE.random()",
}
GENERATORS = """
    import random
    import numpy
    class Own(random.Random):
        def __init__(self):
            super().__init__()
    MINE, SUBCLASS, NOTHING = random.Random(), Own(), random.Random(3)
    NOTHING.seed(None)
    SEEDED, LATER, SET = random.Random(3), random.Random(), random.Random()
    LATER.seed("text")
    SET.setstate(SEEDED.getstate())
    random.shuffle([1, 2, 3])
    RNG, STATE = numpy.random.default_rng(), numpy.random.RandomState()
    STATE.standard_normal(), numpy.random.standard_normal()
    CHILD = numpy.random.default_rng(numpy.random.SeedSequence().spawn(2)[1])
    PHILOX = numpy.random.Generator(numpy.random.Philox())
    SEEDED_RNG, SEEDED_STATE = numpy.random.default_rng(3), numpy.random.RandomState(3)
    LONG_RNG = numpy.random.default_rng(2**127 + 12345)
    def run(expressions):
        return {str(n): eval(each) for n, each in enumerate(expressions.split(";"))}
"""


def test_calls_share_no_random_numbers_unless_the_import_seeds_them(calls: CallBench) -> None:
    pytest.importorskip("numpy")
    calls.write(GENERATORS.replace("str(n)", "f'x{n}'"))
    for expressions, is_shared in ((UNSEEDED, False), (SEEDED, True)):
        first, second = (calls.run(expressions=";".join(expressions.values())) for _ in range(2))
        assert len(first.metrics) == len(expressions)
        found = dict(zip(expressions, first.metrics.items(), strict=True))
        shared = {name: second.metrics[metric] == value for name, (metric, value) in found.items()}
        assert shared == dict.fromkeys(expressions, is_shared)


def test_generators_that_descend_from_one_seed_do_so_in_a_call(calls: CallBench) -> None:
    pytest.importorskip("numpy")
    calls.write("""
        import numpy
        SEQUENCE = numpy.random.SeedSequence()
        A, B = numpy.random.default_rng(SEQUENCE), numpy.random.default_rng(SEQUENCE)
        def run():
            return {"a": A.random(), "b": B.random()}
    """)
    metrics = calls.run().metrics
    assert metrics["a"] == metrics["b"]


@pytest.mark.parametrize(
    ("seed", "number"),
    [("random.seed(0)", "random.random()"),
     ("random.setstate(random.Random(1).getstate())", "random.random()"),
     ("from random import seed; seed(version=2, a=b'x')", "random.random()"),
     ("numpy.random.seed(0)", "numpy.random.random()")],
)  # fmt: skip
def test_a_global_generator_that_the_import_has_seeded(calls: CallBench, seed: str, number: str) -> None:
    pytest.importorskip("numpy")
    calls.write(f"import random, numpy\n{seed}\ndef run(): return {{'x': {number}}}")
    first, second = calls.run().metrics, calls.run().metrics
    assert first == second
    assert first.keys() == {"x"}


def test_the_functions_are_replaced_during_the_import_only() -> None:
    before = (random.Random.seed, random.seed, random.Random.setstate, random.SystemRandom.getrandbits)
    state = random.getstate()
    with SeedRecord() as record:
        random.seed(5)
        assert random.SystemRandom().getrandbits(8) < 256
        kept = random.seed
    after = (random.Random.seed, random.seed, random.Random.setstate, random.SystemRandom.getrandbits)
    assert after == before
    expected = random.random()
    kept()  # is not recorded any more
    random.seed(5)
    for step in record.renewals()[:1]:
        step()
    assert random.random() == expected
    random.setstate(state)


def test_a_generator_of_another_kind_as_the_global_one(calls: CallBench) -> None:
    pytest.importorskip("numpy")
    calls.write("""
        import numpy
        numpy.random.set_bit_generator(numpy.random.PCG64())
        def run(): return {"x": numpy.random.random()}
    """)
    first, second = calls.run(), calls.run()
    assert (first.state, second.state) == ("done", "done")
    assert first.metrics != second.metrics


@pytest.mark.parametrize(("initial", "is_renewed"), [(0, False), (2**32 - 1, False), (2**50, True)])
def test_torch_without_a_seed_is_seeded_anew(
    monkeypatch: pytest.MonkeyPatch, initial: int, is_renewed: bool
) -> None:
    seeded: list[str] = []
    torch = SimpleNamespace(seed=lambda: seeded.append("anew"), initial_seed=lambda: initial)
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.delitem(sys.modules, "numpy.random", raising=False)
    for step in SeedRecord().renewals():
        step()
    assert seeded == (["anew"] if is_renewed else [])
