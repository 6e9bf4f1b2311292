"""CONTRIBUTING.md: its layout names every module, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()


def named(directory: str) -> list[str]:
    """What the lines below a directory's have in their first column."""
    below = re.search(rf"^    {directory}/ .*\n((?: {{6,}}.*\n)*)", CONTRIBUTING, re.MULTILINE)
    assert below is not None, f"no line for {directory}"
    columns = re.findall(r"^ {6,8}(\w+(?: \w+)*)  ", below[1], re.MULTILINE)
    return [name for names in columns for name in names.split()]


@pytest.mark.parametrize(
    "directory", ["framework", "framework/shell", "tests/hosts", "tests/faults", "tests/benchmarks"]
)
def test_the_layout_names_each_module_once(directory: str) -> None:
    files = [file for file in (ROOT / directory).iterdir() if file.suffix in (".py", ".sh")]
    assert sorted(named(directory)) == sorted(file.stem for file in files if not file.stem.startswith("__"))
