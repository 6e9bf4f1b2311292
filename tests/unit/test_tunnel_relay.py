"""docker/tunnel/relay.py: connections of a worker, carried by a program in the place of ssh."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType

import pytest

RELAY = Path(__file__).parents[2] / "docker/tunnel/relay.py"
READY = "infrainit-tunnel"


@pytest.fixture
def relay() -> ModuleType:
    specification = importlib.util.spec_from_file_location("relay", RELAY)
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def sessions_of(relay: ModuleType, script: str) -> None:
    """Have a shell script in the place of ssh."""
    vars(relay)["SSH"] = ("sh", "-c", script, "ssh")


Client = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bytes]]


def connect(relay: ModuleType, client: Client) -> bytes:
    """What a client gets that connects to the relay."""

    async def run() -> bytes:
        done = asyncio.Event()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await relay.carry(READY, reader, writer)
            done.set()

        async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            got = await client(reader, writer)
            writer.close()
            await asyncio.wait_for(done.wait(), 20)
            return got

    return asyncio.run(run())


async def send_and_read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    writer.write(b"\0hello\n")
    return await reader.read()


def test_bytes_go_both_ways_after_what_the_login_shell_prints(relay: ModuleType) -> None:
    sessions_of(relay, f"echo welcome; printf '> '; echo {READY}; head -c 7 | tr a-z A-Z")
    assert connect(relay, send_and_read) == b"\0HELLO\n"


def test_much_is_carried(relay: ModuleType) -> None:
    sessions_of(relay, f"echo {READY}; exec cat")

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        async def write() -> None:
            for _ in range(100):
                writer.write(bytes(50_000))
                await writer.drain()

        writing = asyncio.create_task(write())
        got = await reader.readexactly(5_000_000)
        await writing
        return got

    assert connect(relay, echo) == bytes(5_000_000)


def test_a_session_ends_with_its_connection(relay: ModuleType, tmp_path: Path) -> None:
    sessions_of(relay, f"echo $$ >'{tmp_path}/process'; echo {READY}; echo there; exec sleep 600")

    async def leave(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> bytes:
        return await reader.readline()

    assert connect(relay, leave) == b"there\n"
    assert not Path("/proc", (tmp_path / "process").read_text().strip()).exists()


def test_without_the_broker_the_connection_is_closed(
    relay: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    sessions_of(relay, "echo Connection refused; exit 255")
    with caplog.at_level(logging.WARNING):
        assert connect(relay, send_and_read) == b""
    assert "ssh ended with 255 before the broker was reached" in caplog.text


def test_a_session_that_hangs_is_given_up(relay: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    vars(relay)["SESSION_SECONDS"] = 0.2
    sessions_of(relay, "exec sleep 600")
    assert connect(relay, send_and_read) == b""
    assert "was not reached" in caplog.text


def test_a_client_that_reads_nothing_and_leaves_does_not_hold_the_session(relay: ModuleType) -> None:
    sessions_of(relay, f"echo {READY}; exec cat /dev/zero")

    async def leave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        await asyncio.sleep(0.2)  # its buffers fill
        writer.transport.abort()
        return b""

    assert connect(relay, leave) == b""


def test_a_line_without_an_end_is_no_answer(relay: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    sessions_of(relay, "head -c 1000000 /dev/zero; exec sleep 600")
    assert connect(relay, send_and_read) == b""
    assert "a line without an end" in caplog.text


@pytest.mark.parametrize(("script", "code"), [(f"echo {READY}; exec sleep 600", 0), ("exit 255", 1)])
def test_the_check(relay: ModuleType, script: str, code: int) -> None:
    sessions_of(relay, script)
    assert asyncio.run(relay.check(READY)) == code
