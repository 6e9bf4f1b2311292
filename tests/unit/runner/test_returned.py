"""What functions return: metrics, and remarks on what is none."""

from collections import UserDict
from collections.abc import AsyncIterator, Iterator
from fractions import Fraction

import pytest
from attempt_bench import CallBench

from framework.messages.metrics import Metric
from framework.runner.returned import metrics_in


class Index:
    def __index__(self) -> int:
        return 3


class Tensor:
    """One of torch or numpy with a single element."""

    def item(self) -> float:
        return 0.5


@pytest.mark.parametrize(
    ("returned", "metrics"),
    [
        (None, {}),
        ({}, {}),
        (
            {"a": True, "b": -3, "c": "text", "d": float("nan"), "e": 2.5},
            {"a": 1, "b": -3, "c": "text", "d": "nan", "e": 2.5},
        ),
        ({"a": Fraction(1, 2), "b": Index(), "c": Tensor()}, {"a": 0.5, "b": 3, "c": 0.5}),
        ({"large": 10**400, "small": -(10**400)}, {"large": "inf", "small": "-inf"}),
        (UserDict(a=1), {"a": 1}),
        ({"train": {"loss": 1, "of": {"a": 2, 0: 3}}}, {"train.loss": 1, "train.of.a": 2, "train.of.0": 3}),
    ],
)  # fmt: skip
def test_metrics(returned: object, metrics: dict[str, Metric]) -> None:
    found, remarks = metrics_in(returned, "train:run")
    assert (found, remarks) == (metrics, [])
    assert [type(value) for value in found.values()] == [type(value) for value in metrics.values()]


@pytest.mark.parametrize(
    ("returned", "remark"),
    [
        ({"good": 1, "a": [1]}, "metric a: a value is a number or text, not list"),
        (
            {"good": 1, "a": None, "b": []},
            "metric a: a value is a number or text, not NoneType (and 1 more)",
        ),
        ({"good": 1, "a": b"1"}, "metric a: a value is a number or text, not bytes"),
        ({"a": {"b": (1, 2)}, "good": 1}, "metric a.b: a value is a number or text, not tuple"),
        ({"good": 1, "a": "x" * 300}, "metric a: a text of 300 characters, more than 200"),
    ],
)  # fmt: skip
def test_what_is_no_metric_is_left_out_with_a_remark(returned: object, remark: str) -> None:
    assert metrics_in(returned, "train:run") == (
        {"good": 1}, [f"train:run returned what is no metric: {remark}"],
    )  # fmt: skip


@pytest.mark.parametrize(("returned", "kind"), [(0.5, "float"), ([("a", 1)], "list"), ((1, 2), "tuple")])
def test_what_is_no_mapping(returned: object, kind: str) -> None:
    assert metrics_in(returned, "train:run") == (
        {}, [f'train:run returned {kind}, which is no metric; return a mapping, as in {{"loss": 0.1}}'],
    )  # fmt: skip


def test_a_mapping_that_holds_itself_has_an_end() -> None:
    itself: dict[str, object] = {"good": 1}
    itself["a"] = itself
    metrics, remarks = metrics_in(itself, "train:run")
    assert metrics["good"] == 1
    assert len(remarks) == 1


def test_functions_that_have_not_run() -> None:
    def generator() -> Iterator[int]:
        yield 1

    async def coroutine() -> None: ...

    async def both() -> AsyncIterator[int]:
        yield 1

    for returned, problem in ((generator(), "yield"), (coroutine(), "async"), (both(), "yield")):
        with pytest.raises(TypeError, match=f"^train:run has not run: it .*{problem}"):
            metrics_in(returned, "train:run")


def test_a_call_keeps_what_can_be_kept(calls: CallBench) -> None:
    calls.write("""
        def run(kind):
            print("printed=1")
            return {"good": {"b": 2, "c": [1]}, "none": 0.5}[kind]
    """)
    found = calls.run(kind="good")
    assert (found.state, found.exit_code, found.metrics) == ("done", 0, {"printed": 1, "b": 2})
    assert found.reason == (
        "train:run returned what is no metric: metric c: a value is a number or text, not list"
    )
    assert calls.run(kind="none").reason.startswith("train:run returned float, which is no metric")


def test_a_call_whose_function_has_not_run_has_failed(calls: CallBench) -> None:
    calls.write("""
        def run():
            yield 1
    """)
    found = calls.run()
    assert (found.state, found.exit_code) == ("failed", 1)
    assert found.reason.startswith("exit code 1: train:run has not run: it contains yield")
