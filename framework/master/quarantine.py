"""Quarantine of malformed, foreign and unexpected messages."""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from pathlib import Path
from typing import Any

from framework.files import read_regular, write_atomically

log = logging.getLogger(__name__)

KEPT = 100
LONGEST = 1000  # characters of a message, and of a reason
LONGEST_FILE = 16 * 2**20  # bytes


class Quarantine:
    """The last quarantined messages, in a file of JSON lines; each carries its number, from 1."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: deque[str] = deque(maxlen=KEPT)
        self._unsaved = False
        self.count = 0
        try:
            self._lines.extend(read_regular(path, LONGEST_FILE).decode().splitlines())
            self.count = int(json.loads(self._lines[-1])["number"]) if self._lines else 0
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            log.warning("%s cannot be read (%r): a new file replaces it", path, error)
            self._lines.clear()

    def add(self, queue: str, body: Any, reason: str) -> None:
        """Count a message and keep its beginning; `body` may be anything. Never raises."""
        self.count += 1
        content = {
            "number": self.count,
            "when": time.time(),
            "queue": queue[:LONGEST],
            "reason": reason[:LONGEST],
            "message": _beginning(body),
        }
        self._lines.append(json.dumps(content))
        self._unsaved = True
        log.warning("a message in the queue %a was quarantined: %a", content["queue"], content["reason"])

    def save(self) -> None:
        """Write the file if there is anything new. Raises OSError."""
        if self._unsaved:
            write_atomically(self._path, "".join(f"{line}\n" for line in self._lines), fsync=False)
            self._unsaved = False


def _beginning(body: Any) -> str:
    """The first characters of a message, fit for a terminal."""
    if isinstance(body, memoryview):
        body = bytes(body[:LONGEST])
    if isinstance(body, bytes):
        body = body[:LONGEST].decode(errors="backslashreplace")
    text = body if isinstance(body, str) else type(body).__name__
    return "".join(c if c.isprintable() and c.isascii() else ascii(c)[1:-1] for c in text[:LONGEST])
