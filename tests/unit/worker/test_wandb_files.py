"""Metaparameters for programs that read wandb.config."""

import dataclasses
import json
from pathlib import Path

from project_directory import ProjectDirectory
from ruamel.yaml import YAML

from framework.configuration.load import load_project
from framework.files import AttemptFiles
from framework.space.values import Value
from framework.worker.wandb_files import wandb_files

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
    contents, variables = wandb_files(project, parameters, files, {})
    assert variables == {"WANDB_SWEEP_PARAM_PATH": str(files.wandb_config), "WANDB_MODE": "offline"}
    assert contents.keys() == {files.arguments.name, files.wandb_config.name}
    nested = {"o": {"rate": 1e-5}, "name": "010", "l": [None, "yes", {"k": True}], "f": 2.0}
    assert json.loads(contents[files.arguments.name]) == nested
    config = contents[files.wandb_config.name]
    # PyYAML, which W&B uses, reads YAML 1.1, and no number without a point.
    assert "rate: 1.0e-05\n" in config
    assert YAML(typ="safe", pure=True).load(config) == {
        "wandb_version": 1,
        **{name: {"value": value} for name, value in nested.items()},
    }
    assert not files.directory.exists(), "the runner writes them"


def test_a_mode_that_the_environment_has_stays(directory: ProjectDirectory, tmp_path: Path) -> None:
    (directory.path / "sweep.yaml").write_text(SWEEP)
    (directory.path / "fit.py").touch()
    files = AttemptFiles(tmp_path / "task/1", "task", 1)
    _, variables = wandb_files(load_project(directory.path), {"x": 1}, files, {"WANDB_MODE": "online"})
    assert variables == {"WANDB_SWEEP_PARAM_PATH": str(files.wandb_config)}


def test_texts_keep_their_characters(directory: ProjectDirectory, tmp_path: Path) -> None:
    project = dataclasses.replace(directory.load(), command=("python", "fit.py", "${no_args}"))
    files = AttemptFiles(tmp_path / "task/1", "task", 1)
    contents, _ = wandb_files(project, {"x": "größe \u2028 \U0001f600"}, files, {})
    config = YAML(typ="safe", pure=True).load(contents[files.wandb_config.name])
    assert config["x"] == {"value": "größe \u2028 \U0001f600"}


def test_other_projects_do_without(directory: ProjectDirectory, tmp_path: Path) -> None:
    files = AttemptFiles(tmp_path / "task/1", "task", 1)
    project = directory.load()
    assert wandb_files(project, {"x": 1}, files, {}) == ({}, {})
    reads_config = dataclasses.replace(project, command=("python", "fit.py", "${no_args}"))
    contents, variables = wandb_files(reads_config, {"x": 1}, files, {})
    assert contents.keys() == {files.wandb_config.name}
    assert "WANDB_SWEEP_PARAM_PATH" in variables
    reads_arguments = dataclasses.replace(project, command=("python", "fit.py", "${args_json_file}"))
    assert wandb_files(reads_arguments, {"x": 1}, files, {}) == ({files.arguments.name: '{"x": 1}'}, {})
