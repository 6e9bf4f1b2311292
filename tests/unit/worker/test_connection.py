"""Connection to a runner: messages in pieces, too long ones, and other sides that hang or are gone."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from framework.worker import connection as connection_module
from framework.worker.connection import RunnerConnection


@pytest.fixture
def pair() -> Iterator[tuple[RunnerConnection, socket.socket]]:
    ours, theirs = socket.socketpair()
    connection = RunnerConnection(ours)
    yield connection, theirs
    connection.close()
    theirs.close()


Pair = tuple[RunnerConnection, socket.socket]


def test_messages_go_both_ways_as_lines(pair: Pair) -> None:
    connection, theirs = pair
    connection.send(do="run", jobs=["größe\n"])
    assert theirs.recv(1000) == b'{"do":"run","jobs":["gr\\u00f6\\u00dfe\\n"]}\n'
    theirs.sendall(b'{"event": "a"}\n{"event":')
    assert connection.receive() == [{"event": "a"}]
    theirs.sendall(b' "b"')
    assert connection.receive() == []
    theirs.sendall(b"}\n")
    assert connection.receive() == [{"event": "b"}]


def test_the_end_of_the_other_side_is_told_and_sending_to_it_is_no_error(pair: Pair) -> None:
    connection, theirs = pair
    theirs.sendall(b'{"event": "last"}\n')
    theirs.close()
    connection.send(do="run")
    assert connection.receive() in ([{"event": "last"}], None)
    connection.send(do="run")
    assert connection.receive() is None


@pytest.mark.parametrize(
    "line", [b"nonsense\n", b"5\n", b"[" * 100_000 + b"\n", b"\xff\xfe\n", b"\n", b"9" * 10_000 + b"\n"]
)
def test_anything_but_a_message_ends_the_connection(pair: Pair, line: bytes) -> None:
    connection, theirs = pair
    thread = threading.Thread(target=theirs.sendall, args=[line])
    thread.start()
    found: list[object] | None = []
    while found == []:
        found = list(messages) if (messages := connection.receive()) is not None else None
    thread.join(60)
    assert found is None


def test_a_hello_has_to_be_short_and_what_the_runner_says_then_may_be_long(pair: Pair) -> None:
    connection, theirs = pair
    line = b'{"event": "' + b"x" * (2 * connection_module._LONGEST_HELLO) + b'"}\n'

    def send() -> None:
        try:
            theirs.sendall(line)
        except OSError:
            assert not is_trusted

    for is_trusted in (True, False):
        if is_trusted:
            connection.trust()
        else:
            connection._lines.longest = connection_module._LONGEST_HELLO
        thread = threading.Thread(target=send)
        thread.start()
        found = connection.receive()
        while found == []:
            found = connection.receive()
        if not is_trusted:
            connection.close()
        thread.join(60)
        assert (found is not None) == is_trusted


def test_a_runner_that_does_not_read_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "_SEND_SECONDS", 1)
    ours, theirs = socket.socketpair()
    connection = RunnerConnection(ours)
    connection.send(do="x" * 2**24)
    assert connection.receive() is None
    connection.close()
    theirs.close()


def test_threads_do_not_mix_their_messages(pair: Pair) -> None:
    connection, theirs = pair
    threads = [
        threading.Thread(target=lambda number=number: connection.send(do=str(number) * 100_000))
        for number in range(5)
    ]
    for thread in threads:
        thread.start()
    reader = RunnerConnection(theirs)
    found: list[dict[str, str]] = []
    while len(found) < 5:
        messages = reader.receive()
        assert messages is not None
        found += messages
    for thread in threads:
        thread.join(60)
    assert sorted(message["do"] for message in found) == [str(number) * 100_000 for number in range(5)]
