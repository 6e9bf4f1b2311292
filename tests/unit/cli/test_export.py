"""Command `export`: what it writes, what it says, and mistakes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from export_bench import write_results

from framework.cli.main import main
from framework.export.sweep_results import SweepResults
from framework.files import SWEEP_FILE


def test_several_targets_at_once_and_what_has_to_be_said(
    results: SweepResults, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, logs = tmp_path / "table.parquet", tmp_path / "logs"
    assert main(["export", str(results.directory), "--parquet", str(table), "--tensorboard", str(logs)]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [f"tensorboard --logdir {logs}", f"pandas.read_parquet('{table}')"]
    without = "3 of 6 tasks: each has no stdout here; of their metrics, only the last values are known"
    assert said.err.splitlines() == [*results.notes(), without]


def test_a_project_with_local_runs_can_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_results(tmp_path / "results/local/p")
    shutil.rmtree(tmp_path / "results/local/p/tasks")
    project = tmp_path / "p"
    project.mkdir()
    (project / "project.yml").write_text("command: run\n")
    (project / "parameters.yml").write_text("x: 1\n")
    monkeypatch.chdir(tmp_path)
    assert main(["export", "p", "--parquet", "table"]) == 0
    assert (tmp_path / "table").exists()


@pytest.mark.slow
def test_mistakes_are_said_in_one_line(
    results: SweepResults, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    directory, file = str(results.directory), str(tmp_path / "file")
    for arguments, code, said in (
        (
            [directory],
            2,
            "export: name at least one of --tensorboard, --mlflow, --optuna, --wandb-offline, --parquet",
        ),
        ([file + "s", "--parquet", file], 2, f"{file}s: no such directory; name a project, or a directory"),
        ([directory, "--tensorboard", file], 1, f"--tensorboard {file}: File exists"),
        ([directory, "--wandb-offline", file], 1, f"--wandb-offline {file}: File exists"),
        ([directory, "--mlflow", file], 1, f"--mlflow {file}: File exists"),
        (
            [directory, "--optuna", directory],
            1,
            f"{directory}: cannot be used as an SQLite file (unable to open",
        ),
        ([directory, "--parquet", directory], 1, f"--parquet {directory}: Is a directory"),
    ):
        capsys.readouterr()
        assert main(["export", *arguments]) == code
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith(said)
    assert (results.directory / SWEEP_FILE).exists()
