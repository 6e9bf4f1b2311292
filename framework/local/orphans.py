"""Removal of processes that outlived the run they belong to.

As a program, `orphans.py DIRECTORY`, it waits for the end of its standard input, which comes when the run
ends, however it ends: not even kill -9 leaves tasks behind. It needs nothing but the standard library.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_PATIENCE_SECONDS = 5.0  # longest wait for processes that the kernel cannot end at once
_PAUSE_SECONDS = 0.01


def kill_orphans(tasks: Path) -> None:
    """Kill every process whose task has its directory in `tasks`, and wait until they are gone."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (found := list(task_processes(tasks))) and time.monotonic() < deadline:
        for process in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        time.sleep(_PAUSE_SECONDS)


def task_processes(tasks: Path) -> Iterator[int]:
    """Yield the ids of all processes whose task has its directory in `tasks`.

    They are recognized by TASK_DIR, which every process of a task inherits, in whatever group it is. Where
    there is no /proc, none is found.
    """
    wanted = b"TASK_DIR=" + os.fsencode(tasks) + b"/"
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            environment = (directory / "environ").read_bytes()
        except OSError:  # the process has ended, or belongs to another user
            continue
        if any(variable.startswith(wanted) for variable in environment.split(b"\0")):
            yield int(directory.name)


if __name__ == "__main__":
    sys.stdin.buffer.read()
    kill_orphans(Path(sys.argv[1]))
