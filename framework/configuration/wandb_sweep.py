"""Reader of W&B sweep files: translates them into settings and parameters.

The format: https://docs.wandb.ai/guides/sweeps/sweep-config-keys
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from framework.configuration.yaml_nodes import (
    Entry,
    MappingNode,
    Node,
    Position,
    Problems,
    ScalarNode,
    SequenceNode,
    UnusableNode,
    entries_of,
    nearest,
    read_yaml,
)
from framework.project.command_line import ARGUMENTS

_DEFAULT_COMMAND = ("${env}", "${interpreter}", "${program}", "${args}")
_MACROS = ("env", "interpreter", "program", *(word[2:-1] for word in ARGUMENTS), "envvar:NAME")
_MACRO = re.compile(r"\$\{([^}]*)\}")
_VARIABLE = re.compile(r"envvar:\w+")
# Keys that W&B itself shows or keeps; they do not change what runs.
_IGNORED = ("name", "description", "project", "entity", "apiVersion", "kind", "controller")
_METRIC_KEYS = ("name", "goal")
_UNAVAILABLE = {
    "job": "launch jobs are W&B's own; write program: with the script that runs",
    "image_uri": "launch jobs are W&B's own; write image: with the base of the worker image",
    "scheduler": "schedulers are W&B's own; write method: grid, random or another of this framework's",
    "metrics": "results are ranked by one metric; write metric: {name: …, goal: …}",
}


@dataclass(frozen=True)
class Sweep:
    """A sweep file as the entries of project.yml and parameters.yml."""

    settings: tuple[Entry, ...] | None  # entries of project.yml; None: the file cannot be read
    parameters: tuple[Entry, ...]  # entries of parameters.yml, without rules


def read_sweep(file: Path, problems: Problems) -> Sweep:
    """The sweep that `file` describes, which may have keys of project.yml too; mistakes go to `problems`."""
    node = read_yaml(file, problems)
    entries = {entry.name: entry for entry in entries_of(node, "program: train.py", problems)}
    if not entries:
        return Sweep(None, ())
    return _Reader(file, entries, problems).read()


class _Reader:
    def __init__(self, file: Path, entries: dict[str, Entry], problems: Problems) -> None:
        self._top = Position(file, 1, 1)
        self._directory = file.parent
        self._entries = entries
        self._problems = problems

    def read(self) -> Sweep:
        settings = []
        for name, entry in self._entries.items():
            if name in _UNAVAILABLE:
                self._problems.add(entry.position, f"{name}: {_UNAVAILABLE[name]}")
            elif name == "metric":
                settings += self._read_metric(entry)
            elif name not in ("program", "command", "parameters", *_IGNORED):
                settings.append(entry)
        if "method" not in self._entries:
            self._problems.add(self._top, "no method; write method: grid or method: random")
        return Sweep((*self._read_command(), *settings), self._read_parameters())

    def _read_parameters(self) -> tuple[Entry, ...]:
        entry = self._entries.get("parameters")
        if entry is None:
            self._problems.add(
                self._top, "no parameters; write what is tried, as in 'parameters: {C: {values: [1, 10]}}'"
            )
        elif isinstance(entry.node, MappingNode) and entry.node.entries:
            return entry.node.entries
        elif not isinstance(entry.node, UnusableNode):
            self._problems.add(
                entry.node.position, "no metaparameters; write lines as 'C: {values: [0.1, 1, 10]}'"
            )
        return ()

    def _read_metric(self, entry: Entry) -> list[Entry]:
        """The entries `metric` and `goal`; W&B's default is to minimize."""
        if not isinstance(entry.node, MappingNode):
            return [entry]
        found = {}
        for each in entry.node.entries:
            if each.name in _METRIC_KEYS:
                found[each.name] = each
            elif each.name == "target":
                self._problems.add(
                    each.position, "target: a sweep cannot stop at a value of its metric; remove it"
                )
            else:
                self._problems.add(
                    each.position, f"unknown key {each.name!r}; {nearest(each.name, _METRIC_KEYS)}"
                )
        if "name" not in found:
            self._problems.add(
                entry.node.position, "a metric without a name; write metric: {name: …, goal: …}"
            )
            return []
        goal = found.get(
            "goal", Entry(entry.position, "goal", ScalarNode(entry.position, "minimize", "minimize", True))
        )
        return [replace(found["name"], name="metric"), goal]

    def _read_command(self) -> list[Entry]:
        """The entry `command`; macros that are the same for every task are replaced."""
        entry = self._entries.get("command", self._entries.get("program"))
        if entry is None:
            self._problems.add(self._top, "no program; write the script that runs, as in 'program: train.py'")
            return [Entry(self._top, "command", UnusableNode(self._top))]
        if isinstance(entry.node, UnusableNode):
            return [replace(entry, name="command")]
        words: list[Node]
        if entry.name == "program":
            words = [ScalarNode(entry.node.position, word, word, True) for word in _DEFAULT_COMMAND]
            self._check_program(entry.node)
        elif isinstance(entry.node, SequenceNode):
            words = list(entry.node.items)
        else:
            return [entry]
        replaced = [each for word in words for each in self._replace(word)]
        if not any(isinstance(word, ScalarNode) and word.text in ARGUMENTS for word in replaced):
            self._problems.add(
                entry.node.position, "no ${args}: no metaparameter reaches the program; add it"
            )
        return [Entry(entry.position, "command", SequenceNode(entry.node.position, tuple(replaced), False))]

    def _check_program(self, node: Node) -> None:
        if isinstance(node, ScalarNode) and node.text and not (self._directory / node.text).is_file():
            self._problems.add(
                node.position,
                f"program: there is no {node.text} beside this file; put the two in one directory",
            )

    def _replace(self, word: Node) -> Sequence[Node]:
        if not isinstance(word, ScalarNode):
            return [word]
        match word.text:
            case "${env}":
                texts = ["/usr/bin/env"]
            case "${interpreter}":
                texts = ["python"]
            case "${program}" if "program" in self._entries:
                return [self._entries["program"].node]
            case _:
                self._check_macros(word)
                return [word]
        return [ScalarNode(word.position, text, text, True) for text in texts]

    def _check_macros(self, word: ScalarNode) -> None:
        for macro in _MACRO.findall(word.text):
            if macro == "program":
                problem = "${program} without a program; write program: train.py"
            elif macro == "args_json_file":
                problem = (
                    "${args_json_file} is not available; write ${args_json}, or read the options themselves"
                )
            elif _VARIABLE.fullmatch(macro) or (word.text in ARGUMENTS):
                continue
            elif macro in _MACROS:
                problem = f"${{{macro}}} stands for whole words; write it as an item of its own in the list"
            else:
                problem = f"unknown macro ${{{macro}}}; {nearest(macro, _MACROS)}"
            self._problems.add(word.position, problem)
