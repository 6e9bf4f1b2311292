"""report(): what it prints is read back, and what cannot be reported is refused."""

import math
import subprocess
import sys
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.messages.metric_lines import parse_metrics
from framework.report import report

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


def test_names_with_spaces_and_numbers_beyond_floats_are_read_back(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report(x=10**5000, **{"val accuracy": 0.5, "Größe": float("nan"), "huge one": -(10**400)})
    lines = capsys.readouterr().out.splitlines()
    found = {name: value for line in lines for name, value in parse_metrics(line).items()}
    assert found == {"x": "inf", "val accuracy": 0.5, "Größe": "nan", "huge one": "-inf"}


@pytest.mark.parametrize("value", ["a, b=2", "a b", "a=b", "a\nb", "", " a"])
def test_report_refuses_text_that_would_not_be_read_back(value: str) -> None:
    with pytest.raises(ValueError, match="metric x"):
        report(x=value)


def test_report_refuses_other_values_and_names() -> None:
    with pytest.raises(TypeError):
        report(x=[1])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="cannot name"):
        report(**{"a\nb": 1})
    with pytest.raises(ValueError, match="text needs a name"):
        report(**{"a b": "good"})
    with pytest.raises(ValueError, match="needs a metric"):
        report()


def test_programs_import_nothing_heavy() -> None:
    program = (
        "import sys; from framework import report; print({'celery', 'ruamel', 'sqlite3'} & {*sys.modules})"
    )
    environment = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)
    assert done.stdout == b"set()\n"
