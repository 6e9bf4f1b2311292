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

_PACKAGES = Path(__file__).parents[2]  # where the server finds this framework, and no newer one
_DEATH_SECONDS = 5.0  # how long a process that was killed, or has closed its sockets, may take to end


@dataclass(frozen=True)
class _PendingCall:
    origin: tuple[Path, str]  # the project's directory, module:name
    environment: Mapping[str, str]  # without what is the attempt's own
    content: bytes  # what the call is told
    files: AttemptFiles


class Functions:
    """Keeps the process that has imported the function that was called last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self._retired: list[_Server] = []  # they fork what was asked of them, then end

    def send(self, request: _PendingCall) -> "tuple[_Server, socket.socket]":
        """Ask a server for a call; returns it, and the socket that tells of the call. Raises OSError."""
        files = request.files
        with (
            self._lock,
            files.stdout.open("ab") as stdout,
            files.stderr.open("ab") as stderr,
            os.fdopen(os.memfd_create("request"), "r+b") as content,
        ):
            content.write(request.content)
            content.seek(0)
            server = self._serving(request, stdout, stderr)
            try:
                return server, server.ask(stdout, stderr, content)
            except ConnectionError:  # it has just died
                self._retire(server)
                server = self._serving(request, stdout, stderr)
                return server, server.ask(stdout, stderr, content)

    def _serving(self, request: _PendingCall, stdout: IO[bytes], stderr: IO[bytes]) -> "_Server":
        self._retired = [server for server in self._retired if server.process.poll() is None]
        server = self._server
        if server and (server.origin != request.origin or server.process.poll() is not None):
            self._retire(server)
        if not self._server:
            self._server = _Server(request, stdout, stderr)
        return self._server

    def retire(self, server: "_Server") -> None:
        """Have another one import the function for the next call."""
        with self._lock:
            if self._server is server:
                self._retire(server)

    def _retire(self, server: "_Server") -> None:
        self._server = None
        server.requests.close()
        self._retired.append(server)

    def give_up(self, server: "_Server") -> None:
        """End a server if it still imports: nobody knows for how long."""
        with self._lock:
            if server.has_imported:
                return
            server.is_given_up = True
            server.kill()
            if self._server is server:
                self._server = None

    def close(self) -> None:
        """End all servers; calls that run go on."""
        with self._lock:
            for server in (*self._retired, *filter(None, [self._server])):
                server.kill()
            self._server, self._retired = None, []


class _Server:
    """A process that imports a function, and then forks one for each call."""

    def __init__(self, request: _PendingCall, stdout: IO[bytes], stderr: IO[bytes]) -> None:
        self.origin = request.origin
        self.has_imported = False  # as far as we know
        self.is_given_up = False
        project, name = request.origin
        self.requests, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "framework.runner.fork_server", project, name, str(theirs.fileno())],
                cwd=_PACKAGES,
                # or PyTorch takes the GPU when an import asks whether there is one, and no fork can use it
                env={"PYTORCH_NVML_BASED_CUDA_CHECK": "1", **request.environment},
                stdin=subprocess.DEVNULL,
                stdout=stdout,  # what is printed by the import is the first attempt's
                stderr=stderr,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # or Ctrl-C would reach it
            )
        raise_oom_score(self.process.pid)

    def ask(self, stdout: IO[bytes], stderr: IO[bytes], content: IO[bytes]) -> socket.socket:
        """Returns what will tell of the call."""
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

    def kill(self) -> None:
        self.requests.close()
        self.process.kill()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_DEATH_SECONDS)

    def how_it_ended(self) -> str:
        try:
            code = self.process.wait(_DEATH_SECONDS)
        except subprocess.TimeoutExpired:
            return "closed its socket"
        return f"was killed by {signal_name(-code)}" if code < 0 else f"ended with exit code {code}"


@dataclass(frozen=True)
class Call:
    """A function to be called with metaparameters."""

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
        request = _PendingCall(
            (project_path, self.name), shared_environment(environment), json.dumps(content).encode(), files
        )
        return _CallProcess(self.functions, request)

    def why_not_started(self, error: Exception) -> str:
        return f"{self.name} cannot be called: {error!s:.200}"


class _CallProcess:
    """The process of a call: no child of ours, but of a keeper that tells of it."""

    def __init__(self, functions: Functions, request: _PendingCall) -> None:
        self.pid: int | None = None
        self._functions = functions
        self._request = request
        self._end: End | None = None
        self._unfinished = b""
        self._server, self._channel = functions.send(request)

    def end_within(self, seconds: float) -> End | None:
        self._channel.settimeout(seconds)
        try:
            chunk = self._channel.recv(4096)
        except (TimeoutError, BlockingIOError):
            return None
        *lines, self._unfinished = (self._unfinished + chunk).split(b"\n")
        for line in lines:
            self._hear(json.loads(line))
        if not chunk:
            self._miss()
        return self._end

    def _hear(self, news: Mapping[str, Any]) -> None:
        match news:
            case {"errno": number}:
                raise FrameworkError(f"cannot start a process: {os.strerror(number)}")
            case {"pid": pid, "is_imported": is_imported}:
                self.pid = pid
                self._server.has_imported = is_imported
                if not is_imported:  # what it lacks may be there next time
                    self._functions.retire(self._server)
            case _:
                self._end = End(**news)

    def _miss(self) -> None:
        """Nobody is left who could tell of the call."""
        now = time.monotonic()
        if self.pid is not None:
            self._end = End(now, None, None, "its exit code is not known: what watched over it was killed")
        elif self._server.has_imported or self._server.is_given_up:
            self._channel.close()
            try:
                self._server, self._channel = self._functions.send(self._request)
            except OSError as error:
                raise FrameworkError(f"cannot start a process: {error.strerror}") from error
        else:
            how = self._server.how_it_ended()
            self._end = End(now, None, None, f"{self._request.origin[1]} cannot be imported: Python {how}")

    def close(self) -> None:
        if self.pid is not None:
            signal_group(self.pid, signal.SIGKILL)
        elif self._end is None:
            self._functions.give_up(self._server)
        self._channel.close()
