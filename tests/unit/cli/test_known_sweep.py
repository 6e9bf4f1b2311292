"""Commands that are asked about local runs of a project, and about a master that is not here."""

from __future__ import annotations

from pathlib import Path

import pytest

from framework.cli import locations
from framework.cli.main import main


@pytest.fixture
def project(local_project: Path) -> str:
    """A project that has not run."""
    return local_project.name


def test_local_runs_are_ranked_and_explained(project: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", project]) == 1
    capsys.readouterr()
    assert main(["best", "1", "--failures", "--project", project]) == 0
    out, err = capsys.readouterr()
    assert [line.split()[:2] for line in out.splitlines()] == [["loss", "x"], ["1", "1"]]
    assert "failed: x=3 on local: exit code 1" in err
    assert "results/local/my project/tasks/" in err
    assert "other files of the project" not in err

    assert main(["explain", "3", "--project", project]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:3] == ["  x=3", "  failed: loss=3"]
    assert lines[3].startswith("  attempt 1 on local: failed after ")
    assert lines[4] == "  to repeat it by hand: python3 run.py --x=3"


def test_edits_since_the_run_are_said_before_the_table(
    project: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", project]) == 1
    with Path(project, "run.py").open("a") as program:
        program.write("# edited\n")
    capsys.readouterr()
    assert main(["best", "--project", project]) == 0
    assert "2 of 2 results were made with other files of the project" in capsys.readouterr().err


def test_a_project_that_was_never_run_is_an_error(project: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "1", "--project", project]) == 2
    assert capsys.readouterr().err == (
        "my project: no local run of it in results/local/my project; "
        "first: python -m framework run 'my project'\n"
    )


@pytest.mark.parametrize("command", [["explain", "1"], ["best"], ["results"]])
def test_without_a_master_it_says_whom_to_ask(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(locations, "DATA", tmp_path / "data")
    assert main(command) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "./check_celery_status.sh" in line
    assert "--project" in line
