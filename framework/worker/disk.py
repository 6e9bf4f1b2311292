"""Shortage of disk space on this host."""

from __future__ import annotations

import shutil
from pathlib import Path

LEAST_FREE_BYTES = 200 * 10**6
LEAST_FREE_SHARE = 0.01  # of the disk


def disk_shortage(directory: Path) -> str:
    """A description of what the disk of `directory` lacks; empty if it has enough space for tasks."""
    try:
        disk = shutil.disk_usage(directory)
    except OSError as error:
        return f"{directory} cannot be used ({error.strerror})"
    needed = max(LEAST_FREE_BYTES, int(disk.total * LEAST_FREE_SHARE))
    if disk.free >= needed:
        return ""
    return f"only {disk.free // 10**6} MB are free on its disk, of {needed // 10**6} MB that are needed"
