"""Descriptors over a socket: the other side has the same files, and leaks none."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator

import pytest

from framework.runner.descriptors import receive_descriptors, send_descriptors

Sockets = tuple[socket.socket, socket.socket]


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)
    os.close(writing)


def open_descriptors() -> set[int]:
    return {each for each in map(int, os.listdir("/proc/self/fd")) if os.path.exists(f"/proc/self/fd/{each}")}


def test_what_is_received_is_the_same_file_and_is_not_inherited(
    sockets: Sockets, pipe: tuple[int, int]
) -> None:
    ours, theirs = sockets
    os.set_inheritable(pipe[1], True)
    assert send_descriptors(ours, b"ab", pipe) == 2
    data, received = receive_descriptors(theirs, 10, 4)
    assert data == b"ab"
    assert [os.fstat(each).st_ino for each in received] == [os.fstat(each).st_ino for each in pipe]
    assert not any(map(os.get_inheritable, received))
    os.write(received[1], b"text")
    assert os.read(received[0], 10) == b"text"
    for each in received:
        os.close(each)


def test_data_may_come_without_descriptors_and_then_the_end(sockets: Sockets) -> None:
    ours, theirs = sockets
    ours.sendall(b"ab")
    assert receive_descriptors(theirs, 1, 4) == (b"a", [])
    assert receive_descriptors(theirs, 5, 4) == (b"b", [])
    assert send_descriptors(ours, b"c", []) == 1
    assert receive_descriptors(theirs, 5, 4) == (b"c", [])
    ours.close()
    assert receive_descriptors(theirs, 5, 4) == (b"", [])


def test_python_s_own_functions_are_the_other_side(sockets: Sockets, pipe: tuple[int, int]) -> None:
    ours, theirs = sockets
    socket.send_fds(ours, [b"a"], list(pipe))
    data, received = receive_descriptors(theirs, 1, 2)
    send_descriptors(theirs, data, received)
    answer, returned, _, _ = socket.recv_fds(ours, 1, 2)
    assert (answer, len(returned)) == (b"a", 2)
    for each in (*received, *returned):
        os.close(each)


def test_more_descriptors_than_expected_are_an_error_and_none_stays_open(
    sockets: Sockets, pipe: tuple[int, int]
) -> None:
    before = open_descriptors()
    send_descriptors(sockets[0], b"a", [*pipe, *pipe])
    with pytest.raises(OSError, match="open files") as raised:
        receive_descriptors(sockets[1], 1, 3)
    assert raised.value.errno == errno.EMFILE
    assert open_descriptors() == before
