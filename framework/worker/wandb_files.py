"""Files and variables by which W&B's agent tells a program its metaparameters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from io import BytesIO

from ruamel.yaml import YAML

from framework.files import AttemptFiles
from framework.project.command_line import JSON_FILE, NO_ARGUMENTS
from framework.project.project import Project
from framework.space.values import Value


def wandb_files(
    project: Project, parameters: Mapping[str, Value], files: AttemptFiles, given: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """The file of ${args_json_file}, and for a W&B sweep what wandb.config reads, by name; and variables.

    By these variables wandb.init() finds its file, and keeps what it logs in the directory of the task. A
    mode that `given`, the environment, has stays.
    """
    nested = project.nested(parameters)
    contents = {}
    if JSON_FILE in project.command:
        contents[files.arguments.name] = json.dumps(nested)
    if NO_ARGUMENTS not in project.command and not (project.sweep_file and not project.function):
        return contents, {}
    contents[files.wandb_config.name] = _config(nested)
    mode = {} if "WANDB_MODE" in given else {"WANDB_MODE": "offline"}
    return contents, {"WANDB_SWEEP_PARAM_PATH": str(files.wandb_config), **mode}


def _config(nested: Mapping[str, Value]) -> str:
    """The metaparameters as W&B's agent writes them; PyYAML reads them as they are here."""
    yaml = YAML(typ="safe", pure=True)
    yaml.version = (1, 1)
    yaml.default_flow_style = False
    yaml.allow_unicode = True
    yaml.representer.sort_base_mapping_type_on_output = False
    text = BytesIO()
    yaml.dump({"wandb_version": 1, **{name: {"value": value} for name, value in nested.items()}}, text)
    return text.getvalue().decode()
