"""Reads and checks a project: what runs (project.yml) and with which metaparameters (parameters.yml).

A W&B sweep file says both.
"""

import keyword
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar

from framework import yaml_source
from framework.command import expand
from framework.early_termination import EarlyTermination, Reports, read_early_termination
from framework.errors import ProjectError
from framework.files import ProjectFiles
from framework.method import METHODS, Method
from framework.metrics import metric_problem
from framework.parameters import read_parameters, read_space
from framework.resources import Resources, read_resources
from framework.space import Combinations, Space, Value, value_problem
from framework.sweep_file import read_sweep
from framework.task import task_id
from framework.yaml_source import Entry, Node, Position, Problems, Scalar, Unusable, entries_of, nearest

Goal: TypeAlias = Literal["maximize", "minimize"]
T = TypeVar("T")

_KEYS = (
    "command",
    "function",
    "metric",
    "goal",
    "timeout",
    "retries",
    "max_failures",
    "image",
    "method",
    "run_cap",
    "seed",
    "resources",
    "early_terminate",
)
_WITHOUT_OPTUNA = (
    "needs Optuna, which is not installed here; add a line 'optuna' to requirements.txt, and run "
    "./infrainit.sh -f; without a cluster: pip install 'infrainit[adaptive]'"
)
_SWEEP_SUFFIXES = (".yaml", ".yml")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([smhd]?)")
_IMAGE = re.compile(r"[A-Za-z0-9][\w.:/@-]*")


@dataclass(frozen=True)
class Project:
    """A checked project."""

    name: str
    path: Path
    command: tuple[str, ...]  # empty if a function runs
    metric: str | None  # the one that best() ranks by
    goal: Goal
    timeout: float | None  # seconds an attempt may take; None: any
    retries: int  # further attempts after one that failed
    image: str | None  # base of the worker image, if not the usual one
    space: Combinations  # those that are run: what the method makes of the search space
    max_failures: int | None = None  # the set is stopped when that many tasks have failed for good
    function: str | None = None  # module:name, called with the metaparameters instead of a command
    search_space: Space = field(default_factory=lambda: Space({}))  # what parameters.yml describes
    method: Method = field(default_factory=Method)
    resources: Resources | None = None  # what one task needs of its host; None: a slot
    early_termination: EarlyTermination | None = None  # of tasks that do badly; None: none is ended

    def task_id(self, parameters: Mapping[str, Value]) -> str:
        """The identity of the task that runs with `parameters`."""
        return task_id(self.command, parameters, self.function)

    @property
    def needs_study(self) -> bool:
        """Does something decide on its tasks from the results of others? Then Optuna has to be installed."""
        return self.method.is_adaptive or self.early_termination is not None

    def reports(self) -> Reports | None:
        """What counts the reports of one attempt; None if no task is ended early."""
        return (
            Reports(self.metric, self.early_termination) if self.metric and self.early_termination else None
        )

    def argv(
        self, parameters: Mapping[str, Value], environment: Mapping[str, str] | None = None
    ) -> list[str]:
        """The command with `parameters` in the place of its macros, see command.expand.

        A command without macros gets them as options: --name=value, --name for true, nothing for false.
        """
        return expand(self.command, parameters, environment)

    def shown(self, parameters: Mapping[str, Value]) -> str:
        """What runs with `parameters`, as people would write it."""
        if self.function is None:
            return shlex.join(self.argv(parameters))
        return f"{self.function}({', '.join(f'{name}={value!r}' for name, value in parameters.items())})"


def load_project(path: Path, name: str | None = None) -> Project:
    """The project in the directory `path`, or in the W&B sweep file `path` with the files beside it.

    Called `name` (default: as the directory, or the file if that is given). A directory with a sweep file
    in the place of project.yml is a project too.
    Raises ProjectError with everything that is wrong in its files, each with file, line and column.
    """
    directory = path.parent if path.is_file() and path.suffix in _SWEEP_SUFFIXES else path
    if not directory.is_dir():
        raise ProjectError(
            [f"{path}: no such directory; a project is a directory with project.yml and parameters.yml"]
        )
    files = ProjectFiles(directory)
    sweep_file = path if directory != path else files.sweep
    problems = Problems()
    if sweep_file:
        sweep = read_sweep(sweep_file, problems)
        settings = _Settings(sweep_file, sweep.settings, problems)
    else:
        settings = _Settings(files.settings, _read_settings(files.settings, problems), problems)
    method = Method(
        # one that is wrong is no grid, of which more would be asked
        settings.read("method", _method, "" if "method" in settings else "grid"),
        settings.read("run_cap", _run_cap, None),
        settings.read("seed", _seed, 0),
    )
    grid = method.name == "grid"
    if sweep_file:
        top = Position(sweep_file, 1, 1)
        search_space = read_space(top, sweep.parameters, {}, problems, grid=grid)
    else:
        search_space = read_parameters(files.parameters, problems, grid=grid)
    settings.check_method(method, search_space)
    project = Project(
        name=name or (path.stem if path.is_file() else directory.resolve().name),
        path=directory,
        command=settings.read("command", _command, ()),
        metric=settings.read("metric", _metric, None),
        goal=settings.read("goal", _goal, "maximize"),
        timeout=settings.read("timeout", _duration, None),
        retries=settings.read("retries", _retries, 0),
        image=settings.read("image", _image, None),
        space=method.choose(search_space),
        max_failures=settings.read("max_failures", _max_failures, None),
        search_space=search_space,
        method=method,
        resources=settings.read("resources", lambda node: read_resources(node, problems), None),
        function=settings.read("function", _function, None),
        early_termination=settings.read(
            "early_terminate", lambda node: read_early_termination(node, problems), None
        ),
    )
    if project.function is not None:
        settings.check_arguments(project.space.names)
    if problems:
        raise ProjectError(problems.lines)
    return project


def _read_settings(file: Path, problems: Problems) -> tuple[Entry, ...] | None:
    node = yaml_source.read_yaml(file, problems)
    return None if node is None else entries_of(node, "command: …", problems)


class _Settings:
    """The entries of project.yml; what cannot be read becomes a problem and its default."""

    def __init__(self, file: Path, entries: Sequence[Entry] | None, problems: Problems) -> None:
        """No entries at all (None): the file could not be read, and `problems` says so."""
        self._problems = problems
        self._entries = {entry.name: entry for entry in entries or ()}
        for entry in self._entries.values():
            if entry.name not in _KEYS:
                problems.add(entry.position, f"unknown key {entry.name!r}; {nearest(entry.name, _KEYS)}")
        if entries is not None and not {"command", "function"} & self._entries.keys():
            problems.add(
                Position(file, 1, 1),
                "no command; write what runs, as in 'command: python train.py' or 'function: train:run'",
            )
        if {"command", "function"} <= self._entries.keys():
            problems.add(
                self._entries["function"].position,
                "a command and a function; one of them runs, remove the other",
            )
        if "goal" in self._entries and "metric" not in self._entries:
            problems.add(
                self._entries["goal"].position,
                "a goal without a metric; name the metric it is about, or remove it",
            )

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def check_method(self, method: Method, space: Space) -> None:
        """What is wrong with the method for this space becomes a problem."""
        if method.name == "random" and not space.is_finite and "run_cap" not in self._entries:
            self._problems.add(
                self._entries["method"].position,
                "draws from distributions never end; say how many, as in 'run_cap: 100'",
            )
        if method.name == "grid" and "seed" in self._entries:
            self._problems.add(
                self._entries["seed"].position,
                "seed: a grid has nothing random; remove it, or write seeds: in parameters.yml",
            )
        if method.is_adaptive:
            self._check_adaptive(self._entries["method"], space)
        if "early_terminate" in self._entries:
            self._check_study(self._entries["early_terminate"])

    def _check_adaptive(self, entry: Entry, space: Space) -> None:
        self._check_study(entry)
        if "run_cap" not in self._entries:
            self._problems.add(
                entry.position, "an adaptive method needs an end; say how many tasks, as in 'run_cap: 50'"
            )
        if space.seeds is not None:
            self._problems.add(
                entry.position, "seeds: in parameters.yml goes with grid and random only; remove it"
            )

    def _check_study(self, entry: Entry) -> None:
        if "metric" not in self._entries:
            self._problems.add(
                entry.position, f"{entry.name}: by which metric? write it, as in 'metric: accuracy'"
            )
        if find_spec("optuna") is None:
            self._problems.add(entry.position, f"{entry.name}: {_WITHOUT_OPTUNA}")

    def read(self, key: str, convert: Callable[[Node], T], default: T) -> T:
        entry = self._entries.get(key)
        if entry is None or isinstance(entry.node, Unusable):
            return default
        try:
            return convert(entry.node)
        except ValueError as error:
            self._problems.add(entry.node.position, f"{key}: {error}")
            return default

    def check_arguments(self, names: Iterable[str]) -> None:
        """A function is called with the metaparameters as keyword arguments."""
        for name in names:
            if not _is_name(name):
                self._problems.add(
                    self._entries["function"].position,
                    f"metaparameter {name!r} cannot be an argument of a function; rename it",
                )


def _text(node: Node) -> str:
    if not isinstance(node, Scalar) or not node.text or (node.plain and node.value is None):
        raise ValueError("has to be text; write it in one line, in quotes if it has special characters")
    problem = value_problem(node.text)
    if problem:
        raise ValueError(problem)
    return node.text


def _command(node: Node) -> tuple[str, ...]:
    if isinstance(node, yaml_source.Sequence):
        words = [_word(item) for item in node.items]
    else:
        try:
            words = shlex.split(_text(node))
        except ValueError as error:
            raise ValueError(f"{error}; write a line as for a shell, or a list of words") from error
    if not words or not words[0]:
        raise ValueError("is empty; write what runs, as in 'command: python train.py'")
    return tuple(words)


def _word(node: Node) -> str:
    return "" if isinstance(node, Scalar) and node.value == "" else _text(node)


def _function(node: Node) -> str:
    text = _text(node)
    module, colon, name = text.partition(":")
    if not colon or not all(map(_is_name, [*module.split("."), name])):
        raise ValueError(f"{text!r} is no function; write its module and its name, as in 'train:run'")
    return text


def _is_name(text: str) -> bool:
    return text.isidentifier() and not keyword.iskeyword(text)


def _metric(node: Node) -> str:
    name = _text(node)
    problem = metric_problem(name, 0)
    if problem:
        raise ValueError(problem)
    return name


def _goal(node: Node) -> Goal:
    match _text(node):
        case "maximize":
            return "maximize"
        case "minimize":
            return "minimize"
        case other:
            raise ValueError(f"{other!r} is no goal; write maximize or minimize")


def _duration(node: Node) -> float:
    match = _DURATION.fullmatch(_text(node))
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0
    if not 0 < seconds < float("inf"):
        raise ValueError(f"{_text(node)!r} is no time; write 90s, 30m, 2h, 1d or a number of seconds")
    return seconds


def _retries(node: Node) -> int:
    return _whole_number(node, 0)


def _max_failures(node: Node) -> int:
    return _whole_number(node, 1)


def _method(node: Node) -> str:
    name = _text(node)
    if name not in METHODS:
        raise ValueError(f"{name!r} is no method; {nearest(name, METHODS)}")
    return name


def _run_cap(node: Node) -> int:
    return _whole_number(node, 1)


def _seed(node: Node) -> int:
    return _whole_number(node, 0)


def _whole_number(node: Node, least: int) -> int:
    value = node.value if isinstance(node, Scalar) else None
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"has to be a whole number, {least} or more")
    return value


def _image(node: Node) -> str:
    image = _text(node)
    if not _IMAGE.fullmatch(image):
        raise ValueError(f"{image!r} is no image; write it as for docker pull, as in python:3.13-slim")
    return image
