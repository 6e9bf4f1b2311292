"""Output of an attempt on this host: its last lines, for those who look at it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from framework.messages.output_tail import LONGEST_TAIL, OutputTail
from framework.messages.task_ids import AttemptId

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = _OPEN | os.O_NONBLOCK | os.O_NOCTTY  # opening a named pipe would wait


def read_tail(tasks: Path, attempt: AttemptId) -> OutputTail:
    """The tail of the output that an attempt has written below `tasks`, the directory of all attempts.

    No link is followed: tasks can put links to files there that this process alone can read. Raises OSError.
    """
    directory = os.open(tasks, _OPEN | os.O_DIRECTORY)
    try:
        for name in (attempt.task, str(attempt.number)):
            inner = os.open(name, _OPEN | os.O_DIRECTORY, dir_fd=directory)
            os.close(directory)
            directory = inner
        return OutputTail(_tail("stdout", directory), _tail("stderr", directory))
    finally:
        os.close(directory)


def _tail(name: str, directory: int) -> str:
    """The last lines of a file that is written to; "" if it is no regular file. Raises OSError."""
    file = os.open(name, _FILE, dir_fd=directory)
    try:
        is_regular, size = stat.S_ISREG(os.fstat(file).st_mode), os.fstat(file).st_size
        start = max(0, size - LONGEST_TAIL)
        content = os.pread(file, LONGEST_TAIL, start) if is_regular else b""
    finally:
        os.close(file)
    if start > 0:  # it begins inside a line
        content = content.partition(b"\n")[2] or content
    return content.decode(errors="replace")
