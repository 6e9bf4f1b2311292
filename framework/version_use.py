"""Use of a version of the code: a lock that keeps it on its host."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def use_version(path: Path) -> int | None:
    """Lock the version of the code in the directory `path` against removal until the descriptor is closed.

    The lock is on its file VERSION, and shared: update_files.sh removes only versions that it can lock alone.
    Returns None if `path` is no version, as in a checkout, or its file system has no locks.
    """
    with suppress(OSError):
        descriptor = os.open(path / "VERSION", os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        return descriptor
    return None


@contextmanager
def version_in_use(path: Path) -> Iterator[None]:
    """Hold such a lock in the block."""
    descriptor = use_version(path)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)
