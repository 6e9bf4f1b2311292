"""Kept lines: the last JSON objects of a file, each with its number."""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from framework.files import read_regular, write_atomically

log = logging.getLogger(__name__)

_LONGEST_FILE = 16 * 2**20  # bytes


class KeptLines:
    """The last objects of all that were added, in this process's life or earlier, in a file of JSON lines."""

    def __init__(self, path: Path, most: int) -> None:
        self.count = 0  # of all that were ever added; also the number of the last one
        self._path = path
        self._lines: deque[str] = deque(maxlen=most)
        self._unsaved = False
        try:
            self._lines.extend(read_regular(path, _LONGEST_FILE).decode().splitlines())
            self.count = int(json.loads(self._lines[-1])["number"]) if self._lines else 0
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            log.warning("%s cannot be read (%r): a new file replaces it", path, error)
            self._lines.clear()

    def add(self, content: Mapping[str, Any]) -> int:
        """Keep an object, as `number` with its number; returns that."""
        self.count += 1
        self._lines.append(json.dumps({"number": self.count, **content}))
        self._unsaved = True
        return self.count

    def read(self) -> list[dict[str, Any]]:
        """The objects that are kept. Raises ValueError if the file of an earlier process has others."""
        objects = [json.loads(line) for line in self._lines]
        if not all(isinstance(each, dict) for each in objects):
            raise ValueError("no objects")
        return objects

    def save(self) -> None:
        """Write the file if there is anything new. Raises OSError."""
        if self._unsaved:
            write_atomically(self._path, "".join(f"{line}\n" for line in self._lines), fsync=False)
            self._unsaved = False
