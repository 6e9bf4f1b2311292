"""Connection of a worker to its runner."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from typing import Any

from framework.runner.protocol import LONGEST_LINE, Lines, encode

_CHUNK = 2**16
_LONGEST_HELLO = 2**20  # bytes
_SEND_SECONDS = 30  # longest wait for a runner that does not read


class RunnerConnection:
    """Messages over a connected socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lock = threading.Lock()
        self._lines = Lines(_LONGEST_HELLO)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _SEND_SECONDS, 0))

    def trust(self) -> None:
        """Take long messages, too: the other side is the runner."""
        self._lines.longest = LONGEST_LINE

    def fileno(self) -> int:
        return self._sock.fileno()

    def send(self, **message: Any) -> None:
        """Send a message; it is lost if the connection has ended, which the next receive() tells."""
        with self._lock:
            try:
                self._sock.sendall(encode(message))
            except OSError:  # it may hang, too
                self._shut()

    def _shut(self) -> None:
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def receive(self) -> list[dict[str, Any]] | None:
        """The messages that have come, after waiting for some bytes; None if the connection has ended."""
        try:
            chunk = self._sock.recv(_CHUNK)
            return self._lines.take(chunk) if chunk else None
        except (OSError, ValueError, RecursionError):
            return None

    def close(self) -> None:
        self._shut()
        self._sock.close()
