"""Sending of file descriptors over Unix sockets, as Python 3.9 and newer can by themselves."""

from __future__ import annotations

import array
import socket
from typing import List, Sequence, Tuple


def send_descriptors(sock: socket.socket, data: bytes, descriptors: Sequence[int]) -> None:
    """Send `data`, which must not be empty, with duplicates of `descriptors`. Raises OSError."""
    ancillary = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
    sock.sendmsg([data], [ancillary])


def receive_descriptors(sock: socket.socket, size: int, most: int) -> Tuple[bytes, List[int]]:
    """Receive at most `size` bytes, and at most `most` descriptors. Raises OSError."""
    descriptors = array.array("i")
    data, ancillary, _, _ = sock.recvmsg(size, socket.CMSG_SPACE(most * descriptors.itemsize))
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
    return data, list(descriptors)
