"""Ports of tasks: no two tasks have the same, and on this machine nobody else has them."""

from __future__ import annotations

import errno
import socket

import pytest

from framework.worker import ports
from framework.worker.ports import PORTS, Ports


def test_ports_are_below_those_of_clients_and_none_is_given_twice() -> None:
    taken: set[int] = set()
    for _ in range(300):
        port = Ports().choose(taken)
        assert port is not None
        assert port not in taken
        taken.add(port)
    assert min(taken) >= 29500
    assert max(taken) < 32768
    assert len({Ports().choose(()) for _ in range(50)}) > 1, "runs side by side choose others"


def test_none_is_left_if_all_are_taken() -> None:
    assert Ports().choose(PORTS) is None
    assert Ports().choose([port for port in PORTS if port != 31000]) == 31000


@pytest.mark.parametrize(
    ("family", "address"),
    [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::1")],
)
def test_on_this_machine_ports_in_use_are_left_out(
    monkeypatch: pytest.MonkeyPatch, family: socket.AddressFamily, address: str
) -> None:
    with socket.socket(family) as listener:
        try:
            listener.bind((address, 0))
        except OSError:
            pytest.skip(f"{address} is none of this machine's")
        listener.listen()
        port = listener.getsockname()[1]
        monkeypatch.setattr(ports, "PORTS", range(port, port + 1))
        assert Ports(tried=True).choose(()) is None
        assert Ports().choose(()) == port, "tasks in a container have a network of their own"
    assert Ports(tried=True).choose(()) == port


def test_a_machine_without_ipv6_has_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    made = socket.socket

    def without_ipv6(family: socket.AddressFamily) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return made(family)

    monkeypatch.setattr(socket, "socket", without_ipv6)
    assert Ports(tried=True).choose(()) in PORTS
