"""Carries connections to the broker through ssh: one session of the master host's sshd for each connection.

    relay.py READY          accepts connections on port 5671 until it is stopped
    relay.py READY check    tries one session; exit code 0 if it reaches the broker

A session runs the one command that the key is good for: it connects to the broker, prints the line READY, and
passes bytes on. What the login shell's start-up files print comes before that line. No port is forwarded, so
that sshd need not allow it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys

PORT = 5671
SSH = ("ssh", "-F", "/secrets/config")
HOST = "master"  # its name in that file
SESSION_SECONDS = 30.0  # until a session has reached the broker
END_SECONDS = 5.0  # until a session that was killed has ended
CHUNK = 65536  # bytes

log = logging.getLogger("relay")


async def open_session(ready: str, *options: str) -> asyncio.subprocess.Process | None:
    """A session that has reached the broker; None if it has not, which ssh or the log says why."""
    session = await asyncio.create_subprocess_exec(
        *SSH, *options, HOST, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        if await asyncio.wait_for(has_line(session, ready), SESSION_SECONDS):
            return session
    except asyncio.TimeoutError:
        log.warning("the broker was not reached through ssh in %s s", SESSION_SECONDS)
    except ValueError:
        log.warning("the master host's login shell prints a line without an end")
    await end(session)
    log.warning("ssh ended with %s before the broker was reached", session.returncode)
    return None


async def has_line(session: asyncio.subprocess.Process, ready: str) -> bool:
    """Read up to the line that ends with `ready`; raises ValueError for a line that is too long."""
    assert session.stdout
    while line := await session.stdout.readline():
        if line.rstrip().endswith(ready.encode()):
            return True
    return False


async def end(session: asyncio.subprocess.Process) -> None:
    """End a session, and wait for it."""
    with contextlib.suppress(ProcessLookupError):
        session.kill()
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(drain(session), END_SECONDS)


async def drain(session: asyncio.subprocess.Process) -> None:
    """Wait for its end: asyncio sees it only when its output has been read."""
    assert session.stdout
    while await session.stdout.read(CHUNK):
        pass
    await session.wait()


async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Pass bytes on until the source ends or the target is closed."""
    with contextlib.suppress(ConnectionError):
        while chunk := await source.read(CHUNK):
            target.write(chunk)
            await target.drain()


async def carry(ready: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry one connection until either side closes it."""
    try:
        if session := await open_session(ready):
            assert session.stdin
            assert session.stdout
            try:
                ways = [
                    asyncio.create_task(copy(reader, session.stdin)),
                    asyncio.create_task(copy(session.stdout, writer)),
                ]
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                for way in ways:
                    way.cancel()
                await asyncio.wait(ways)
            finally:
                await end(session)
    finally:
        writer.close()


async def serve(ready: str, port: int = PORT) -> None:
    """Accept connections until this process is stopped."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await carry(ready, reader, writer)

    async with await asyncio.start_server(accept, port=port) as server:
        log.info("connections to port %d go to the broker through ssh", port)
        await server.serve_forever()


async def check(ready: str) -> int:
    """The exit code of one session on a connection of its own: 0 if it has reached the broker."""
    session = await open_session(ready, "-o", "ControlPath=none")
    if session is None:
        return 1
    await end(session)
    return 0


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    if sys.argv[2:] == ["check"]:
        sys.exit(asyncio.run(check(sys.argv[1])))
    asyncio.run(serve(sys.argv[1]))
