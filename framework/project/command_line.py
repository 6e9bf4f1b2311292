"""Expansion of a command: words, and the placeholders and macros in it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from framework.files import ARGUMENTS_FILE
from framework.space.values import NAME, Value

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
# Placeholders of what differs between tasks beside their metaparameters, with the variables of the task.
OF_TASK = {
    "task_id": "TASK_ID",
    "task_attempt": "TASK_ATTEMPT",
    "task_dir": "TASK_DIR",
    "task_slot": "TASK_SLOT",
}
_VARIABLE = re.compile(r"\$\{envvar:(\w+)\}")
_TOKEN = re.compile(rf"{{{{|}}}}|{_VARIABLE.pattern}|(?<!\$){{({NAME.pattern})}}")

Paths = Mapping[str, Sequence[str]]


def expand(
    command: Sequence[str],
    parameters: Mapping[str, Value],
    environment: Mapping[str, str] | None = None,
    paths: Paths | None = None,
) -> list[str]:
    """The words of `command` with its placeholders and macros replaced by `parameters`.

    {name} in a word is a metaparameter, or one of OF_TASK; {{ and }} are braces. What replaces them is not
    read again. A command without a metaparameter and without a macro gets all as options: --name=value,
    --name for true, nothing for false.
    `environment`: variables of the task, which replace ${envvar:NAME}; as with W&B, one that is not set is
    replaced by its name. None: what needs them stays as it is. `paths`: see nested().
    """
    if not placeholders(command) and not any(word in (*ARGUMENTS, NO_ARGUMENTS) for word in command):
        command = [*command, _FLAGS]
    words = []
    for word in command:
        if word in ARGUMENTS:
            words += _arguments(word, parameters, environment, paths or {})
        elif word != NO_ARGUMENTS:
            words.append(_filled(word, parameters, environment))
    return words


def placeholders(command: Iterable[str]) -> list[str]:
    """The names in braces, each once, but for those of OF_TASK."""
    return [name for name in dict.fromkeys(_names(command)) if name not in OF_TASK]


def literal(word: str) -> str | None:
    """The word with its braces; None if it is another one for each task."""
    return None if any(_names([word])) else _filled(word, {}, None)


def escaped(word: str) -> str:
    """The word in which each brace stands for itself, but not those of a macro or of ${envvar:NAME}."""
    if word in (*ARGUMENTS, NO_ARGUMENTS):
        return word
    parts = _VARIABLE.split(word)  # every second one is the name of a variable
    parts[::2] = [part.replace("{", "{{").replace("}", "}}") for part in parts[::2]]
    return "".join(f"${{envvar:{part}}}" if number % 2 else part for number, part in enumerate(parts))


def identifying(command: Sequence[str]) -> list[str]:
    """The words by which a task of this command is known.

    These are the words with their braces, which is what older versions knew a command by: whoever has to
    double a brace keeps the results. An empty word, which no command begins with, marks those with
    placeholders.
    """
    words = [literal(word) for word in command]
    known = [word for word in words if word is not None]
    return known if len(known) == len(words) else ["", *command]


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


def _names(command: Iterable[str]) -> Iterator[str]:
    for word in command:
        for found in _TOKEN.finditer(word):
            if found[2] is not None:
                yield found[2]


def _filled(word: str, parameters: Mapping[str, Value], environment: Mapping[str, str] | None) -> str:
    """The word with its placeholders, variables and braces replaced, all in one pass."""

    def replacement(token: re.Match[str]) -> str:
        text, variable, name = token[0], token[1], token[2]
        if text in ("{{", "}}"):
            return text[0]
        if name in parameters:
            return str(parameters[name])
        if environment is None:
            return text
        if name is not None:
            return environment.get(OF_TASK.get(name, ""), text)
        return environment.get(variable, variable)

    return _TOKEN.sub(replacement, word)
