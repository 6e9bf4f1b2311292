"""Reader of `environment:` and `secrets:`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from framework.configuration.yaml_nodes import (
    Entry,
    MappingNode,
    Node,
    Position,
    Problems,
    ScalarNode,
    SequenceNode,
    UnusableNode,
    nearest,
)
from framework.project.variables import Variables, Wanted
from framework.text import text_problem

_ENVIRONMENT_FORM = "has to be a mapping, as in {HF_HOME: /data}, or a list, as in [HF_HOME=/data, LANG]"
_SECRETS_FORM = "has to be a list, as in [HF_TOKEN], or a mapping, as in {HF_TOKEN: {file: ~/.token}}"
_IN_PROJECT = "the value of a secret does not belong in a project's file"
_KEYS = ("file", "as")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")
_LONGEST = 100_000  # bytes of a value; the kernel takes 131,072 with its name
_OF_TASKS = "is set for each task by the framework itself; choose another name"
_OF_GPUS = "says which GPUs a task has; ask for them with resources: {gpus: 1}"
_OWNED = {
    **dict.fromkeys(
        ("TASK_ID", "TASK_ATTEMPT", "TASK_DIR", "TASK_PREVIOUS_DIR", "TASK_SLOT", "PWD"), _OF_TASKS
    ),
    **dict.fromkeys(("PYTHONUNBUFFERED", "WANDB_SWEEP_PARAM_PATH"), _OF_TASKS),
    **dict.fromkeys(("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"), _OF_GPUS),
}
_SEARCH_PATHS = ("PATH", "PYTHONPATH")  # those of one machine are of no use on another


def read_variables(environment: Node | None, secrets: Node | None, problems: Problems) -> Variables:
    """The variables that these nodes describe; each mistake in them is added to `problems`."""
    reader = _Reader(problems)
    if environment is not None:
        reader.read_environment(environment)
    if secrets is not None:
        reader.read_secrets(secrets)
    return Variables(reader.values, tuple(reader.wanted))


class _Reader:
    def __init__(self, problems: Problems) -> None:
        self.values: dict[str, str] = {}
        self.wanted: list[Wanted] = []
        self._places: dict[str, tuple[str, int]] = {}  # name → the key that has it, and its line
        self._problems = problems

    def read_environment(self, node: Node) -> None:
        match node:
            case MappingNode(entries=entries) if entries:
                for entry in entries:
                    self._read_value("environment", entry.position, entry.name, entry.node)
            case SequenceNode(items=items) if items:
                for item in items:
                    if isinstance(item, ScalarNode) and isinstance(item.value, str):
                        name, equals, value = item.text.partition("=")
                        own = ScalarNode(item.position, value if equals else None, value, plain=not equals)
                        self._read_value("environment", item.position, name, own)
                    elif not isinstance(item, UnusableNode):
                        self._add(item.position, "environment: write NAME=value, or a NAME")
            case UnusableNode():
                pass
            case _:
                self._add(node.position, f"environment: {_ENVIRONMENT_FORM}")

    def read_secrets(self, node: Node) -> None:
        match node:
            case MappingNode(entries=entries) if entries:
                for entry in entries:
                    self._read_secret(entry)
            case SequenceNode(items=items) if items:
                for item in items:
                    if isinstance(item, ScalarNode) and isinstance(item.value, str):
                        self._read_secret_name(item)
                    elif not isinstance(item, UnusableNode):
                        self._add(item.position, "secrets: write a NAME; a mapping names files")
            case UnusableNode():
                pass
            case _:
                self._add(node.position, f"secrets: {_SECRETS_FORM}")

    def _read_value(self, key: str, position: Position, name: str, node: Node) -> None:
        if isinstance(node, UnusableNode) or not self._takes(key, position, name):
            return
        if not isinstance(node, ScalarNode):
            self._add(node.position, f"{key}: {name}: has to be text, a number, true or false, in one value")
        elif node.plain and node.value is None:
            if name in _SEARCH_PATHS:
                self._add(position, f"{key}: {name}: yours is of no use on hosts; write its value")
            else:
                self.wanted.append(Wanted(name, _place(position)))
        elif problem := _value_problem(node.text):
            self._add(node.position, f"{key}: {name}: {problem}")
        else:
            self.values[name] = node.text

    def _read_secret_name(self, item: ScalarNode) -> None:
        name, equals, _ = item.text.partition("=")
        if equals:
            self._add(item.position, f"secrets: {name}: {_IN_PROJECT}; leave {name} alone, and export it")
        elif self._takes("secrets", item.position, name):
            self.wanted.append(Wanted(name, _place(item.position), is_secret=True))

    def _read_secret(self, entry: Entry) -> None:
        name, node = entry.name, entry.node
        if isinstance(node, UnusableNode) or not self._takes("secrets", entry.position, name):
            return
        if isinstance(node, ScalarNode) and node.plain and node.value is None:
            self.wanted.append(Wanted(name, _place(entry.position), is_secret=True))
        elif isinstance(node, MappingNode) and node.entries:
            self._read_source(entry.position, name, node.entries)
        else:
            self._add(
                node.position,
                f"secrets: {name}: {_IN_PROJECT}; write {name}: {{file: ~/.token}}, or nothing and export it",
            )

    def _read_source(self, position: Position, name: str, entries: Sequence[Entry]) -> None:
        found: dict[str, str] = {}
        before = len(self._problems)
        for entry in entries:
            text = entry.node.text if isinstance(entry.node, ScalarNode) else ""
            where = f"secrets: {name}: {entry.name}"
            found[entry.name] = text
            if isinstance(entry.node, UnusableNode):
                before = -1
            elif entry.name not in _KEYS:
                self._add(
                    entry.position,
                    f"secrets: {name}: unknown key {entry.name!r}; {nearest(entry.name, _KEYS)}",
                )
            elif entry.name == "file" and (problem := _path_problem(text)):
                self._add(entry.node.position, f"{where}: {problem}")
            elif entry.name == "as" and text not in ("file", "variable"):
                self._add(
                    entry.node.position, f"{where}: has to be file or variable; variable is the default"
                )
        if "file" not in found:
            self._add(position, f"secrets: {name}: has no file; write {{file: ~/.token}}")
        if len(self._problems) == before:
            as_file = found.get("as") == "file"
            self.wanted.append(Wanted(name, _place(position), True, found["file"], as_file))

    def _takes(self, key: str, position: Position, name: str) -> bool:
        """True if `name` can be a variable, and is none yet; otherwise a problem."""
        if not _NAME.fullmatch(name):
            shown = f"{name!r:.60}"
            self._add(position, f"{key}: {shown} is no name of a variable; it has letters, digits and _ only")
        elif name in _OWNED:
            self._add(position, f"{key}: {name} {_OWNED[name]}")
        elif key == "secrets" and name in _SEARCH_PATHS:
            self._add(position, f"{key}: {name} is no secret; write it in environment:")
        elif name in self._places:
            other, line = self._places[name]
            where = f"first in line {line}" if other == key else f"also in {other}: in line {line}"
            self._add(position, f"{key}: {name} is there twice, {where}; keep one")
        else:
            self._places[name] = key, position.line
            return True
        return False

    def _add(self, position: Position, problem: str) -> None:
        self._problems.add(position, problem)


def _place(position: Position) -> str:
    return f"{position.line}:{position.column}"


def _value_problem(value: str) -> str | None:
    problem = text_problem(value)
    if problem is None and len(value.encode()) > _LONGEST:
        return f"longer than {_LONGEST} bytes, which no variable can be; write a file in the project"
    return problem


def _path_problem(path: str) -> str:
    if not path.startswith(("/", "~/")):
        return "has to begin with / or ~/; the file cannot be in the project"
    if not path.isprintable():
        return "has characters that cannot be printed; rename the file"
    return ""
