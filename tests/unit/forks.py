"""Programs in forks of a process that has imported the framework: the imports take longer than they do."""

from __future__ import annotations

import fcntl
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, NoReturn

RUN = "import sys\nfrom framework.cli.main import main\nsys.exit(main())"  # python -m framework

_FIRST_FREE = 100  # descriptors are moved there before they get the numbers that the program knows


class Fork:
    """A program that runs; with the methods of Popen that tests use."""

    def __init__(self, status: int, output: int | None) -> None:
        self.pid = int(os.read(status, 8))
        self.stdout = None if output is None else open(output, encoding="utf-8")  # noqa: SIM115
        self._status = status
        self._code: int | None = None

    def poll(self) -> int | None:
        """The exit code, if it has one by now."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        """The exit code. Raises TimeoutExpired."""
        if self._code is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("fork", timeout or 0)
            self._code = int(os.read(self._status, 8))
            os.close(self._status)
        return self._code

    def end(self) -> tuple[int, str]:
        """Wait for its end; the exit code, and the output that was not read."""
        output = ""
        if self.stdout and not self.stdout.closed:
            with self.stdout:
                output = self.stdout.read()
        return self.wait(), output

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """A process that runs each program in a fork of itself, and ends with this process."""

    def __init__(
        self, *modules: str, options: Sequence[str] = (), environment: Mapping[str, str] | None = None
    ) -> None:
        """`modules`: what it imports. `options`: of its Python. `environment`: what it has besides."""
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            subprocess.run(
                [sys.executable, *options, __file__, f"{theirs.fileno()}", ":".join(sys.path), *modules],
                env={**os.environ, **(environment or {})}, pass_fds=[theirs.fileno()], check=True,
                start_new_session=True,  # Ctrl-C is for this process
            )  # fmt: skip

    def start(
        self,
        program: str,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        directory: str | os.PathLike[str] | None = None,
        descriptors: Sequence[int] | None = None,
    ) -> Fork:
        """Start what `python -c PROGRAM ARGUMENT…` would.

        `descriptors` are its 0, 1, 2, and so on; by default, 1 and 2 are a pipe that the Fork reads.
        """
        output, given = None, list(descriptors or ())
        if descriptors is None:
            output, writer = os.pipe()
            given = [os.open(os.devnull, os.O_RDONLY), writer, os.dup(writer)]
        status, told = os.pipe()
        request = {
            "program": program,
            "arguments": arguments,
            "environment": dict(os.environ if environment is None else environment),
            "directory": os.fspath(directory or os.getcwd()),
        }
        socket.send_fds(self._channel, [json.dumps(request).encode()], [told, *given])
        for descriptor in [told, *(given if descriptors is None else ())]:
            os.close(descriptor)
        return Fork(status, output)

    def run(self, program: str, *arguments: str, **options: Any) -> tuple[int, str]:
        """Exit code and output of a program."""
        return self.start(program, *arguments, **options).end()


@cache
def commands() -> ForkServer:
    """For RUN, in all tests of this process."""
    return ForkServer("framework.cli.main", "framework.cli.local_run")


def _serve(channel: socket.socket) -> None:
    """Fork for each request, until the other side has gone."""
    while True:
        message, received, _, _ = socket.recv_fds(channel, 2**20, 16)
        if not message:
            return
        if os.fork() == 0:
            channel.close()
            _supervise(json.loads(message), *received)
        for descriptor in received:
            os.close(descriptor)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _supervise(request: Mapping[str, Any], status: int, *descriptors: int) -> NoReturn:
    """Run the program in a fork; tell its process id, and its exit code."""
    pid = os.fork()
    if pid == 0:
        _run(request, descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    os.write(status, b"%8d" % pid)
    os.write(status, b"%8d" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    os._exit(0)


def _run(request: Mapping[str, Any], descriptors: Sequence[int]) -> NoReturn:
    os.setsid()
    moved = [fcntl.fcntl(each, fcntl.F_DUPFD, _FIRST_FREE) for each in descriptors]
    for number, descriptor in enumerate(moved):
        os.dup2(descriptor, number)
    os.closerange(len(moved), _FIRST_FREE + len(moved))
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["directory"])
    sys.argv[:] = ["-c", *request["arguments"]]
    code = 0
    try:
        exec(request["program"], {"__name__": "__main__"})
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else bool(end.code)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    sys.stdout.flush()
    os._exit(code)  # to tidy up takes as long as the imports


if __name__ == "__main__":
    sys.path[:] = sys.argv[2].split(":")
    for name in sys.argv[3:]:
        importlib.import_module(name)
    if os.fork() == 0:
        gc.freeze()
        _serve(socket.socket(fileno=int(sys.argv[1])))
