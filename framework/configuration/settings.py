"""Reader of project.yml: every setting beside the metaparameters."""

import keyword
import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from framework.configuration.placeholders import check_placeholders
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
from framework.messages.metrics import metric_problem
from framework.project.command_line import unset_variables
from framework.project.project import Goal
from framework.space.product import Space
from framework.space.sampling import METHODS, Method
from framework.space.values import value_problem
from framework.text import how_to_install

T = TypeVar("T")

KEYS = (
    "command",
    "function",
    "workdir",
    "metric",
    "goal",
    "timeout",
    "retries",
    "max_failures",
    "order",
    "copies",
    "image",
    "packages",
    "build",
    "docker_options",
    "method",
    "run_cap",
    "seed",
    "resources",
    "early_terminate",
    "free_disk",
    "hosts",
    "mounts",
    "setup",
    "setup_timeout",
    "defaults",
    "ignore",
    "environment",
    "secrets",
    "notify",
)
_WITHOUT_OPTUNA = (
    "needs Optuna, which is not installed here; ./infrainit.sh -f sends an image that has it to the hosts; "
    f"without a cluster, {how_to_install('adaptive')}"
)
_METRIC = "write it and its goal, as in the lines 'metric: accuracy' and 'goal: maximize'"
# Metrics of which more is better, as words of a name: val_accuracy, f1@5. Others need a goal.
_MORE_IS_BETTER = re.compile(r"(?<![a-z])(?:accuracy|acc|f1|auc|auroc|precision|recall)(?![a-z])")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([smhd]?)")
_IMAGE = re.compile(r"[A-Za-z0-9][\w.:/@-]*")


def read_settings(file: Path, problems: Problems) -> tuple[Entry, ...] | None:
    """The entries of project.yml; None if it cannot be read, which is then among the problems."""
    node = read_yaml(file, problems)
    return None if node is None else entries_of(node, "command: …", problems)


class Settings:
    """The entries of project.yml; a wrong value becomes a problem, and its default is read in its place."""

    def __init__(
        self,
        file: Path,
        entries: Sequence[Entry] | None,
        problems: Problems,
        *,
        is_wandb: bool = False,
        is_run_here: bool = True,
    ) -> None:
        """`entries` is None if the file could not be read, which is then among the problems.

        `is_wandb`: they are those of a W&B sweep file. `is_run_here`: what they need has to be installed.
        """
        self.is_wandb = is_wandb
        self._is_run_here = is_run_here
        self._problems = problems
        self._entries = {entry.name: entry for entry in entries or ()}
        for name in self._entries.keys() - KEYS:
            self._add(name, f"unknown key {name!r}; {nearest(name, KEYS)}")
        if entries is not None and "command" not in self and "function" not in self:
            problems.add(
                Position(file, 1, 1),
                "no command; write what runs, as in 'command: python train.py' or 'function: train:run'",
            )
        if "command" in self and "function" in self:
            self._add("function", "a command and a function; one of them runs, remove the other")
        if "image" in self and "build" in self:
            self._add("build", "an image and a build; tasks run in one of them, remove the other")
        if "setup_timeout" in self and "setup" not in self:
            self._add("setup_timeout", "a timeout of a setup without a setup; write setup:, or remove it")
        if "goal" in self and "metric" not in self:
            self._add(
                "goal",
                "a goal without a metric; write the metric, as in 'metric: accuracy', or remove the goal",
            )
        if "metric" in self and "goal" not in self and not self._is_more_better():
            self._add(
                "metric",
                "metric: nothing says whether more or less of it is better; add the line 'goal: maximize' "
                "(which older versions took for granted) or 'goal: minimize'",
            )

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def check_method(self, method: Method, space: Space) -> None:
        """Add to the problems what the method and early termination lack, and what cannot go with `space`."""
        if method.name == "random" and not space.is_finite and method.run_cap is None:
            self._add("method", "draws from distributions never end; write how many, as in 'run_cap: 100'")
        if method.name == "random" and space.is_finite and space.drawn and method.run_cap is None:
            self._add(
                "method",
                f"random draws {space.drawn[0]} between its limits; write how many, as in 'run_cap: 100'",
            )
        if method.name == "grid" and "seed" in self:
            self._add("seed", "seed: a grid has nothing random; remove it, or write seeds: in parameters.yml")
        if method.is_adaptive:
            self._check_study("method")
            if method.run_cap is None:
                self._add(
                    "method", "an adaptive method never ends; write how many tasks, as in 'run_cap: 50'"
                )
            if space.seeds is not None:
                self._add("method", "seeds: in parameters.yml goes with grid and random only; remove it")
            if "defaults" in self:
                self._add("defaults", "defaults: goes with grid and random only; remove it")
        if "early_terminate" in self:
            self._check_study("early_terminate")

    def _check_study(self, key: str) -> None:
        if "metric" not in self:
            self._add(key, f"{key}: needs a metric to compare tasks by; {_METRIC}")
        if self._is_run_here and find_spec("optuna") is None:
            self._add(key, f"{key}: {_WITHOUT_OPTUNA}")

    def read(self, key: str, convert: Callable[[Node], T], default: T) -> T:
        """The converted value of `key`; `default` without one, or if it is wrong: then a problem."""
        entry = self._entries.get(key)
        if entry is None or isinstance(entry.node, UnusableNode):
            return default
        try:
            return convert(entry.node)
        except ValueError as error:
            self._problems.add(entry.node.position, f"{key}: {error}")
            return default

    def node(self, key: str) -> Node | None:
        """What stands at `key`; None without one."""
        return self._entries[key].node if key in self else None

    def check_arguments(self, names: Iterable[str]) -> None:
        """Add to the problems each of these metaparameters that cannot be an argument of a function."""
        for name in names:
            if not _is_name(name):
                self._add(
                    "function", f"metaparameter {name!r} cannot be an argument of a function; rename it"
                )

    def check_command(self, command: Sequence[str], names: Sequence[str], space: Space) -> None:
        """Add to the problems each brace in a command that stands for nothing: sweep files of W&B have none.

        `names`: all metaparameters of the sweep; `space`: the one that they are from.
        """
        entry = self._entries.get("command")
        if entry is not None and command and names:
            check_placeholders(entry.node, command, names, space, self._problems)

    def check_no_secret_in_command(self, command: Sequence[str], secrets: Iterable[str]) -> None:
        """Add to the problems each of these secrets that a macro of the command would show."""
        asked = unset_variables(command, ())
        for name in secrets:
            if name in asked:
                self._add(
                    "command",
                    f"command: ${{envvar:{name}}} would show a secret to all who list processes; "
                    "have the program read the variable",
                )

    def _is_more_better(self) -> bool:
        """True if the name of the metric says that it is to be maximized."""
        node = self._entries["metric"].node
        return isinstance(node, ScalarNode) and _MORE_IS_BETTER.search(node.text.lower()) is not None

    def _add(self, key: str, problem: str) -> None:
        self._problems.add(self._entries[key].position, problem)


def _text(node: Node) -> str:
    if not isinstance(node, ScalarNode) or not node.text or (node.plain and node.value is None):
        raise ValueError("has to be text; write it in one line, in quotes if it has special characters")
    problem = value_problem(node.text)
    if problem:
        raise ValueError(problem)
    return node.text


def read_command(node: Node) -> tuple[str, ...]:
    """The words of a line as for a shell, or of a list. Raises ValueError."""
    if isinstance(node, SequenceNode):
        words = [_word(item) for item in node.items]
    else:
        text = _word(node) or _text(node)
        try:
            words = shlex.split(text)
        except ValueError as error:
            raise ValueError(f"{error}; write a line as for a shell, or a list of words") from error
    if not words or not words[0]:
        raise ValueError("is empty; write what runs, as in 'command: python train.py'")
    return tuple(words)


def read_setup(node: Node) -> tuple[str, ...]:
    """The words of a command as read_command() reads them, without macros. Raises ValueError."""
    words = read_command(node)
    macro = next((word for word in words if "${" in word), None)
    if macro is not None:
        raise ValueError(f"{macro!r} has a macro, and a setup has no metaparameters; leave it out")
    return words


def _word(node: Node) -> str:
    match node:
        case MappingNode(entries=(Entry(name=name, node=ScalarNode(value=None)),)):
            raise ValueError(f"text that begins with a brace has to be in quotes; write '{{{name}}}'")
    return "" if isinstance(node, ScalarNode) and node.value == "" else _text(node)


def read_function(node: Node) -> str:
    """A function as module:name. Raises ValueError."""
    text = _text(node)
    module, colon, name = text.partition(":")
    if not colon or not all(map(_is_name, [*module.split("."), name])):
        raise ValueError(f"{text!r} is not a function; write its module and its name, as in 'train:run'")
    return text


def _is_name(text: str) -> bool:
    return text.isidentifier() and not keyword.iskeyword(text)


def read_metric(node: Node) -> str:
    """The name of a metric. Raises ValueError."""
    name = _text(node)
    problem = metric_problem(name, 0)
    if problem:
        raise ValueError(problem)
    return name


def read_goal(node: Node) -> Goal:
    """`maximize` or `minimize`. Raises ValueError."""
    match _text(node):
        case "maximize":
            return "maximize"
        case "minimize":
            return "minimize"
        case other:
            raise ValueError(f"unknown goal {other!r}; write maximize or minimize")


def read_order(node: Node) -> bool:
    """True for `longest_first`, False for `given`. Raises ValueError."""
    match _text(node):
        case "longest_first":
            return True
        case "given":
            return False
        case other:
            raise ValueError(f"unknown order {other!r}; write longest_first or given")


def read_switch(node: Node) -> bool:
    """True or False. Raises ValueError."""
    value = node.value if isinstance(node, ScalarNode) else None
    if not isinstance(value, bool):
        raise ValueError("is neither true nor false; write one of them")
    return value


def read_duration(node: Node) -> float:
    """A duration in seconds, above 0. Raises ValueError."""
    match = _DURATION.fullmatch(_text(node))
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0
    if not 0 < seconds < float("inf"):
        raise ValueError(f"{_text(node)!r} is not a duration; write 90s, 30m, 2h, 1d or a number of seconds")
    return seconds


def read_method(node: Node) -> str:
    """One of METHODS. Raises ValueError."""
    name = _text(node)
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}; {nearest(name, METHODS)}")
    return name


def whole_number(least: int) -> Callable[[Node], int]:
    """A reader of whole numbers, `least` or more; it raises ValueError."""

    def read(node: Node) -> int:
        value = node.value if isinstance(node, ScalarNode) else None
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"has to be a whole number, {least} or more")
        return value

    return read


def read_image(node: Node) -> str:
    """The name of a container image. Raises ValueError."""
    image = _text(node)
    if not _IMAGE.fullmatch(image):
        raise ValueError(f"{image!r} is not an image; write it as for docker pull, as in python:3.13-slim")
    return image
