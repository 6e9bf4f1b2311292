"""Metrics: what is one in a line of output, what is not, and report() in programs."""

import math
import subprocess
import sys
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.messages.metrics import Metric, metric_problem, parse_metrics
from framework.report import report


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


def test_a_long_line_takes_no_time() -> None:
    for line in ("a" * 10**5, "a=" * 10**5, "a=1," * 10**5 + "?", ": " * 10**5 + "=", "-" * 10**5 + "=1"):
        parse_metrics(line)


names = st.from_regex(r"[A-Za-z_]\w{0,20}", fullmatch=True)


@given(st.dictionaries(names, st.integers(-(10**50), 10**50) | st.floats(), min_size=1))
def test_report_is_read_back(metrics: dict[str, Any]) -> None:
    printed: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("builtins.print", lambda line, flush: printed.append(line))
        report(**metrics)
    expected = {
        name: value if isinstance(value, int) or math.isfinite(value) else str(value)
        for name, value in metrics.items()
    }
    assert parse_metrics(printed[0]) == expected


def test_report(capsys: pytest.CaptureFixture[str]) -> None:
    report(accuracy=0.9, epoch=3, state="good", better=True, share=Fraction(1, 4), **{"val/loss": 1e-9})
    assert capsys.readouterr().out == (
        "report: accuracy=0.9, epoch=3, state=good, better=1, share=0.25, val/loss=1e-09\n"
    )


@pytest.mark.parametrize("value", ["a, b=2", "a b", "a=b", "a\nb", "", " a"])
def test_report_refuses_text_that_would_not_be_read_back(value: str) -> None:
    with pytest.raises(ValueError, match="metric x"):
        report(x=value)


def test_report_refuses_other_values_and_names() -> None:
    with pytest.raises(TypeError):
        report(x=[1])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="cannot name"):
        report(**{"a b": 1})
    with pytest.raises(ValueError, match="needs a metric"):
        report()


def test_programs_import_nothing_heavy() -> None:
    program = (
        "import sys; from framework import report; print({'celery', 'ruamel', 'sqlite3'} & {*sys.modules})"
    )
    environment = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)
    assert done.stdout == b"set()\n"
