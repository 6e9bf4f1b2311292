"""Values of variables from the user's machine: added when an attempt starts.

The worker does not know them. Where a command has one of them in a word, it writes its name between two NULs,
which no word of a command can hold.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Iterable, Mapping

from framework.errors import FrameworkError
from framework.files import read_regular

_LARGEST = 2**26  # bytes of the file
_PLACE = re.compile("\0([^\0]*)\0")


class UserValues:
    """The values that the user's machine has sent to this host; another read may find newer ones."""

    def __init__(self, file: Path | None = None) -> None:
        """`file`: NAME=value, each ended by a NUL; None: this process has been given them as variables."""
        self._file = file

    def read(self, names: Iterable[str], given: Mapping[str, str]) -> dict[str, str]:
        """Return the values of these variables. Raises FrameworkError if one is not there."""
        names = list(names)
        if not names:
            return {}
        found = given if self._file is None else self._read_file(self._file)
        missing = [name for name in names if name not in found]
        if missing:
            raise FrameworkError(
                f"this host has no value of {', '.join(missing)}: ./infrainit.sh -f sends it"
            )
        return {name: found[name] for name in names}

    @staticmethod
    def _read_file(file: Path) -> dict[str, str]:
        try:
            content = os.fsdecode(read_regular(file, _LARGEST))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise FrameworkError(f"{file}: the values of variables cannot be read: {error}") from error
        return dict(each.split("=", 1) for each in content.split("\0") if "=" in each)


def placeholder(name: str) -> str:
    """Return what stands for the value of a variable in a word of a command."""
    return f"\0{name}\0"


def fill(words: Iterable[str], values: Mapping[str, str]) -> list[str]:
    """Return the words of a command with values in place of their placeholders."""
    return [_PLACE.sub(lambda found: values[found[1]], word) if "\0" in word else word for word in words]
