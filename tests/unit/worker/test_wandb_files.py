"""Metaparameters for programs that read wandb.config."""

import dataclasses
import json
from pathlib import Path

from project_directory import ProjectDirectory
from ruamel.yaml import YAML

from framework.configuration.load import load_project
from framework.files import AttemptFiles
from framework.space.values import Value
from framework.worker.wandb_files import write_wandb_files

SWEEP = """\
program: fit.py
method: grid
command: ["${program}", "${args_json_file}"]
parameters: {o: {parameters: {rate: {values: [1.0e-5]}}}, name: {values: ["010"]}}
"""


def test_a_sweep_finds_them_as_wandb_writes_them(directory: ProjectDirectory, tmp_path: Path) -> None:
    (directory.path / "sweep.yaml").write_text(SWEEP)
    (directory.path / "fit.py").touch()
    project = load_project(directory.path)
    files = AttemptFiles(tmp_path / "task/1", "task", 1)
    parameters: dict[str, Value] = {"o.rate": 1e-5, "name": "010", "l": [None, "yes", {"k": True}], "f": 2.0}
    assert write_wandb_files(project, parameters, files) == {
        "WANDB_SWEEP_PARAM_PATH": str(files.wandb_config),
        "WANDB_MODE": "offline",
    }
    nested = {"o": {"rate": 1e-5}, "name": "010", "l": [None, "yes", {"k": True}], "f": 2.0}
    assert json.loads(files.arguments.read_text()) == nested
    # PyYAML, which W&B uses, reads YAML 1.1, and no number without a point.
    assert "rate: 1.0e-05\n" in files.wandb_config.read_text()
    assert YAML(typ="safe", pure=True).load(files.wandb_config) == {
        "wandb_version": 1,
        **{name: {"value": value} for name, value in nested.items()},
    }


def test_other_projects_do_without(directory: ProjectDirectory, tmp_path: Path) -> None:
    files = AttemptFiles(tmp_path / "task/1", "task", 1)
    project = directory.load()
    assert write_wandb_files(project, {"x": 1}, files) == {}
    assert not files.directory.exists(), "its directory says that an attempt has begun"
    reads_config = dataclasses.replace(project, command=("python", "fit.py", "${no_args}"))
    assert "WANDB_SWEEP_PARAM_PATH" in write_wandb_files(reads_config, {"x": 1}, files)
