"""Files that an import has opened: each call reads them at positions of its own."""

from __future__ import annotations

import fcntl
import gc
import io
import os
import stat
import weakref
from collections.abc import Iterable
from contextlib import suppress

_DESCRIPTORS = "/proc/self/fd"
_MOST_DESCRIPTORS = 1024  # that are looked at where /proc is missing
# The flags that are about reading and writing; the others are about the moment of opening.
_KEPT_FLAGS = (
    os.O_ACCMODE | os.O_APPEND | os.O_NONBLOCK | os.O_SYNC | os.O_DSYNC | os.O_DIRECT | os.O_NOATIME
)  # fmt: skip
_WRITERS = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)


class OpenFiles:
    """Files that are open in a process before it forks.

    A fork shares each open file with its parent, the position in it included: what one process reads, the
    others miss. Files that are only written stay shared: so one process writes behind the other, and nothing
    is overwritten.
    """

    def __init__(self, others: Iterable[int]) -> None:
        """Look at the descriptors of this process, except for `others` and those of the standard streams."""
        readable = [each for each in _descriptors() if each not in (0, 1, 2, *others) and _is_read(each)]
        self._groups = list(_sharing_a_position(readable))
        self._identities = {each: _identity(each) for each in readable}
        self._writers = [weakref.ref(each) for each in _writers()]
        self.flush()  # else each fork would write what is in their buffers

    def reopen(self) -> list[str]:
        """Open the files again in a fork, under the same descriptors; return what cannot be opened again."""
        remarks = []
        for group in self._groups:
            same = [each for each in group if _identity(each) == self._identities[each]]
            try:
                if same:
                    _reopen(same)
            except OSError as error:
                remarks.append(
                    f"calls share their position in {_name(same[0])}, which was opened by the import: "
                    f"it cannot be opened again ({error.strerror}); open it in the function"
                )
        return remarks

    def flush(self) -> None:
        """Write what is in the buffers of files: those of the import, and those that were opened since."""
        for writer in (*filter(None, (reference() for reference in self._writers)), *_writers()):
            with suppress(Exception):  # the file is closed, or its disk is full
                if _identity(writer.fileno()):  # a pipe may be full, and nobody reads from it
                    writer.flush()


def _descriptors() -> list[int]:
    try:
        return [int(name) for name in os.listdir(_DESCRIPTORS)]
    except OSError:
        return list(range(_MOST_DESCRIPTORS))


def _identity(descriptor: int) -> tuple[int, int] | None:
    """Device and number of a regular file; None if the descriptor is anything else, or closed."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None


def _is_read(descriptor: int) -> bool:
    """True for a regular file that can be read, and has a position."""
    try:
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        os.lseek(descriptor, 0, os.SEEK_CUR)  # fails for one that was opened with O_PATH
    except OSError:
        return False
    return flags & os.O_ACCMODE != os.O_WRONLY and _identity(descriptor) is not None


def _sharing_a_position(descriptors: list[int]) -> Iterable[list[int]]:
    """Yield groups of descriptors that share a position, as after os.dup(): moving one moves the others."""
    left = list(descriptors)
    while left:
        first = left.pop(0)
        position = os.lseek(first, 0, os.SEEK_CUR)
        candidates = [
            each
            for each in left
            if _identity(each) == _identity(first) and os.lseek(each, 0, os.SEEK_CUR) == position
        ]
        os.lseek(first, position + 1, os.SEEK_SET)
        shared = [each for each in candidates if os.lseek(each, 0, os.SEEK_CUR) == position + 1]
        os.lseek(first, position, os.SEEK_SET)
        left = [each for each in left if each not in shared]
        yield [first, *shared]


def _reopen(group: list[int]) -> None:
    """Give descriptors that share a position another one in common, at the same place."""
    first = group[0]
    flags = fcntl.fcntl(first, fcntl.F_GETFL) & _KEPT_FLAGS
    position = os.lseek(first, 0, os.SEEK_CUR)
    again = os.open(f"{_DESCRIPTORS}/{first}", flags)  # the file itself, also if its name is gone
    try:
        os.lseek(again, position, os.SEEK_SET)
        for each in group:
            os.dup2(again, each, os.get_inheritable(each))
    finally:
        os.close(again)


def _name(descriptor: int) -> str:
    try:
        return os.readlink(f"{_DESCRIPTORS}/{descriptor}")
    except OSError:
        return f"the file with descriptor {descriptor}"


def _writers() -> list[io.IOBase]:
    """Files of this process that have a buffer for writing, except for those of before a gc.freeze()."""
    return [each for each in gc.get_objects() if issubclass(type(each), _WRITERS)]
