"""Job: one attempt, as a worker gives it to its runner."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Mapping

from framework.files import AttemptFiles
from framework.project.early_termination import EarlyTermination, Reports


@dataclass(frozen=True)
class Job:
    """All that the runner needs to know of one attempt.

    `context` is the worker's own: the runner keeps it, and returns it with every event of the attempt.
    """

    attempt: str  # TASK.NUMBER
    directory: str  # of the attempt
    project_path: str
    environment: Mapping[str, str]  # the attempt's own variables
    command: list[str]  # words, with placeholders (see user_values.py); empty if a function runs
    workdir: str = ""  # path of the directory below the project in which the program starts
    function: str | None = None  # module:name
    parameters: Mapping[str, Any] = field(default_factory=dict)  # arguments of the function
    contents: Mapping[str, str] = field(default_factory=dict)  # files of the attempt's directory, by name
    timeout: float | None = None  # seconds
    ranked: str | None = None  # metric that the project ranks by: kept however many there are
    early_termination: Mapping[str, Any] | None = None  # fields of EarlyTermination
    wanted: list[str] = field(default_factory=list)  # variables whose values the runner has: see user_values
    context: Any = None

    @cached_property
    def files(self) -> AttemptFiles:
        task, _, number = self.attempt.partition(".")
        return AttemptFiles(Path(self.directory), task, int(number))

    @property
    def start(self) -> Path:
        """Directory in which the program starts."""
        return self.files.work / self.workdir

    @property
    def project(self) -> Path:
        return Path(self.project_path)

    def reports(self) -> Reports | None:
        """Return a new counter for the reports of the metric; None if no task is ended early."""
        if self.ranked is None or self.early_termination is None:
            return None
        rule = _known(EarlyTermination, self.early_termination)
        rungs = tuple(rule.pop("rungs", ()))
        return Reports(self.ranked, EarlyTermination(rungs=rungs, **rule))

    def to_message(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> Job:
        """Fields of a newer worker are ignored. Raises TypeError if one is missing."""
        return cls(**_known(cls, message))


def _known(kind: type, message: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the fields that the dataclass `kind` has."""
    known = {each.name for each in fields(kind)}
    return {name: value for name, value in message.items() if name in known}
