"""Project: the command or function that runs, and the rules for its tasks."""

import shlex
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias

from framework.messages.task_ids import task_id
from framework.project.command_line import expand, identifying, nested
from framework.project.early_termination import EarlyTermination, Reports
from framework.project.mounts import Mount
from framework.project.notify import Notify
from framework.project.resources import Resources
from framework.project.variables import Variables
from framework.space.product import Combinations, Space
from framework.space.sampling import Method
from framework.space.values import Value, canonical

Goal: TypeAlias = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class Project:
    """A checked project."""

    name: str
    path: Path  # the project's directory
    command: tuple[str, ...]  # words, with placeholders and macros; empty if a function runs
    metric: str | None  # name of the metric that results are ranked by; None: they are not
    goal: Goal
    timeout: float | None  # seconds that an attempt may take; None: no limit
    retries: int  # number of attempts after the first that failed
    image: str | None  # the image that tasks run in on hosts; None: the usual one
    space: Combinations  # the combinations of the sweep: the method's choice from the search space
    packages: tuple[str, ...] = ()  # Debian packages that the image gets on hosts
    build: str | None = None  # path of the Dockerfile of which the image is made; None: there is `image`
    docker_options: tuple[str, ...] = ()  # of the container that tasks run in on hosts
    longest_first: bool = True  # False: in the order of the combinations, whatever is known of durations
    copies: bool = True  # idle slots at the end of the sweep run again what takes longer than expected
    max_failures: int | None = None  # number of failed tasks that stops the sweep; None: no limit
    function: str | None = None  # module:name, called with the metaparameters; None: the command runs
    search_space: Space = field(default_factory=lambda: Space({}))  # the space that parameters.yml describes
    method: Method = field(default_factory=Method)
    resources: Resources | None = None  # the needs of one task; None: one slot
    early_termination: EarlyTermination | None = None  # None: no task is ended early
    free_disk: int | None = None  # bytes that must be free on a host's disk; None: the worker's own figure
    host_labels: tuple[str, ...] = ()  # labels that a host of the hosts file must have to run its tasks
    workdir: str = ""  # path of the directory below its own in which a task starts; empty: in its own
    mounts: tuple[Mount, ...] = ()  # directories of the hosts that tasks see
    setup: tuple[str, ...] = ()  # words of the command that prepares a host for tasks; empty: none does
    setup_timeout: float | None = None  # seconds that it may take; None: no limit
    # Values that stand for the lack of a metaparameter: results from before it was added count as theirs.
    defaults: Mapping[str, Value] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()  # patterns of files in its directory that do not belong to it
    variables: Variables = field(default_factory=Variables)  # of its tasks, beside the framework's own
    notify: Notify | None = None  # who is told what becomes of its sweep
    sweep_file: Path | None = None  # the W&B sweep file that describes it; None: project.yml does
    notices: tuple[str, ...] = ()  # what is right in its files, but may not be what the user expects
    # Digest of all that makes the combinations and their order; unique if that is not known.
    definition: str = field(default_factory=lambda: uuid.uuid4().hex)

    def task_id(self, parameters: Mapping[str, Value]) -> str:
        """The identity of the task that runs with `parameters`."""
        chosen = {
            name: value
            for name, value in parameters.items()
            if name not in self.defaults or canonical(value) != canonical(self.defaults[name])
        }
        return task_id(self._words, chosen, self.function)

    def recorded_id(self, recorded: Mapping[str, Value]) -> str:
        """The identity of the task that has run with the metaparameters `recorded`, without defaults."""
        return task_id(self._words, recorded, self.function)

    @cached_property
    def _words(self) -> list[str]:
        return identifying(self.command)

    def complete(self, number: int, recorded: Mapping[str, Value]) -> Mapping[str, Value]:
        """The metaparameters of combination `number`, some of which a result from earlier may lack."""
        return self.space.combination(number) if self.defaults else recorded

    @property
    def needs_study(self) -> bool:
        """True if results of other tasks decide on a task; Optuna has to be installed then."""
        return self.method.is_adaptive or self.early_termination is not None

    @property
    def settings_of_hosts(self) -> tuple[str, ...]:
        """Keys of project.yml that a run on this machine alone does not use, beside `image`."""
        keys = {"packages": self.packages, "build": self.build, "docker_options": self.docker_options}
        return tuple(key for key, value in keys.items() if value)

    def gives_up_after(self, failures: int, excused: int = 0) -> bool:
        """True if a task ends with its failure number `failures`, of which `excused` are the host's fault."""
        return failures > self.retries + excused

    def reports(self) -> Reports | None:
        """A new counter for the reports of one attempt; None if no task is ended early."""
        return (
            Reports(self.metric, self.early_termination) if self.metric and self.early_termination else None
        )

    def argv(
        self, parameters: Mapping[str, Value], environment: Mapping[str, str] | None = None
    ) -> list[str]:
        """The command with placeholders and macros replaced by `parameters`: see command_line.expand()."""
        return expand(self.command, parameters, environment, self.search_space.paths)

    def nested(self, parameters: Mapping[str, Value]) -> dict[str, Any]:
        """The metaparameters as mappings in mappings, as wandb.config has them."""
        return nested(parameters, self.search_space.paths)

    def shown(self, parameters: Mapping[str, Value]) -> str:
        """The command or the call that runs with `parameters`, for people to read."""
        if self.function is None:
            return shlex.join(self.argv(parameters))
        return f"{self.function}({', '.join(f'{name}={value!r}' for name, value in parameters.items())})"
