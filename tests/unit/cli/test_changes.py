"""What pushed code changes in a sweep."""

from __future__ import annotations

import re

import pytest
from master_bench import Bench

from framework.cli import changes, locations
from framework.cli import main as cli


@pytest.fixture
def swept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A sweep over x=[1, 2, 3, 4] that has ended; its files are where the commands expect them."""
    monkeypatch.setattr(locations, "DATA", bench.files.path)
    monkeypatch.setattr(locations, "CODE", bench.path / "code")
    monkeypatch.setenv("PROJECT", "p")
    bench.run_to_the_end()
    return bench


def said(capsys: pytest.CaptureFixture[str], version: str) -> list[str]:
    assert cli.main(["changes", version]) == 0
    return [re.sub(r" with \d+ at a time.*", "", line) for line in capsys.readouterr().out.splitlines()]


def test_new_combinations_are_counted_and_those_that_are_gone(
    swept: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    swept.write_project(x="[2, 3, 4, 5, 6]", version="v2")
    assert said(capsys, "v1") == [
        "2 new combinations will run; not in the sweep any more: 1",
        "3 done, 0 failed; 2 to run",
    ]
    swept.write_project(x="[1, 2, 3, 4]", version="v3")
    assert said(capsys, "v2") == [
        "no new combinations will run; not in the sweep any more: 2",
        "4 done, 0 failed; 0 to run",
    ], "x=1 is done"
    swept.write_project(x="[1, 2, 3, 4, 7]", version="v4")
    assert said(capsys, "v3")[0] == "1 new combination will run"


def test_results_of_other_files_are_outdated(swept: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    swept.write_project(x="[1, 2, 3, 4]", version="v2")
    (swept.path / "code/v2/project/train.py").touch()
    first, standing, outdated = said(capsys, "v1")
    assert (first, standing) == ("no new combinations will run", "4 done, 0 failed; 0 to run")
    assert outdated.startswith("4 of 4 results were made with other files of the project")


@pytest.mark.parametrize("case", ["gone", "many", "adaptive"])
def test_what_is_not_compared_is_counted_all_the_same(
    swept: Bench, capsys: pytest.CaptureFixture[str], case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "MOST_COMPARED", 8 if case == "many" else 100)
    more = "method: tpe\nrun_cap: 3\n" if case == "adaptive" else ""
    swept.write_project(x="[1, 2, 3, 4, 5]", version="v2", more=more)
    (line,) = said(capsys, "v0" if case == "gone" else "v1")
    assert "to run" in line
