"""Metrics: names, values, numbers, and objects of them."""

import pytest

from framework.messages.metrics import Metric, as_metric, as_number, flat_metrics, metric_problem, read_number

HUGE = 10**400  # larger than all floats


@pytest.mark.parametrize("name", ["accuracy", "val/acc@1", "val accuracy", "1st", "Genauigkeit (größte)"])
def test_a_name(name: str) -> None:
    assert metric_problem(name, 0.5) is None


@pytest.mark.parametrize("name", ["", " a", "a ", "a\nb", "a\0", "x" * 201, "\ud800"])
def test_no_name(name: str) -> None:
    assert "cannot name a metric" in (metric_problem(name, 0.5) or "")


@pytest.mark.parametrize("value", [True, None, [1], {}, float("nan"), float("inf"), "x" * 201])
def test_no_value(value: object) -> None:
    assert (metric_problem("x", value) or "").startswith("metric x: ")


@pytest.mark.parametrize(
    ("value", "metric", "number"),
    [
        (True, 1, None),
        (3, 3, 3.0),
        (HUGE, "inf", float("inf")),
        (-HUGE, "-inf", float("-inf")),
        (float("-inf"), "-inf", float("-inf")),
        ("inf", "inf", float("inf")),
        ("high", "high", None),
        (None, None, None),
    ],
)
def test_a_value_as_a_metric_and_as_a_number(value: object, metric: object, number: float | None) -> None:
    assert as_metric(value) == metric
    assert as_number(value) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("7", 7),
        ("-.5", -0.5),
        ("93%", 0.93),
        ("0.1%", 0.001),
        ("-nan", "nan"),
        ("1e999", "inf"),
        ("-1e999%", None),
    ],
)
def test_a_number_as_text(text: str, number: Metric | None) -> None:
    assert read_number(text) == number


def test_an_object_of_metrics_keeps_what_can_be_kept() -> None:
    content = {"a": 1, "train": {"loss": 0.1, "per": {"class": 2}}, "none": None, "history": [1], "on": True}
    metrics, problems = flat_metrics(content)
    assert metrics == {"a": 1, "train.loss": 0.1, "train.per.class": 2, "on": 1}
    assert problems == [
        "metric none: a value is a number or text, not NoneType",
        "metric history: a value is a number or text, not list",
    ]


def test_an_object_that_is_nested_without_end() -> None:
    content: dict[str, object] = {}
    inner = content
    for _ in range(10_000):
        inner["a"] = {}
        inner = inner["a"]  # type: ignore[assignment]
    inner["a"] = 1
    metrics, problems = flat_metrics(content)
    assert metrics == {}
    assert len(problems) == 1
