"""Notification of a project: whom the master tells what becomes of its sweep"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from framework.project.variables import Wanted

NAME_IN_URL = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]{0,199})\}")


@dataclass(frozen=True)
class Notify:
    """A webhook, or a command in its place."""

    url: str = ""  # with ${NAME} for values that the project's file does not say
    command: tuple[str, ...] = ()  # words; empty if there is a URL
    wanted: tuple[Wanted, ...] = ()  # values from the user's machine, for the URL or the command alone
    values: tuple[tuple[str, str], ...] = ()  # variables that the project's file says

    @property
    def shown(self) -> str:
        """What it is, without the URL, which may be a secret itself."""
        what = f"{shlex.join(self.command)}, beside the master" if self.command else "a webhook"
        return f"{what}{''.join(f', with {each.name} of yours' for each in self.wanted)}"

    def address(self, values: Mapping[str, str]) -> str:
        """The URL with these values. Raises KeyError with the name of one that is missing."""
        known = {**dict(self.values), **values}
        return NAME_IN_URL.sub(lambda mark: known[mark[1]], self.url)
