"""Runner of a local run: a child of this process."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import framework.runner.__main__
from framework.errors import FrameworkError
from framework.files import WorkerFiles
from framework.worker.connection import RunnerConnection

START_SECONDS = 30.0  # longest wait for a runner that has been started
END_SECONDS = 30.0  # longest wait for the end of one
MOST_STARTS = 5  # in MINUTE_SECONDS: then something kills them all
MINUTE_SECONDS = 60.0


class RunnerProcess:
    """The runner's process, which ends its tasks when this process ends, however that happens."""

    def __init__(self, files: WorkerFiles, kept: int, values: Mapping[str, str] | None = None) -> None:
        """`kept`: a descriptor, of a lock, that the runner holds as long as it lives. `values`: for tasks."""
        self._files = files
        self._kept = kept
        self._values = values or {}
        self._starts: deque[float] = deque(maxlen=MOST_STARTS)
        self._process: subprocess.Popen[bytes] | None = None
        self.connection: RunnerConnection

    def start(self) -> Mapping[str, Any]:
        """Start a runner, and return what it says of itself. Raises FrameworkError."""
        now = time.monotonic()
        if len(self._starts) == MOST_STARTS and now - self._starts[0] < MINUTE_SECONDS:
            raise FrameworkError(
                f"the process that runs the tasks was killed {MOST_STARTS} times in a minute; "
                "has this machine too little memory?"
            )
        self._starts.append(now)
        self.close()
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", framework.runner.__main__.__file__),
                    f"--connection={theirs.fileno()}",
                    f"--log={self._files.runner_log}",
                    f"--tasks={self._files.tasks}",
                ],
                env={**task_environment(), **self._values},
                stdin=subprocess.DEVNULL,
                stdout=2,
                pass_fds=[theirs.fileno(), self._kept],
                start_new_session=True,  # keeps Ctrl-C and the end of a terminal from it
            )
        self.connection = RunnerConnection(ours)
        self.connection.trust()
        return self._hello()

    def _hello(self) -> Mapping[str, Any]:
        deadline = time.monotonic() + START_SECONDS
        while select.select([self.connection], [], [], max(0.0, deadline - time.monotonic()))[0]:
            messages = self.connection.receive()
            if messages is None:
                raise FrameworkError("the process that runs the tasks cannot be started; see above")
            if messages:
                return messages[0]
        raise FrameworkError(f"the process that runs the tasks has not begun in {START_SECONDS:.0f} s")

    def close(self) -> None:
        """Close the connection, and wait until the runner has ended its tasks and itself."""
        if self._process is None:
            return
        self.connection.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def task_environment() -> dict[str, str]:
    """The environment of this process, in which `python` is the one that runs it."""
    own = os.path.dirname(sys.executable)
    path = os.environ.get("PATH", os.defpath)
    first = path if own in path.split(os.pathsep)[:1] else os.pathsep.join([own, path])
    return {**os.environ, "PATH": first}
