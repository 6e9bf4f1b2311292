"""Lock of a data directory: one run at a time, and no task outlives its run."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from framework.errors import FrameworkError
from framework.files import LocalFiles
from framework.runner import orphans

LOCK_PATIENCE_SECONDS = 10.0  # longest wait until the tasks of a killed run are gone


@contextmanager
def run_lock(files: LocalFiles) -> Iterator[int]:
    """Lock the directory for one run; kill tasks of earlier runs, and its own; yields the lock's descriptor.

    A runner that inherits the descriptor keeps the lock: if this process is killed, no other run begins
    before the runner has ended its tasks.

    Raises FrameworkError if another run uses the directory, or if it cannot be used.
    """
    try:
        files.worker.tasks.mkdir(parents=True, exist_ok=True)
        lock = files.lock.open("a+")
    except OSError as error:
        raise FrameworkError(
            f"{files.path}: cannot be used ({error.strerror}); choose another directory with --data"
        ) from error
    with lock:
        _lock(lock.fileno(), files)
        orphans.kill_orphans(files.worker.tasks)
        try:
            yield lock.fileno()
        finally:
            orphans.kill_orphans(files.worker.tasks)  # nobody else does if the runner was killed last


def _lock(descriptor: int, files: LocalFiles) -> None:
    """Lock the file, and write the id of this process into it."""
    deadline = time.monotonic() + LOCK_PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            owner = files.lock.read_text().strip()
            if _is_alive(owner) or time.monotonic() > deadline:
                raise FrameworkError(
                    f"{files.path}: another run uses this directory (process {owner or 'unknown'}); "
                    "wait for its end, or choose another directory with --data"
                ) from None
            time.sleep(0.05)
        except OSError as error:
            raise FrameworkError(
                f"{files.lock}: cannot be locked ({error.strerror}); "
                "choose a directory on a local disk with --data"
            ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)


def _is_alive(process: str) -> bool:
    if not process.isdecimal():
        return True  # a run that has just begun has not written its id yet
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
