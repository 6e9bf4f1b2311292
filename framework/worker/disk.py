"""Shortage of disk space on this host."""

from __future__ import annotations

import shutil
from pathlib import Path

LEAST_FREE_BYTES = 200 * 2**20  # unless the project says how much


def disk_shortage(directory: Path, needed: int | None = None) -> str:
    """A description of what the disk of `directory` lacks; empty if it has enough space for tasks.

    `needed`: bytes that have to be free; None: LEAST_FREE_BYTES.
    """
    try:
        free = shutil.disk_usage(directory).free
    except OSError as error:
        return f"{directory} cannot be used ({error.strerror})"
    least = LEAST_FREE_BYTES if needed is None else needed
    if free >= least:
        return ""
    return f"only {free // 2**20} MiB are free on its disk, of {-(-least // 2**20)} MiB (free_disk)"
