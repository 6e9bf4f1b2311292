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
from typing import Any

RUN = "import sys\nfrom framework.cli.main import main\nsys.exit(main())"  # python -m framework

_FIRST_FREE = 100  # descriptors are moved there before they get the numbers that the program knows


class Fork:
    """A program that runs; with the methods of Popen that tests use."""

    def __init__(self, pid: int, status: int, output: int | None) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdout = None if output is None else open(output, encoding="utf-8")  # noqa: SIM115
        self._status = status

    def poll(self) -> int | None:
        return self._reap(0)

    def wait(self, timeout: float | None = None) -> int:
        """Raises TimeoutExpired."""
        code = self._reap(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("fork", timeout or 0)
        return code

    def communicate(self) -> tuple[str, None]:
        """All that is left of the output; once more, none."""
        output = ""
        if self.stdout and not self.stdout.closed:
            output = self.stdout.read()
            self.stdout.close()
        self.wait()
        return output, None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _reap(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], timeout)[0]:
            self.returncode = _read_number(self._status)
            os.close(self._status)
        return self.returncode


class ForkServer:
    """A process that runs each program in a fork of itself, and ends with this process."""

    def __init__(
        self, *modules: str, options: Sequence[str] = (), environment: Mapping[str, str] | None = None
    ) -> None:
        """`modules`: what it imports. `options`: of its Python. `environment`: what it has besides."""
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            subprocess.run(
                [
                    sys.executable,
                    *options,
                    __file__,
                    str(theirs.fileno()),
                    os.pathsep.join(sys.path),
                    *modules,
                ],
                env={**os.environ, **(environment or {})},
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for this process
                check=True,
            )

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
        output = None
        given = list(descriptors or ())
        if descriptors is None:
            null = os.open(os.devnull, os.O_RDONLY)
            output, writer = os.pipe()
            given = [null, writer, writer]
        status, told = os.pipe()
        request = {
            "program": program,
            "arguments": arguments,
            "environment": dict(os.environ if environment is None else environment),
            "directory": os.fspath(directory or os.getcwd()),
        }
        socket.send_fds(self._channel, [json.dumps(request).encode()], [told, *given])
        os.close(told)
        if descriptors is None:
            os.close(null)
            os.close(writer)
        return Fork(_read_number(status), status, output)

    def run(self, program: str, *arguments: str, **options: Any) -> tuple[int, str]:
        """Exit code and output of a program."""
        fork = self.start(program, *arguments, **options)
        output, _ = fork.communicate()
        return fork.wait(), output


@cache
def commands() -> ForkServer:
    """For RUN, in all tests of this process."""
    return ForkServer("framework.cli.main", "framework.cli.local_run")


def _read_number(status: int) -> int:
    return int.from_bytes(os.read(status, 4), "big", signed=True)


def _write_number(status: int, number: int) -> None:
    os.write(status, number.to_bytes(4, "big", signed=True))


def _serve(channel: socket.socket) -> None:
    """Returns in a fork, which is to run a program, and at the end."""
    while True:
        message, received, _, _ = socket.recv_fds(channel, 2**20, 16)
        if not message:
            sys.exit()
        request = json.loads(message)
        if os.fork() == 0:
            channel.close()
            _supervise(request, *received)
            return
        for descriptor in received:
            os.close(descriptor)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _supervise(request: dict[str, Any], status: int, *descriptors: int) -> None:
    """Returns in the fork that is to run the program; the other one waits for its end."""
    pid = os.fork()
    if pid == 0:
        _become(request, descriptors)
        return
    for descriptor in descriptors:
        os.close(descriptor)
    _write_number(status, pid)
    _write_number(status, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    os._exit(0)


def _become(request: dict[str, Any], descriptors: Sequence[int]) -> None:
    os.setsid()
    moved = [fcntl.fcntl(each, fcntl.F_DUPFD, _FIRST_FREE) for each in descriptors]
    for number, descriptor in enumerate(moved):
        os.dup2(descriptor, number)
    os.closerange(len(moved), _FIRST_FREE + len(moved))
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["directory"])
    sys.argv[:] = ["-c", *request["arguments"]]
    global _program
    _program = request["program"]


_program = ""

if __name__ == "__main__":
    sys.path[:] = sys.argv[2].split(os.pathsep)
    for name in sys.argv[3:]:
        importlib.import_module(name)
    if os.fork():
        os._exit(0)
    gc.freeze()
    _serve(socket.socket(fileno=int(sys.argv[1])))
    code = 0
    try:
        exec(_program, {"__name__": "__main__"})
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    sys.stdout.flush()
    os._exit(code)  # to tidy up takes as long as the imports
