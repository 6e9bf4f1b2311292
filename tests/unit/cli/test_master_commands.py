"""Commands that read the files of a master: what they say about the results that they show."""

from __future__ import annotations

from pathlib import Path

import pytest

from framework.cli import locations
from framework.cli import main as cli
from framework.configuration.load import load_project
from framework.files import MasterFiles
from framework.journal.provenance import note_program, program_version
from framework.journal.store import Journal
from framework.messages.assignment import AttemptResult


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project that a master runs, with one result of it as it is now."""
    path = tmp_path / "code/v1/project"
    path.mkdir(parents=True)
    (tmp_path / "code/current").symlink_to("v1")
    (tmp_path / "data").mkdir()
    (path / "project.yml").write_text("command: python train.py\nmetric: loss\ngoal: minimize\n")
    (path / "parameters.yml").write_text("x: [1, 2]\n")
    (path / "train.py").touch()
    monkeypatch.setattr(locations, "CODE", tmp_path / "code")
    monkeypatch.setattr(locations, "DATA", tmp_path / "data")
    monkeypatch.setenv("PROJECT", "p")
    monkeypatch.delenv("IMAGE", raising=False)
    project = load_project(path, "p")
    with Journal(MasterFiles(tmp_path / "data").journal) as journal:
        note_program(journal, "v0", program_version(path))
        parameters = project.space.combination(0)
        task = project.task_id(parameters)
        attempt = journal.assign(task, 0, parameters, "a", 1.0)
        result = AttemptResult(
            task, attempt, "a", "done", 1.0, 1.0, 0, "", {"loss": 0.5}, "v0", "", "infra", "p"
        )
        journal.finish(result, final=True)
    return path


@pytest.mark.parametrize("command", ["best", "results"])
def test_outdated_results_are_named_where_results_are_shown(
    code: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert cli.main([command]) == 0
    assert "other files" not in capsys.readouterr().err
    (code / "train.py").write_text("print('loss=1')\n")
    assert cli.main([command]) == 0
    assert (
        "1 of 1 results were made with other files of the project, or in another image: "
        "'./infrainit.sh -f --outdated' runs these again, --fresh runs all again\n"
    ) in capsys.readouterr().err
