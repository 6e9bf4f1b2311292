"""Client of the fork server: requests calls of functions, and observes their end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Mapping

from framework.errors import FrameworkError
from framework.runner.alarm import Alarm
from framework.runner.children import Children
from framework.runner.descriptors import send_descriptors
from framework.runner.environment import shared_environment
from framework.runner.job import Job
from framework.runner.process import End, Process, signal_group, signal_name, spawn

_PACKAGES = str(Path(__file__).parents[2])  # so that the server imports this version of the framework
_DEATH_SECONDS = 5.0  # longest wait for the end of a process that was killed, or has closed its sockets
_KEEPER_SECONDS = 12.0  # longest wait for the end of a keeper, which ends what its call left running
_PAUSE_SECONDS = 0.01


class Functions:
    """Owner of the server that has imported the function that was called last."""

    def __init__(self, children: Children) -> None:
        self._children = children
        self._server: _Server | None = None
        self._retired: list[_Server] = []  # they fork the calls that they were sent, then end

    def send(self, request: _Request) -> tuple[_Server, socket.socket]:
        """Send a call to a server; return it, and the channel of the call. Raises OSError."""
        server = self._provide_server(request)
        try:
            return server, server.send(request)
        except ConnectionError:  # it has just died
            self.retire(server)
            server = self._provide_server(request)
            return server, server.send(request)

    def _provide_server(self, request: _Request) -> _Server:
        """Return a server for the request; retire one that is not for it, and start one if there is none."""
        self._retired = [server for server in self._retired if server.end is None]
        server = self._server
        if server is not None and (not server.is_for(request) or server.end is not None):
            self.retire(server)
        if self._server is None:
            self._server = _Server(request, self._children)
        return self._server

    def retire(self, server: _Server) -> None:
        """Have the next call start another server, which imports the function again."""
        if self._server is server:
            self._server = None
            server.requests.close()
            self._retired.append(server)

    def abandon(self, server: _Server) -> None:
        """Kill a server that is still importing, as its import may never end."""
        if server.has_imported:
            return
        server.is_abandoned = True
        server.kill()
        if self._server is server:
            self._server = None

    async def close(self) -> None:
        """End all servers; running calls go on."""
        servers = [*self._retired, *filter(None, [self._server])]
        self._server, self._retired = None, []
        for server in servers:
            await server.finish()


class _Request:
    """Request for one call, which may have to be sent again."""

    def __init__(self, job: Job, environment: Mapping[str, str], stdout: int, stderr: int) -> None:
        self.origin = (job.project_path, job.function or "")
        self.environment = shared_environment(environment)  # of a server for it
        self.values = {name: environment[name] for name in job.wanted}
        self.output = (stdout, stderr)
        content = {
            "parameters": dict(job.parameters),
            "environment": dict(environment),
            "directory": str(job.start),
            "metrics": str(job.files.metrics),
        }
        self.content = json.dumps(content).encode()


class _Server:
    """Process that imports a function, and then forks for each call."""

    def __init__(self, request: _Request, children: Children) -> None:
        self.origin = request.origin
        self._values = request.values  # the import may have used them
        self.has_imported = False  # True once a call has reported it
        self.is_abandoned = False
        self.end: End | None = None
        self._children = children
        self.requests, theirs = socket.socketpair()
        with theirs:
            module = [sys.executable, "-m", "framework.runner.fork_server"]
            self._pid = spawn(
                [*module, *request.origin, str(theirs.fileno())],
                # Without it, an import that asks for a GPU makes PyTorch take it, and no fork can use it.
                {"PYTORCH_NVML_BASED_CUDA_CHECK": "1", **request.environment},
                _PACKAGES,
                *request.output,  # output of the import belongs to the first attempt
                shared=[theirs.fileno()],
            )
        children.observe(self._pid, self._on_end)

    def is_for(self, request: _Request) -> bool:
        """True if the function of the request was imported, and with the values that it has now."""
        return (self.origin, self._values) == (request.origin, request.values)

    def send(self, request: _Request) -> socket.socket:
        """Send a call; return the channel on which its start and its end are reported."""
        ours, theirs = socket.socketpair()
        with theirs, os.fdopen(os.memfd_create("request"), "r+b") as content:
            content.write(request.content)
            content.seek(0)
            try:
                send_descriptors(self.requests, b"\n", [theirs.fileno(), *request.output, content.fileno()])
            except BaseException:
                ours.close()
                raise
        ours.setblocking(False)
        return ours

    def _on_end(self, end: End) -> None:
        self.end = end
        self._children.reap(self._pid)

    async def finish(self) -> None:
        """End the process, which removes temporary files of the import if it can."""
        self.requests.close()
        if self.has_imported:
            await self._wait()
        self.kill()
        await self._wait()

    def kill(self) -> None:
        self.requests.close()
        if self.end is None:
            os.kill(self._pid, signal.SIGKILL)

    async def describe_end(self) -> str:
        """Wait for the end of the process, and describe it."""
        await self._wait()
        if self.end is None:
            return "closed its socket"
        if self.end.signal is not None:
            return f"was killed by {signal_name(self.end.signal)}"
        return f"ended with exit code {self.end.exit_code}"

    async def _wait(self) -> None:
        deadline = time.monotonic() + _DEATH_SECONDS
        while self.end is None and time.monotonic() < deadline:
            await asyncio.sleep(_PAUSE_SECONDS)


class CallProcess(Process):
    """Process of a call: the child of a keeper, which reports its start and its end on a channel."""

    def __init__(
        self,
        functions: Functions,
        job: Job,
        environment: Mapping[str, str],
        stdout: int,
        stderr: int,
        alarm: Alarm,
    ) -> None:
        """Send the call to a server. Raises OSError."""
        self.pid = None
        self.end = None
        self.error = None
        self._functions = functions
        self._alarm = alarm
        self._request = _Request(job, environment, stdout, stderr)
        self._partial = b""  # beginning of a message that is not complete yet
        self._describing: asyncio.Task[None] | None = None
        self._send()

    def _send(self) -> None:
        self._server, self._channel = self._functions.send(self._request)
        asyncio.get_running_loop().add_reader(self._channel, self._on_readable)

    def _on_readable(self) -> None:
        try:
            chunk = self._channel.recv(4096)
        except BlockingIOError:
            return
        *lines, self._partial = (self._partial + chunk).split(b"\n")
        for line in lines:
            self._handle(json.loads(line))
        if not chunk:
            asyncio.get_running_loop().remove_reader(self._channel)
            self._handle_closed_channel()

    def _handle(self, message: Mapping[str, Any]) -> None:
        if "errno" in message:
            self.error = FrameworkError(f"cannot start a process: {os.strerror(message['errno'])}")
            self._alarm.ring()
        elif "is_imported" in message:
            self.pid = message["pid"]
            self._server.has_imported = message["is_imported"]
            if not message["is_imported"]:  # the next import may find what this one lacked
                self._functions.retire(self._server)
        else:
            self._end_with(End(**message))

    def _end_with(self, end: End) -> None:
        self.end = self.end or end
        self._alarm.ring()

    def _handle_closed_channel(self) -> None:
        """End the attempt, or send its call again, as neither keeper nor server is left to report on it."""
        if self.end is not None or self.error is not None:
            return
        if self.pid is not None:
            problem = "its exit code is unknown: the process that observed it was killed"
            self._end_with(End(time.monotonic(), None, None, problem))
        elif self._server.has_imported or self._server.is_abandoned:
            self._channel.close()
            try:
                self._send()
            except OSError as error:
                self.error = FrameworkError(f"cannot start a process: {error.strerror}")
                self._alarm.ring()
        else:
            self._describing = asyncio.ensure_future(self._describe_import())

    async def _describe_import(self) -> None:
        now = time.monotonic()
        how = await self._server.describe_end()
        name = self._request.origin[1]
        self._end_with(End(now, None, None, f"{name} cannot be imported: Python {how}"))

    async def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._channel)
        if self._describing is not None:
            await self._describing
        if self.pid is not None:
            signal_group(self.pid, signal.SIGKILL)
            await self._wait_for_keeper()
        elif self.end is None:
            self._functions.abandon(self._server)
        self._channel.close()

    async def _wait_for_keeper(self) -> None:
        """Let the keeper end what the call left running, and wait until it has."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _KEEPER_SECONDS
        with suppress(OSError, asyncio.TimeoutError):  # it was killed, or takes too long
            self._channel.shutdown(socket.SHUT_WR)
            while await asyncio.wait_for(loop.sock_recv(self._channel, 4096), deadline - loop.time()):
                pass
