"""Variables of tasks: those that a project sets, and those that it wants from the user"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Wanted:
    """A variable whose value is on the machine of whoever runs the sweep."""

    name: str
    place: str  # LINE:COLUMN in the project's file
    is_secret: bool = False
    file: str | None = None  # path, absolute or from ~/ on, of what has the value; None: the environment
    as_file: bool = False  # True: the variable is the path of a file with the content of `file`


@dataclass(frozen=True)
class Variables:
    """What `environment:` and `secrets:` of a project say. No part of a task's identity."""

    values: Mapping[str, str] = field(default_factory=dict)  # that the project's file says
    wanted: tuple[Wanted, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.values, *(each.name for each in self.wanted))

    @property
    def passed(self) -> tuple[str, ...]:
        """The names of those from the user's environment that are no secrets."""
        return tuple(each.name for each in self.wanted if not each.is_secret)

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(each.name for each in self.wanted if each.is_secret)

    def lines(self) -> list[str]:
        """Say which names tasks get, in a line for each kind; no values."""
        kinds = (
            ("environment", list(self.values)),
            ("environment, from yours", self.passed),
            ("secrets", [_shown(each) for each in self.wanted if each.is_secret]),
        )
        return [f"{kind}: {', '.join(names)}" for kind, names in kinds if names]


def _shown(secret: Wanted) -> str:
    if secret.file is None:
        return secret.name
    return f"{secret.name} ({'as a file, ' if secret.as_file else ''}from {secret.file})"
