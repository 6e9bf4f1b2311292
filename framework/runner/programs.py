"""Programs that an attempt can run: a command, or the call of a function."""

from __future__ import annotations

import signal
from typing import Mapping

from framework.runner.alarm import Alarm
from framework.runner.children import Children
from framework.runner.functions import CallProcess, Functions
from framework.runner.job import Job
from framework.runner.process import End, Process, signal_group, spawn


def start(
    job: Job,
    environment: Mapping[str, str],
    stdout: int,
    stderr: int,
    children: Children,
    functions: Functions,
    alarm: Alarm,
) -> Process:
    """Start the program of a job with exactly this environment. Raises OSError or ValueError."""
    if job.function is None:
        pid = spawn(job.command, environment, str(job.start), stdout, stderr)
        return _CommandProcess(pid, children, alarm)
    return CallProcess(functions, job, environment, stdout, stderr, alarm)


class _CommandProcess(Process):
    """Process of a command."""

    def __init__(self, pid: int, children: Children, alarm: Alarm) -> None:
        self.pid: int = pid
        self.end = None
        self.error = None
        self._children = children
        self._alarm = alarm
        children.observe(pid, self._on_end)

    def _on_end(self, end: End) -> None:
        self.end = end
        self._alarm.ring()

    async def close(self) -> None:
        signal_group(self.pid, signal.SIGKILL)
        self._children.reap(self.pid)
