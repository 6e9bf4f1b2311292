"""Bench of a runner as it really runs, in a process of its own, with the worker's side of its connection."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from forks import Fork, ForkServer

import framework
from framework.runner.job import Job
from framework.runner.protocol import Lines, encode

CODE = Path(framework.__file__).parents[1]
KEY = "the worker's key"

# Sets constants of modules, then runs the program.
WITH_CONSTANTS = """
import importlib, json, sys
root, constants = sys.argv[1:3]
del sys.argv[1:3]
sys.path.insert(0, root)
for name, value in json.loads(constants).items():
    module, _, constant = name.rpartition(".")
    setattr(importlib.import_module("framework.runner." + module), constant, value)
from framework.runner.__main__ import main
sys.exit(main())
"""

Event = dict[str, Any]


@cache
def _runners() -> ForkServer:
    return ForkServer("framework.runner.__main__", options=["-I", "-S"])


def start_runner(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    constants: Mapping[str, Any] | None = None,
    descriptors: Sequence[int] = (),
    messages: int = 2,
    server: ForkServer | None = None,
) -> Fork:
    """The program of the runner, which has `descriptors` as 3, 4, and so on, and writes to `messages`."""
    with open(os.devnull, "rb") as null:
        return (server or _runners()).start(
            WITH_CONSTANTS, str(CODE), json.dumps(constants or {}), *arguments, environment=environment,
            descriptors=[null.fileno(), messages, messages, *descriptors],
        )  # fmt: skip


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.01)


class RunnerBench:
    """A runner, and what a worker says to it and hears from it."""

    def __init__(
        self,
        path: Path,
        environment: Mapping[str, str] | None = None,
        constants: Mapping[str, Any] | None = None,
        python: str = "",
        wrapper: Sequence[str] = (),
    ) -> None:
        """`constants`: of the runner's modules, as in {"attempt.GRACE_SECONDS": 1}.

        `python`: executes the runner, else it is a fork. `wrapper`: a program, and its first arguments, that
        executes this.
        """
        self.path = path
        self.log = path / "runner/log"
        self.tasks = path / "worker's data/tasks"
        self.messages = path / "messages"  # what the runner wrote to stderr
        self.process: subprocess.Popen[bytes] | Fork | None = None
        self.hello: Event = {}
        self.wrapper = wrapper
        self._argv = [*wrapper, python or sys.executable, "-I", "-S", "-B"]
        self._is_fork = not (wrapper or python)
        self._environment = dict(os.environ if environment is None else environment)
        self._constants = constants or {}
        self._link = path / "link"
        self._listener: socket.socket | None = None
        self._connection: socket.socket | None = None
        self._lines = Lines()
        self._events: list[Event] = []

    # The runner.

    def start(self, *options: str, link: bool = False, welcome: bool = True) -> None:
        """Start a runner with a connected socket, or, with `link`, one that comes to this side's socket."""
        theirs = None
        if link:
            self.listen()
            reach = f"--link={self._link}"
        else:
            self.disconnect()
            self._connection, theirs = socket.socketpair()
            reach = f"--connection={3 if self._is_fork else theirs.fileno()}"
        arguments = [reach, f"--log={self.log}", f"--tasks={self.tasks}", *options]
        given = [theirs.fileno()] if theirs else []
        with open(self.messages, "ab") as messages:
            if self._is_fork:
                self.process = start_runner(
                    arguments, self._environment, self._constants, given, messages.fileno()
                )
            else:
                self.process = subprocess.Popen(
                    [*self._argv, "-c", WITH_CONSTANTS, str(CODE), json.dumps(self._constants), *arguments],
                    env=self._environment, stdin=subprocess.DEVNULL, stderr=messages, start_new_session=True,
                    pass_fds=given,
                )  # fmt: skip
        if theirs:
            theirs.close()
        self.greet(welcome)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.disconnect()

    def exit_code(self, seconds: float = 60.0) -> int:
        """Wait for the end of the runner, and answer as a worker does that keeps each outcome."""
        assert self.process is not None
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"the runner goes on: {self.messages.read_text()}"
            for event in self.events("ended"):
                self.send(do="forget", attempts=[event["attempt"]])
            time.sleep(0.02)
        return self.process.wait()

    def end(self) -> None:
        """End the runner as at the end of a local run: its worker is gone."""
        if self._listener:
            self._listener.close()
        self.disconnect()
        if self.process is not None and self.process.poll() is None:
            if self._listener:
                self.process.kill()
            self.process.wait(60)

    # The connection.

    def listen(self) -> None:
        if self._listener is None:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(self._link))
            self._listener.listen()
            self._listener.settimeout(60)

    def greet(self, welcome: bool = True) -> None:
        """Hear the runner's hello, after it has connected; and welcome it."""
        if self._listener:
            self.disconnect()
            self._connection, _ = self._listener.accept()
        self._lines, self._events = Lines(), []
        self.hello = self.wait("hello")
        if welcome:
            self.send(do="welcome", key=KEY)

    def disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def send(self, **message: Any) -> None:
        self.send_bytes(encode(message))

    def send_bytes(self, content: bytes) -> None:
        assert self._connection is not None
        self._connection.sendall(content)

    def run(self, *jobs: Job) -> None:
        self.send(do="run", jobs=[job.to_message() for job in jobs])

    def wait(self, *events: str, attempt: str | None = None, seconds: float = 60.0) -> Event:
        """Wait for one of these events, of this attempt, and take it out of those that have come."""
        deadline = time.monotonic() + seconds
        while True:
            for event in self._events:
                if event["event"] in events and (attempt is None or event.get("attempt") == attempt):
                    self._events.remove(event)
                    return event
            left = deadline - time.monotonic()
            assert left > 0, f"no {events} of {attempt}: {self._events} {self.messages.read_text()}"
            assert self._receive(left) is not False, f"the connection ended: {self.messages.read_text()}"

    def events(self, *names: str) -> list[Event]:
        """Events that have come and were not taken by wait(); all if no name is given."""
        while self._receive(0.0):
            pass
        return [event for event in self._events if not names or event["event"] in names]

    def held(self) -> dict[str, Event]:
        """What the runner holds, of which it speaks after its welcome."""
        self.wait("synced")
        held = self.events("held")
        self._events = [event for event in self._events if event not in held]
        return {event["attempt"]: event for event in held}

    def is_closed(self, seconds: float = 60.0) -> bool:
        """True if the runner closes the connection in time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._receive(0.1) is False:
                return True
        return False

    def _receive(self, seconds: float) -> bool | None:
        """Take what comes; False if the connection has ended, None if nothing has come."""
        if self._connection is None:
            return False
        self._connection.settimeout(seconds)
        chunk = None
        with suppress(BlockingIOError, TimeoutError):
            try:
                chunk = self._connection.recv(2**16)
            except ConnectionError:
                chunk = b""
        self._connection.settimeout(None)
        if chunk:
            self._events += self._lines.take(chunk)
        return None if chunk is None else bool(chunk)
