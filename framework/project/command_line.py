"""Expansion of a command: words and macros that stand for metaparameters."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from framework.files import ARGUMENTS_FILE
from framework.space.values import Value

_FLAGS = "${args_no_boolean_flags}"  # added to the end of a command without a macro
_PREFIXES = {
    "${args}": "--",
    "${args_no_hyphens}": "",
    "${args_append_hydra}": "+",
    "${args_override_hydra}": "++",
}
_JSON = "${args_json}"
JSON_FILE = "${args_json_file}"
# Each is a whole word of a command.
ARGUMENTS = (*_PREFIXES, _FLAGS, "${args_no_equals}", _JSON, JSON_FILE)
NO_ARGUMENTS = "${no_args}"  # no word at all: the program reads wandb.config
_VARIABLE = re.compile(r"\$\{envvar:(\w+)\}")

Paths = Mapping[str, Sequence[str]]


def expand(
    command: Sequence[str],
    parameters: Mapping[str, Value],
    environment: Mapping[str, str] | None = None,
    paths: Paths | None = None,
) -> list[str]:
    """The words of `command` with its macros replaced by `parameters`.

    A command without a macro gets them as options: --name=value, --name for true, nothing for false.
    `environment`: variables of the task, which replace ${envvar:NAME}; as with W&B, one that is not set is
    replaced by its name. None: ${envvar:NAME} stays as it is. `paths`: see nested().
    """
    if not any(word in (*ARGUMENTS, NO_ARGUMENTS) for word in command):
        command = [*command, _FLAGS]
    words = []
    for word in command:
        if word in ARGUMENTS:
            words += _arguments(word, parameters, environment, paths or {})
        elif word != NO_ARGUMENTS:
            words.append(word if environment is None else _with_variables(word, environment))
    return words


def nested(parameters: Mapping[str, Value], paths: Paths) -> dict[str, Any]:
    """The metaparameters as mappings in mappings.

    `paths`: the names, from the outermost to the innermost mapping, of each metaparameter in a mapping.
    """
    outermost: dict[str, Any] = {}
    for name, value in parameters.items():
        *outer, own = paths.get(name, (name,))
        mapping = outermost
        for each in outer:
            mapping = mapping.setdefault(each, {})
        mapping[own] = value
    return outermost


def unset_variables(command: Sequence[str], environment: Collection[str]) -> list[str]:
    """The names in ${envvar:NAME} that the environment does not have."""
    names = [name for word in command for name in _VARIABLE.findall(word)]
    return [name for name in dict.fromkeys(names) if name not in environment]


def _arguments(
    macro: str, parameters: Mapping[str, Value], environment: Mapping[str, str] | None, paths: Paths
) -> list[str]:
    """The words that a macro stands for; those of W&B's agent."""
    if macro == _FLAGS:
        return [f"--{name}{_flag(value)}" for name, value in parameters.items() if value is not False]
    if macro == "${args_no_equals}":
        return [word for name, value in parameters.items() for word in (f"--{name}", str(value))]
    if macro == _JSON:
        return [json.dumps(nested(parameters, paths))]
    if macro == JSON_FILE:
        task = (environment or {}).get("TASK_DIR")
        return [macro if task is None else os.path.join(os.path.dirname(task), ARGUMENTS_FILE)]
    return [f"{_PREFIXES[macro]}{name}={value}" for name, value in parameters.items()]


def _flag(value: Value) -> str:
    return "" if value is True else f"={value}"


def _with_variables(word: str, environment: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda found: environment.get(found[1], found[1]), word)
