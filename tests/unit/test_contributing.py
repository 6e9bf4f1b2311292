"""CONTRIBUTING.md: its map of the packages is made of their docstrings, and each module has a test.

`python tests/unit/test_contributing.py` writes the map anew.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
FRAMEWORK = ROOT / "framework"
BEGIN, END = "<!-- packages -->\n", "<!-- /packages -->\n"
LONGEST_LINE = 120


def packages() -> list[Path]:
    return sorted(path.parent for path in FRAMEWORK.glob("*/__init__.py"))


def modules(package: Path) -> list[Path]:
    return sorted(file for file in package.glob("*.py") if not file.stem.startswith("__"))


def purpose(file: Path) -> str:
    """The first sentence of a module's docstring."""
    docstring = ast.get_docstring(ast.parse(file.read_text()))
    assert docstring, f"{file}: no docstring"
    return docstring.partition("\n")[0].removesuffix(".")


def map_of_packages() -> Iterator[str]:
    yield "    framework/"
    for file in modules(FRAMEWORK):
        yield f"      {file.stem:<26} {purpose(file)}"
    for package in packages():
        yield f"    framework/{package.name + '/':<18}{purpose(package / '__init__.py')}"
        for file in modules(package):
            yield f"      {file.stem:<26} {purpose(file)}"


def file_of_tests(module: Path) -> Path:
    return ROOT / "tests/unit" / module.parent.relative_to(FRAMEWORK) / f"test_{module.stem}.py"


def named(directory: str) -> list[str]:
    """What the lines below a directory's have in their first column."""
    below = re.search(rf"^    {directory}/ .*\n((?: {{6,}}.*\n)*)", CONTRIBUTING.read_text(), re.MULTILINE)
    assert below is not None, f"no line for {directory}"
    columns = re.findall(r"^ {6,8}(\w+(?: \w+)*)  ", below[1], re.MULTILINE)
    return [name for names in columns for name in names.split()]


def test_the_map_of_the_packages_is_that_of_their_docstrings() -> None:
    _, _, text = CONTRIBUTING.read_text().partition(BEGIN)
    assert text.partition(END)[0].strip("\n").splitlines() == list(map_of_packages()), (
        "run: python tests/unit/test_contributing.py"
    )


@pytest.mark.parametrize("line", list(map_of_packages()))
def test_a_purpose_is_one_short_statement(line: str) -> None:
    assert len(line) <= LONGEST_LINE
    assert not re.search(r"\?|\b(What|Which|Who|How|Why)\b", line), "a docstring says what a module is for"


@pytest.mark.parametrize("directory", ["framework/shell", "tests/hosts", "tests/faults", "tests/benchmarks"])
def test_the_layout_names_each_module_once(directory: str) -> None:
    files = [file for file in (ROOT / directory).iterdir() if file.suffix in (".py", ".sh")]
    assert sorted(named(directory)) == sorted(file.stem for file in files if not file.stem.startswith("__"))


def test_each_module_has_a_test_of_its_name_or_contributing_says_whose_test_covers_it() -> None:
    said = dict(re.findall(r"^- `([\w/]+)`: (.+)$", CONTRIBUTING.read_text(), re.MULTILINE))
    every = [module for package in (FRAMEWORK, *packages()) for module in modules(package)]
    without = {
        str(module.relative_to(FRAMEWORK).with_suffix(""))
        for module in every
        if not file_of_tests(module).exists()
    }
    assert without == said.keys()
    for test in (test for tests in said.values() for test in re.findall(r"`(tests/[\w/.]+)`", tests)):
        assert (ROOT / test).exists(), test
    assert all("`tests/" in tests for tests in said.values())


def test_each_test_is_of_a_module() -> None:
    directories = {package.name for package in packages()}
    assert {path.name for path in (ROOT / "tests/unit").iterdir() if path.is_dir()} - {
        "__pycache__"
    } <= directories


if __name__ == "__main__":
    before, _, rest = CONTRIBUTING.read_text().partition(BEGIN)
    CONTRIBUTING.write_text(
        before + BEGIN + "\n" + "\n".join(map_of_packages()) + "\n\n" + END + rest.partition(END)[2]
    )
