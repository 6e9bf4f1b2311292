"""The framework under its other name, which is there whatever `framework` is."""

import subprocess
import sys
from pathlib import Path

import pytest
from attempt_bench import TASK_PATH


@pytest.mark.parametrize("order", ["infrainit, framework", "framework, infrainit"])
@pytest.mark.parametrize("has_own", [True, False])
def test_it_reports_and_leaves_framework_as_it_is(tmp_path: Path, order: str, has_own: bool) -> None:
    if has_own:
        (tmp_path / "framework.py").write_text("def report(**_): print('own')")
    program = f"import {order}; infrainit.report(x=1); framework.report(y=2)"
    found = subprocess.run(
        [sys.executable, "-S", "-c", program],
        cwd=tmp_path, env={"PYTHONPATH": TASK_PATH}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (found.stdout, found.stderr) == (f"report: x=1\n{'own' if has_own else 'report: y=2'}\n", "")
