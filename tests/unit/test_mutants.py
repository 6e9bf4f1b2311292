"""tests/mutants: every mutant can be applied to the code as it is now."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def mutants() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mutants", CHECKOUT / "tests/mutants/mutants.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["mutants"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_mutant_changes_a_line_that_is_there_and_names_a_test_that_is_there(mutants: ModuleType) -> None:
    listed = mutants.read_lists()
    of_shell = [mutant for mutant in listed if ".sh" in mutant.file]
    assert len(of_shell) >= 50
    assert len(listed) - len(of_shell) >= 150
    assert sum(mutant.equivalent for mutant in listed) <= len(listed) / 10


def test_what_is_wrong_with_a_list_is_said(mutants: ModuleType, tmp_path: Path) -> None:
    text = "a.py\n- one\n+ two\ntest_a.py::test"
    (mutant,) = read(mutants, tmp_path, text)
    assert mutant.apply("zero\n  one\n") == "zero\n  two\n"
    with pytest.raises(ValueError, match=r"list:1: a\.py has this 2 times: one"):
        mutant.apply("one\n one\n")
    with pytest.raises(ValueError, match=r"list:6: no mutant: its file, lines with -, as many with \+"):
        read(mutants, tmp_path, f"{text}\n\na.py\n- one\ntest_a.py::test")
    (mutant,) = read(mutants, tmp_path, "a.py\n- one\n- two\n+ one\n+ three\n= nobody sees it")
    assert mutant.apply("two\none\n  two") == "two\none\n  three"
    assert mutant.equivalent


def read(mutants: ModuleType, directory: Path, text: str) -> list[Any]:
    (directory / "list").write_text(text)
    return list(mutants.read_list(directory / "list"))
