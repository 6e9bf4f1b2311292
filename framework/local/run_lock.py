"""Lock of a data directory: one run at a time, and no task outlives its run."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from framework.errors import FrameworkError
from framework.files import LocalFiles
from framework.local import orphans

LOCK_PATIENCE_SECONDS = 10.0  # for a run that was killed to be cleared away


@contextmanager
def alone(files: LocalFiles) -> Iterator[None]:
    """No other run uses the directory meanwhile, no task that outlived one does, and none will outlive this.

    Raises FrameworkError if another run is under way there, or the directory cannot be used.
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
        orphans.end_leftovers(files.worker.tasks)
        # It shares the lock: were this process killed, no other run begins before its tasks are gone.
        guard = subprocess.Popen(
            [sys.executable, "-I", "-S", orphans.__file__, files.worker.tasks],
            stdin=subprocess.PIPE,
            pass_fds=[lock.fileno()],
            start_new_session=True,  # out of reach of Ctrl-C and of a terminal that is closed
        )
        try:
            yield
        finally:
            guard.communicate()


def _lock(descriptor: int, files: LocalFiles) -> None:
    deadline = time.monotonic() + LOCK_PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            owner = files.lock.read_text().strip()
            if _is_alive(owner) or time.monotonic() > deadline:
                raise FrameworkError(
                    f"{files.path}: another run is under way here (process {owner or 'unknown'}); "
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
        return True  # it has only just begun
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
