"""Remarks of a call on its result, in memory that it shares with the keeper."""

from __future__ import annotations

import mmap

_SIZE = 8192  # bytes
_LONGEST_REMARK = 500  # characters


class Remarks:
    """Remarks, each of one line; what does not fit is left out."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _SIZE)  # no descriptor, and nothing on disk

    def add(self, remark: str) -> None:
        text = " ".join(remark.split())[:_LONGEST_REMARK].encode(errors="replace") + b"\n"
        if self._memory.tell() + len(text) <= _SIZE:
            self._memory.write(text)

    def read(self) -> list[str]:
        """Return the remarks that any process has added that was forked since."""
        return self._memory[:].rstrip(b"\0").decode(errors="replace").splitlines()
