"""Client of the fork server: requests calls of functions, and observes their end."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from framework.errors import FrameworkError
from framework.files import AttemptFiles
from framework.runner.environment import shared_environment
from framework.runner.process import End, Process, raise_oom_score, signal_group, signal_name
from framework.space.values import Value

_PACKAGES = Path(__file__).parents[2]  # so that the server imports this version of the framework
_DEATH_SECONDS = 5.0  # longest wait for the end of a process that was killed, or has closed its sockets
_KEEPER_SECONDS = 12.0  # longest wait for the end of a keeper, which ends what its call left running


@dataclass(frozen=True)
class _CallRequest:
    origin: tuple[Path, str]  # directory of the project, module:name
    environment: Mapping[str, str]  # environment of a server for it, without the attempt's own variables
    content: bytes  # JSON that the call reads
    files: AttemptFiles


class Functions:
    """Owner of the server that has imported the function that was called last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self._retired: list[_Server] = []  # they fork the calls that they were sent, then end

    def send(self, request: _CallRequest) -> "tuple[_Server, socket.socket]":
        """Send a call to a server; return it, and the channel of the call. Raises OSError."""
        files = request.files
        with (
            self._lock,
            files.stdout.open("ab") as stdout,
            files.stderr.open("ab") as stderr,
            os.fdopen(os.memfd_create("request"), "r+b") as content,
        ):
            content.write(request.content)
            content.seek(0)
            server = self._provide_server(request, stdout, stderr)
            try:
                return server, server.send(stdout, stderr, content)
            except ConnectionError:  # it has just died
                self._retire(server)
                server = self._provide_server(request, stdout, stderr)
                return server, server.send(stdout, stderr, content)

    def _provide_server(self, request: _CallRequest, stdout: IO[bytes], stderr: IO[bytes]) -> "_Server":
        """Return a server for the request; retire one of another function, and start one if there is none."""
        self._retired = [server for server in self._retired if server.process.poll() is None]
        server = self._server
        if server and (server.origin != request.origin or server.process.poll() is not None):
            self._retire(server)
        if not self._server:
            self._server = _Server(request, stdout, stderr)
        return self._server

    def retire(self, server: "_Server") -> None:
        """Have the next call start another server, which imports the function again."""
        with self._lock:
            if self._server is server:
                self._retire(server)

    def _retire(self, server: "_Server") -> None:
        self._server = None
        server.requests.close()
        self._retired.append(server)

    def abandon(self, server: "_Server") -> None:
        """Kill a server that is still importing, as its import may never end."""
        with self._lock:
            if server.has_imported:
                return
            server.is_abandoned = True
            server.kill()
            if self._server is server:
                self._server = None

    def close(self) -> None:
        """End all servers; running calls go on."""
        with self._lock:
            for server in (*self._retired, *filter(None, [self._server])):
                server.end()
            self._server, self._retired = None, []


class _Server:
    """Process that imports a function, and then forks for each call."""

    def __init__(self, request: _CallRequest, stdout: IO[bytes], stderr: IO[bytes]) -> None:
        self.origin = request.origin
        self.has_imported = False  # True once a call has reported it
        self.is_abandoned = False
        project, name = request.origin
        self.requests, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "framework.runner.fork_server", project, name, str(theirs.fileno())],
                cwd=_PACKAGES,
                # Without it, an import that asks for a GPU makes PyTorch take it, and no fork can use it.
                env={"PYTORCH_NVML_BASED_CUDA_CHECK": "1", **request.environment},
                stdin=subprocess.DEVNULL,
                stdout=stdout,  # output of the import belongs to the first attempt
                stderr=stderr,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # keeps Ctrl-C from it
            )
        raise_oom_score(self.process.pid)

    def send(self, stdout: IO[bytes], stderr: IO[bytes], content: IO[bytes]) -> socket.socket:
        """Send a call; return the channel on which its start and its end are reported."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                socket.send_fds(
                    self.requests, [b"\n"], [each.fileno() for each in (theirs, stdout, stderr, content)]
                )
            except BaseException:
                ours.close()
                raise
        return ours

    def end(self) -> None:
        """End the process, which removes temporary files of the import if it can."""
        self.requests.close()
        if self.has_imported:
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(_DEATH_SECONDS)
        self.kill()

    def kill(self) -> None:
        self.requests.close()
        self.process.kill()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_DEATH_SECONDS)

    def wait_for_end(self) -> str:
        """Wait for the end of the process, and describe it."""
        try:
            code = self.process.wait(_DEATH_SECONDS)
        except subprocess.TimeoutExpired:
            return "closed its socket"
        return f"was killed by {signal_name(-code)}" if code < 0 else f"ended with exit code {code}"


@dataclass(frozen=True)
class Call:
    """Call of a function with metaparameters."""

    functions: Functions
    name: str  # module:name
    parameters: Mapping[str, Value]

    def start(self, files: AttemptFiles, project_path: Path, environment: Mapping[str, str]) -> Process:
        content = {
            "parameters": dict(self.parameters),
            "environment": dict(environment),
            "directory": str(files.work),
            "metrics": str(files.metrics),
        }
        request = _CallRequest(
            (project_path, self.name), shared_environment(environment), json.dumps(content).encode(), files
        )
        return _CallProcess(self.functions, request)

    def describe_start_error(self, error: Exception) -> str:
        return f"{self.name} cannot be called: {error!s:.200}"


class _CallProcess:
    """Process of a call: the child of a keeper, which reports its start and its end on a channel."""

    def __init__(self, functions: Functions, request: _CallRequest) -> None:
        self.pid: int | None = None
        self._functions = functions
        self._request = request
        self._end: End | None = None
        self._partial = b""  # beginning of a message that is not complete yet
        self._server, self._channel = functions.send(request)

    def end_within(self, seconds: float) -> End | None:
        self._channel.settimeout(seconds)
        try:
            chunk = self._channel.recv(4096)
        except (TimeoutError, BlockingIOError):
            return None
        *lines, self._partial = (self._partial + chunk).split(b"\n")
        for line in lines:
            self._handle(json.loads(line))
        if not chunk:
            self._handle_closed_channel()
        return self._end

    def _handle(self, message: Mapping[str, Any]) -> None:
        match message:
            case {"errno": number}:
                raise FrameworkError(f"cannot start a process: {os.strerror(number)}")
            case {"pid": pid, "is_imported": is_imported}:
                self.pid = pid
                self._server.has_imported = is_imported
                if not is_imported:  # the next import may find what this one lacked
                    self._functions.retire(self._server)
            case _:
                self._end = End(**message)

    def _handle_closed_channel(self) -> None:
        """End the attempt, or send its call again, as neither keeper nor server is left to report on it."""
        now = time.monotonic()
        if self.pid is not None:
            self._end = End(
                now, None, None, "its exit code is unknown: the process that observed it was killed"
            )
        elif self._server.has_imported or self._server.is_abandoned:
            self._channel.close()
            try:
                self._server, self._channel = self._functions.send(self._request)
            except OSError as error:
                raise FrameworkError(f"cannot start a process: {error.strerror}") from error
        else:
            how = self._server.wait_for_end()
            self._end = End(now, None, None, f"{self._request.origin[1]} cannot be imported: Python {how}")

    def close(self) -> None:
        if self.pid is not None:
            signal_group(self.pid, signal.SIGKILL)
            self._wait_for_keeper()
        elif self._end is None:
            self._functions.abandon(self._server)
        self._channel.close()

    def _wait_for_keeper(self) -> None:
        """Let the keeper end what the call left running, and wait until it has."""
        self._channel.settimeout(_KEEPER_SECONDS)
        with suppress(OSError):  # it was killed, or takes too long
            self._channel.shutdown(socket.SHUT_WR)
            while self._channel.recv(4096):
                pass
