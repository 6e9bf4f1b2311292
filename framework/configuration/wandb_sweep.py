"""Reader of W&B sweep files: translates them into settings and parameters.

The format: https://docs.wandb.ai/guides/sweeps/sweep-config-keys
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from framework.configuration.parameters import RESERVED
from framework.configuration.program_root import Program, find_root
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
from framework.project.command_line import ARGUMENTS, NO_ARGUMENTS, escaped

DEFAULT_RUN_CAP = 100  # tasks of a sweep that W&B would never end
_DEFAULT_COMMAND = ("${env}", "${interpreter}", "${program}", "${args}")
_MACROS = ("env", "interpreter", "program", *(word[2:-1] for word in ARGUMENTS), "envvar:NAME")
_MACRO = re.compile(r"\$\{([^}]*)\}")
_VARIABLE = re.compile(r"envvar:\w+")
# Keys that W&B itself shows or keeps; they do not change what runs.
_IGNORED = ("name", "description", "project", "entity", "apiVersion", "kind", "controller")
_METRIC_KEYS = ("name", "goal")
_METRIC_NOTICES = {
    "target": "target: the sweep does not stop there, it runs to its end",
    "impute": "impute: changes nothing; failed tasks tell the method nothing",
    "impute_while_running": "impute_while_running: changes nothing; running tasks tell the method nothing",
}
_UNAVAILABLE = {
    "job": "launch jobs are W&B's own; write program: with the script that runs",
    "image_uri": "launch jobs are W&B's own; write image: with the image that the tasks run in",
    "scheduler": "schedulers are W&B's own; write method: grid, random or another of this framework's",
    "metrics": "results are ranked by one metric; write metric: {name: …, goal: …}",
}


@dataclass(frozen=True)
class Sweep:
    """A sweep file as the entries of project.yml and parameters.yml."""

    settings: tuple[Entry, ...] | None  # entries of project.yml; None: the file cannot be read
    parameters: tuple[Entry, ...]  # entries of parameters.yml, without rules
    rules: dict[str, Node]  # rules of parameters.yml by their names
    root: Path  # the project's directory: where the program's path begins


def read_sweep(file: Path, root: Path | None, problems: Problems) -> Sweep:
    """The sweep that `file` describes, which may have keys and rules of a project; mistakes go to `problems`.

    `root`: the project's directory; None: the nearest one, from that of the file upwards, with the program.
    """
    node = read_yaml(file, problems, legacy=True)
    entries = {entry.name: entry for entry in entries_of(node, "program: train.py", problems)}
    if not entries:
        return Sweep(None, (), {}, root or file.parent)
    return _Reader(file, root, entries, problems).read()


class _Reader:
    def __init__(self, file: Path, root: Path | None, entries: dict[str, Entry], problems: Problems) -> None:
        self._top = Position(file, 1, 1)
        self._file = file
        self._root = root
        self._entries = entries
        self._problems = problems

    def read(self) -> Sweep:
        settings = []
        for name, entry in self._entries.items():
            if name in _UNAVAILABLE:
                self._problems.add(entry.position, f"{name}: {_UNAVAILABLE[name]}")
            elif name == "metric":
                settings += self._read_metric(entry)
            elif name not in ("program", "command", "parameters", *_IGNORED, *RESERVED):
                settings.append(entry)
        if "method" not in self._entries:
            self._problems.add(self._top, "no method; write method: grid or method: random")
        rules = {name: entry.node for name, entry in self._entries.items() if name in RESERVED}
        command, root = self._read_command()
        return Sweep((*command, *settings), self._read_parameters(bool(rules)), rules, root)

    def _read_parameters(self, has_rules: bool) -> tuple[Entry, ...]:
        entry = self._entries.get("parameters")
        if entry is None:
            self._problems.add(
                self._top, "no parameters; write what is tried, as in 'parameters: {C: {values: [1, 10]}}'"
            )
        elif isinstance(entry.node, MappingNode) and entry.node.entries:
            # W&B sorts the names. Rules of ours may depend on the order of the file, which stays then.
            keeps_order = has_rules or _depends_on_order(entry.node)
            return entry.node.entries if keeps_order else _sorted(entry.node).entries
        elif not isinstance(entry.node, UnusableNode):
            self._problems.add(
                entry.node.position, "no metaparameters; write lines as 'C: {values: [0.1, 1, 10]}'"
            )
        return ()

    def _read_metric(self, entry: Entry) -> list[Entry]:
        """The entries `metric` and `goal`; W&B's default is to minimize."""
        minimize = ScalarNode(entry.position, "minimize", "minimize", True)
        goal = Entry(entry.position, "goal", minimize)
        if not isinstance(entry.node, MappingNode):
            return [entry] if "goal" in self._entries else [entry, goal]
        found = {}
        for each in entry.node.entries:
            if each.name in _METRIC_KEYS:
                found[each.name] = each
            elif each.name in _METRIC_NOTICES:
                self._problems.note(each.position, _METRIC_NOTICES[each.name])
            else:
                self._problems.add(
                    each.position, f"unknown key {each.name!r}; {nearest(each.name, _METRIC_KEYS)}"
                )
        if "name" not in found:
            self._problems.add(
                entry.node.position, "a metric without a name; write metric: {name: …, goal: …}"
            )
            return []
        return [replace(found["name"], name="metric"), found.get("goal", goal)]

    def _read_command(self) -> tuple[list[Entry], Path]:
        """The entry `command`, with macros that are the same for every task replaced; and the root.

        A brace is a brace, as for W&B's agent: it is written as project.yml has it.
        """
        root = self._root or self._file.parent
        entry = self._entries.get("command", self._entries.get("program"))
        if entry is None:
            if "function" in self._entries:
                return [], root
            self._problems.add(self._top, "no program; write the script that runs, as in 'program: train.py'")
            return [Entry(self._top, "command", UnusableNode(self._top))], root
        before = len(self._problems)
        words = list(self._words(entry))
        if len(self._problems) > before:
            return [Entry(entry.position, "command", UnusableNode(entry.node.position))], root
        if not words:
            return [entry], root
        if not any(word in (*ARGUMENTS, NO_ARGUMENTS) for word in words):
            words.append(NO_ARGUMENTS)
            self._problems.note(
                entry.node.position, "no ${args}: the program gets its metaparameters from wandb.config alone"
            )
        words, root = self._find_root(words)
        if self._root is None and root.resolve() != self._file.parent.resolve():
            self._problems.note(
                entry.node.position, f"the project is {root}, where the program is; --root DIR names another"
            )
        node = SequenceNode(
            entry.node.position, tuple(_scalar(entry.node.position, escaped(word)) for word in words), False
        )
        return [Entry(entry.position, "command", node)], root

    def _words(self, entry: Entry) -> Iterator[str]:
        """The words of the command; ${program} stays."""
        position = entry.node.position
        if entry.name == "program":
            nodes: Sequence[Node] = [_scalar(position, word) for word in _DEFAULT_COMMAND]
        elif isinstance(entry.node, SequenceNode):
            nodes = entry.node.items
        elif isinstance(entry.node, ScalarNode):
            try:
                nodes = [_scalar(position, word) for word in shlex.split(entry.node.text)]
            except ValueError as error:
                self._problems.add(position, f"command: {error}; write a line as for a shell, or a list")
                return
        else:
            nodes = [entry.node]
        for node in nodes:
            match node:
                case ScalarNode():
                    yield from self._replace(node)
                case SequenceNode() | MappingNode():
                    self._problems.add(node.position, "command: a word has to be text; put it in quotes")

    def _replace(self, node: ScalarNode) -> Iterator[str]:
        match node.text:
            case "${env}":
                yield "/usr/bin/env"
            case "${interpreter}":
                yield "python"
            case "${program}" if "program" in self._entries:
                yield node.text
            case _:
                self._check_macros(node)
                word = str(node.value)
                if word != node.text:
                    self._problems.note(node.position, f"command: {node.text} is the word {word}, as in W&B")
                yield word

    def _check_macros(self, word: ScalarNode) -> None:
        for macro in _MACRO.findall(word.text):
            if macro == "program":
                problem = "${program} without a program; write program: train.py"
            elif _VARIABLE.fullmatch(macro) or (word.text in (*ARGUMENTS, NO_ARGUMENTS)):
                continue
            elif macro in _MACROS:
                problem = f"${{{macro}}} stands for whole words; write it as an item of its own in the list"
            elif word.text != f"${{{macro}}}":
                continue  # the program's own, such as Hydra's ${now:%H}
            else:
                problem = f"unknown macro ${{{macro}}}; {nearest(macro, _MACROS)}"
            self._problems.add(word.position, problem)

    @property
    def _workdir(self) -> str:
        """The `workdir:` as it is written; what is wrong in it is said when the settings are read."""
        node = self._entries["workdir"].node if "workdir" in self._entries else None
        return node.text if isinstance(node, ScalarNode) else ""

    def _find_root(self, words: list[str]) -> tuple[list[str], Path]:
        """The words with ${program} replaced, and the project's directory."""
        node = self._entries["program"].node if "program" in self._entries else None
        if "${program}" not in words or not isinstance(node, ScalarNode) or not node.text:
            if "${program}" in words and not isinstance(node, UnusableNode):
                position = (node or self._entries["command"].node).position
                self._problems.add(position, "program: no script; write it, as in 'program: train.py'")
            return words, self._root or find_root(self._file, words, self._workdir)
        program = Program(self._file, self._root, node.text, words, self._workdir)
        if program.problem:
            self._problems.add(node.position, f"program: {program.problem}")
        return [program.path if word == "${program}" else word for word in words], program.root


def _scalar(position: Position, text: str) -> ScalarNode:
    return ScalarNode(position, text, text, False)


def _depends_on_order(parameters: MappingNode) -> bool:
    """True if a metaparameter exists for some values of an earlier one, or is computed from earlier ones."""
    for entry in parameters.entries:
        if isinstance(entry.node, ScalarNode) and entry.node.text.startswith("${"):
            return True
        for each in entry.node.entries if isinstance(entry.node, MappingNode) else ():
            if each.name in ("when", "expression"):
                return True
            is_nested = each.name == "parameters"
            if is_nested and isinstance(each.node, MappingNode) and _depends_on_order(each.node):
                return True
    return False


def _sorted(parameters: MappingNode) -> MappingNode:
    """The metaparameters in the order of their names, those of a mapping among themselves."""
    entries = []
    for entry in sorted(parameters.entries, key=lambda each: each.name):
        node = entry.node
        if isinstance(node, MappingNode):
            inner = tuple(
                replace(each, node=_sorted(each.node))
                if each.name == "parameters" and isinstance(each.node, MappingNode)
                else each
                for each in node.entries
            )
            node = replace(node, entries=inner)
        entries.append(replace(entry, node=node))
    return replace(parameters, entries=tuple(entries))
