"""Ports on which the processes of a task can meet: each running task has one."""

from __future__ import annotations

import errno
import secrets
import socket
from collections.abc import Collection
from itertools import chain

# From the default of torch.distributed up to, and without, the ports that Linux gives to clients.
PORTS = range(29500, 32768)


class Ports:
    """Chooser of ports. `tried`: those that are in use on this machine are left out.

    Tasks in a container have a network of their own, in which no other program listens.
    """

    def __init__(self, tried: bool = False) -> None:
        self._tried = tried

    def choose(self, taken: Collection[int]) -> int | None:
        """Return a port that is not `taken`; None if there is none.

        It is any of them, so that a port that was just left rests, and so that runs side by side get others.
        """
        start = secrets.randbelow(len(PORTS))
        for port in chain(PORTS[start:], PORTS[:start]):
            if port not in taken and not (self._tried and _is_in_use(port)):
                return port
        return None


def _is_in_use(port: int) -> bool:
    """True if a program has the port, at any address of this machine."""
    for family, address in ((socket.AF_INET6, "::"), (socket.AF_INET, "0.0.0.0")):
        try:
            with socket.socket(family) as sock:
                sock.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
    return False
