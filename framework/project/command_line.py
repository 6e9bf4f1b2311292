"""Expansion of a command: words and macros that stand for metaparameters."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from framework.errors import ProjectError
from framework.space.values import Value

FLAGS = "${args_no_boolean_flags}"  # added to the end of a command without a macro
ARGUMENTS = ("${args}", FLAGS, "${args_no_hyphens}", "${args_json}")  # each is a whole word of a command

_VARIABLE = re.compile(r"\$\{envvar:(\w+)\}")


def expand(
    command: Sequence[str], parameters: Mapping[str, Value], environment: Mapping[str, str] | None = None
) -> list[str]:
    """The words of `command` with its macros replaced by `parameters`.

    A command without a macro gets them as options: --name=value, --name for true, nothing for false.
    `environment`: variables of the task, which replace ${envvar:NAME}; None: ${envvar:NAME} stays as it is.
    Raises ProjectError if the environment has no NAME.
    """
    if not any(word in ARGUMENTS for word in command):
        command = [*command, FLAGS]
    words = []
    for word in command:
        match word:
            case "${args}":
                words += [f"--{name}={value}" for name, value in parameters.items()]
            case "${args_no_boolean_flags}":
                words += [
                    f"--{name}{_flag(value)}" for name, value in parameters.items() if value is not False
                ]
            case "${args_no_hyphens}":
                words += [f"{name}={value}" for name, value in parameters.items()]
            case "${args_json}":
                words.append(json.dumps(dict(parameters)))
            case _:
                words.append(word if environment is None else _with_variables(word, environment))
    return words


def _flag(value: Value) -> str:
    return "" if value is True else f"={value}"


def _with_variables(word: str, environment: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        if found[1] not in environment:
            known = ", ".join(sorted(environment))
            raise ProjectError(
                [f"{found[0]}: a task has no {found[1]} in its environment; use one of {known}"]
            )
        return environment[found[1]]

    return _VARIABLE.sub(value, word)
