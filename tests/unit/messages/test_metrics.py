"""Metrics in a line of output, and what is none."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.messages.metrics import Metric, metric_problem, parse_metrics


@pytest.mark.parametrize(
    ("line", "metrics"),
    [
        ("Training: accuracy=0.97, f1=0.96", {"accuracy": 0.97, "f1": 0.96}),
        ("accuracy=0.97", {"accuracy": 0.97}),
        ("a=1,b=2", {"a": 1, "b": 2}),
        ("  loss = 1e-3 , step=+5 \r\n", {"loss": 1e-3, "step": 5}),
        ("Epoch 3/10: loss=.5", {"loss": 0.5}),
        ("2024-01-01 10:00:00 INFO: val/acc@1=50, val.loss-x=5.", {"val/acc@1": 50, "val.loss-x": 5.0}),
        ("x=nan, y=-Inf, z=infinity, w=1e999", {"x": "nan", "y": "-inf", "z": "inf", "w": "inf"}),
        ("status=ok, share=97%", {"status": "ok", "share": "97%"}),
        ("x=1, x=2", {"x": 2}),
    ],
)
def test_a_metrics_line(line: str, metrics: dict[str, Metric]) -> None:
    found = parse_metrics(line)
    assert found == metrics
    assert [type(value) for value in found.values()] == [type(value) for value in metrics.values()]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Training has begun.",
        "use lr=0.1",
        "Training: accuracy=",
        "=1",
        "a==1",
        "a=1, and so on",
        "a=1, b",
        "if x = y then",
        "a=1 b=2",
        "http://example.org/?a=1",
        "Title:a=1",
        "1a=2",
        "a=1,",
        f"{'x' * 300}=1",
        f"x={'y' * 300}",
    ],
)
def test_any_other_line_has_no_metrics(line: str) -> None:
    assert parse_metrics(line) == {}


@given(st.one_of(st.text(), st.text("a1=:, .-e+\0\ud800")))
def test_parsing_never_raises_and_gives_only_metrics(line: str) -> None:
    for name, value in parse_metrics(line).items():
        assert metric_problem(name, value) is None


@pytest.mark.parametrize(
    ("part", "end"),
    [("a", ""), ("a=", ""), ("a=1,", "?"), (": ", "="), ("-", "=1"), (" ", "a=1,"), ("T: ", "a")],
)
def test_the_time_for_a_line_grows_with_its_length_alone(part: str, end: str) -> None:
    line = part * 10**5 + end
    began = time.process_time()
    assert parse_metrics(line) == {}
    assert time.process_time() - began < 5, "with the square of the length it takes minutes"
