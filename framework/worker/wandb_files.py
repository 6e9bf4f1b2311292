"""Files and variables by which W&B's agent tells a program its metaparameters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

from ruamel.yaml import YAML

from framework.errors import FrameworkError
from framework.files import AttemptFiles, write_atomically
from framework.project.command_line import JSON_FILE, NO_ARGUMENTS
from framework.project.project import Project
from framework.space.values import Value


def write_wandb_files(
    project: Project, parameters: Mapping[str, Value], files: AttemptFiles
) -> dict[str, str]:
    """Write the file of ${args_json_file}, and for a W&B sweep what wandb.config reads.

    Returns the variables by which wandb.init() finds it, and keeps what it logs in the directory of the task.
    Raises FrameworkError if the host is short of something.
    """
    nested = project.nested(parameters)
    contents: dict[Path, str | bytes] = {}
    if JSON_FILE in project.command:
        contents[files.arguments] = json.dumps(nested)
    if NO_ARGUMENTS in project.command or (project.sweep_file and not project.function):
        contents[files.wandb_config] = _config(nested)
    try:
        for file, content in contents.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, content, fsync=False)
    except OSError as error:
        raise FrameworkError(
            f"{files.directory}: cannot be prepared for the task: {error.strerror}"
        ) from error
    if files.wandb_config not in contents:
        return {}
    return {"WANDB_SWEEP_PARAM_PATH": str(files.wandb_config), "WANDB_MODE": "offline"}


def _config(nested: Mapping[str, Value]) -> bytes:
    """The metaparameters as W&B's agent writes them; PyYAML reads them as they are here."""
    yaml = YAML(typ="safe", pure=True)
    yaml.version = (1, 1)
    yaml.default_flow_style = False
    yaml.allow_unicode = True
    yaml.representer.sort_base_mapping_type_on_output = False
    text = BytesIO()
    yaml.dump({"wandb_version": 1, **{name: {"value": value} for name, value in nested.items()}}, text)
    return text.getvalue()
