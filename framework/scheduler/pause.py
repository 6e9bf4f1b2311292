"""Pause of a sweep: a file keeps its reason, so that it outlives the master."""

from __future__ import annotations

from pathlib import Path

from framework.files import write_atomically


class Pause:
    """The pause of a sweep; `reason` is empty while it runs."""

    def __init__(self, file: Path) -> None:
        self._file = file
        try:
            self.reason = file.read_text() or "no reason was given"
        except FileNotFoundError:
            self.reason = ""

    def begin(self, reason: str) -> None:
        """Raises OSError if the file cannot be written."""
        write_atomically(self._file, reason)
        self.reason = reason

    def end(self) -> None:
        """Raises OSError if the file cannot be removed."""
        self._file.unlink(missing_ok=True)
        self.reason = ""
