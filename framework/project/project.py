"""Project: the command or function that runs, and the rules for its tasks."""

import shlex
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from framework.messages.task_ids import task_id
from framework.project.command_line import expand
from framework.project.early_termination import EarlyTermination, Reports
from framework.project.resources import Resources
from framework.space.product import Combinations, Space
from framework.space.sampling import Method
from framework.space.values import Value

Goal: TypeAlias = Literal["maximize", "minimize"]


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
    # The same for the same combinations in the same order; one of its own if that is not known.
    definition: str = field(default_factory=lambda: uuid.uuid4().hex)

    def task_id(self, parameters: Mapping[str, Value]) -> str:
        """The identity of the task that runs with `parameters`."""
        return task_id(self.command, parameters, self.function)

    @property
    def needs_study(self) -> bool:
        """Does something decide on its tasks from the results of others? Then Optuna has to be installed."""
        return self.method.is_adaptive or self.early_termination is not None

    def gives_up_after(self, failures: int, excused: int = 0) -> bool:
        """True if a task ends with its failure number `failures`, of which `excused` are the host's fault."""
        return failures > self.retries + excused

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
