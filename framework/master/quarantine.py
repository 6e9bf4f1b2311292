"""Quarantine of malformed, foreign and unexpected messages."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from framework.scheduler.kept_lines import KeptLines

log = logging.getLogger(__name__)

KEPT = 100
LONGEST = 1000  # characters of a message, and of a reason


class Quarantine:
    """The last quarantined messages, in a file of JSON lines; each carries its number, from 1."""

    def __init__(self, path: Path) -> None:
        self._lines = KeptLines(path, KEPT)

    @property
    def count(self) -> int:
        """The number of all messages that were ever quarantined."""
        return self._lines.count

    def add(self, queue: str, body: Any, reason: str) -> None:
        """Count a message and keep its beginning; `body` may be anything. Never raises."""
        content = {
            "when": time.time(),
            "queue": queue[:LONGEST],
            "reason": reason[:LONGEST],
            "message": _beginning(body),
        }
        self._lines.add(content)
        log.warning("a message in the queue %a was quarantined: %a", content["queue"], content["reason"])

    def save(self) -> None:
        """Write the file if there is anything new. Raises OSError."""
        self._lines.save()


def _beginning(body: Any) -> str:
    """The first characters of a message, fit for a terminal."""
    if isinstance(body, memoryview):
        body = bytes(body[:LONGEST])
    if isinstance(body, bytes):
        body = body[:LONGEST].decode(errors="backslashreplace")
    text = body if isinstance(body, str) else type(body).__name__
    return "".join(c if c.isprintable() and c.isascii() else ascii(c)[1:-1] for c in text[:LONGEST])
