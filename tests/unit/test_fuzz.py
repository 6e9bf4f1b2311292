"""tests/run fuzz: each target checks examples, and a finding is shown, and fails."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

FUZZ = Path(__file__).parents[1] / "fuzz"

WITH_FINDING = """
import sys, types
from hypothesis import strategies
sys.path[:0] = [sys.argv[1]]
import fuzz
def check(example):
    raise ValueError(f"found {example}")
sys.modules["projects"] = types.SimpleNamespace(strategy=lambda cases: strategies.integers(5, 9), check=check)
sys.argv[1:] = ["projects", "--examples", "9"]
sys.exit(fuzz.main())
"""


@pytest.mark.parametrize("target", ["projects", "messages", "archives", "hosts", "options"])
def test_a_target_checks_examples(target: str) -> None:
    command = [sys.executable, str(FUZZ / "fuzz.py"), target, "--examples", "5", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "0 findings"), done.stderr
    assert re.search(r"seed 1: [1-5] ", done.stdout)


def test_a_finding_is_shown_and_fails() -> None:
    done = subprocess.run([sys.executable, "-c", WITH_FINDING, FUZZ], capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "1 findings")
    assert "ValueError: found 5" in done.stderr
