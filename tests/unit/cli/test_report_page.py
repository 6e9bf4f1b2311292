"""Command `report`: a page of the results of a local run, or of a directory with results."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from framework.cli.main import main


@pytest.fixture
def project(local_project: Path) -> Path:
    """A project that has run."""
    assert main(["run", local_project.name]) == 1
    return local_project


def content(page: Path) -> dict[str, Any]:
    (text,) = re.findall(r'id="data" data-live="no">(.*?)</script>', page.read_text(), re.DOTALL)
    found: dict[str, Any] = json.loads(text)
    return found


def test_a_project_and_the_directory_of_its_results_are_the_same(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["report", "my project"]) == 0
    page = Path("results/local/my project/report.html")
    assert capsys.readouterr().out == f"{page}\n"
    assert main(["report", str(page.parent), "-o", "own.html"]) == 0
    found = content(page)
    assert content(Path("own.html")) == found
    assert [task["state"] for task in found["tasks"]] == ["done", "done", "failed"]
    assert [task["metrics"]["loss"] for task in found["tasks"]] == [2, 1, 3]
    assert list(found["curves"].values()) == [[6, 1], [7, 2], [8, 3]], "the best one first, then what failed"
    assert "at least 10 tasks" in found["importance_reason"]


def test_what_it_cannot_read_is_said(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = Path("results/local/my project")
    (results / "old").mkdir()
    (results / "old" / "results.csv").touch()
    (results / "broken").mkdir()
    (results / "broken" / "sweep.json").write_text("[")
    (results / "newer").mkdir()
    (results / "newer" / "sweep.json").write_text('{"version": 2}')
    other = project.with_name("other")
    other.mkdir()
    for name in ("project.yml", "parameters.yml"):
        (other / name).write_text((project / name).read_text())
    for arguments, said in (
        (["nowhere"], "nowhere: no such directory"),
        ([str(results / "old")], "has no sweep.json, since an older version has written it"),
        ([str(results / "broken")], "sweep.json: cannot be read"),
        ([str(results / "newer")], "sweep.json: is of another version"),
        (["other"], "other: has no results of local runs in results/local/other"),
        (["my project", "-o", "nowhere/page.html"], "nowhere/page.html: No such file or directory"),
    ):
        capsys.readouterr()
        assert main(["report", *arguments]) == 2
        assert said in capsys.readouterr().err
