"""File descriptors sent over a Unix socket, as socket.send_fds() of Python 3.9 does."""

from __future__ import annotations

import array
import errno
import os
import socket
from collections.abc import Iterable


def send_descriptors(sock: socket.socket, data: bytes, descriptors: Iterable[int]) -> int:
    """Send `data`, at least one byte, with `descriptors`; return how many bytes were sent. Raises OSError."""
    numbers = array.array("i", descriptors)
    return sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers)])


def receive_descriptors(sock: socket.socket, size: int, most: int) -> tuple[bytes, list[int]]:
    """Receive up to `size` bytes, and up to `most` descriptors with them; programs do not inherit these.

    There are no bytes once the other side has closed its socket. Raises OSError, also if not all descriptors
    that were sent can be open here: then none is.
    """
    numbers = array.array("i")
    data, ancillary, flags, _ = sock.recvmsg(
        size, socket.CMSG_LEN(most * numbers.itemsize), socket.MSG_CMSG_CLOEXEC
    )
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            numbers.frombytes(content[: len(content) - len(content) % numbers.itemsize])
    if flags & socket.MSG_CTRUNC:
        for descriptor in numbers:
            os.close(descriptor)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    return data, list(numbers)
