"""Supervision of one attempt: process group, working directory, timeout, outcome."""

from __future__ import annotations

import errno
import logging
import math
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Mapping

from framework.errors import FrameworkError
from framework.messages.metrics import Metric
from framework.runner.alarm import Alarm
from framework.runner.children import Children
from framework.runner.functions import Functions
from framework.runner.job import Job
from framework.runner.orphans import end_orphans
from framework.runner.output import MOST_METRICS, OutputReader, last_line, read_metrics_file
from framework.runner.process import End, Process, signal_group, signal_name
from framework.runner.programs import start
from framework.runner.user_values import UserValues, fill
from framework.runner.wandb_log import read_wandb_log
from framework.runner.working_directory import WorkingDirectory

if TYPE_CHECKING:
    from framework.runner.output import OnMetrics

log = logging.getLogger(__name__)

TAIL_SECONDS = 0.5  # pause between two reads of the output
GRACE_SECONDS = 10.0  # time between TERM and KILL

# Errors of fork and exec that mean that the host is short of something; the task has not caused them.
_SHORTAGES = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC)
_OUTPUT_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND  # a program that opens its /dev/stdout again appends
_NO_VALUES = UserValues()


@dataclass(frozen=True)
class Execution:
    """Outcome of an attempt."""

    exit_code: int | None  # 128 + signal if a signal ended it, None if it never started
    seconds: float
    state: str  # done, failed, timeout or stopped
    reason: str  # cause of the state; for a done attempt, remarks on its metrics
    metrics: Mapping[str, Metric]  # last value of each metric

    def to_message(self) -> dict[str, Any]:
        return dict(vars(self))


class Attempt:
    """One attempt: runs a job to its end, and can be stopped."""

    def __init__(
        self,
        job: Job,
        given: Mapping[str, str],
        children: Children,
        functions: Functions,
        on_metrics: OnMetrics,
        on_started: Callable[[], None] = lambda: None,
        values: UserValues = _NO_VALUES,
    ) -> None:
        """`given`: the environment that the job's own variables come on top of, and the `values` it wants.

        `on_metrics` is called with the latest metrics and reports, at most once a second; `on_started`
        when the program is about to run.
        """
        self._job = job
        self._files = job.files
        self._given = given
        self._values = values
        self._environment: Mapping[str, str] = {}
        self._children = children
        self._functions = functions
        self._output_options = (on_metrics, job.ranked, job.reports())
        self._on_started = on_started
        self._alarm = Alarm()
        self._is_stopped = False

    def stop(self) -> None:
        """Have the process group get TERM, then KILL."""
        self._is_stopped = True
        self._alarm.ring()

    async def run(self) -> Execution:
        """Run the job's program in the directory of the attempt, where it finds the files of its project.

        After the job's timeout, or soon after stop(), its process group gets TERM, then KILL; when it has
        ended, so does every other process with its TASK_DIR. Raises FrameworkError if the host is short of
        something (disk, processes), which the task has not caused; then it can be run again.
        """
        self._add_values()
        directory = WorkingDirectory(self._files.work, self._job.project, self._job.workdir)
        stdout = stderr = -1
        try:
            stdout, stderr = self._prepare(directory)
            output = OutputReader(stdout, stderr, *self._output_options)
            execution = await self._execute(output, stdout, stderr)
        finally:
            for descriptor in (stdout, stderr):
                if descriptor >= 0:
                    os.close(descriptor)
            directory.clear()
        return execution

    def _add_values(self) -> None:
        """Make the environment and the command, with the values that there are now."""
        values = self._values.read(self._job.wanted, self._given)
        self._environment = {**self._given, **values, **self._job.environment}
        self._job = replace(self._job, command=fill(self._job.command, values))

    def _prepare(self, directory: WorkingDirectory) -> tuple[int, int]:
        """Fill the attempt's directory; return its open output files."""
        try:
            _make_directories(self._files.directory.parent, self._files.directory)
            directory.fill()
            for name, content in self._job.contents.items():
                _write_file(os.path.join(self._job.directory, name), content.encode())
            stdout = os.open(self._files.stdout, _OUTPUT_FLAGS, 0o644)
            return stdout, os.open(self._files.stderr, _OUTPUT_FLAGS, 0o644)
        except OSError as error:
            raise FrameworkError(
                f"{self._files.directory}: cannot be prepared for the task: {error.strerror}"
            ) from error

    async def _execute(self, output: OutputReader, stdout: int, stderr: int) -> Execution:
        began = time.monotonic()
        self._on_started()
        try:
            process = start(
                self._job, self._environment, stdout, stderr, self._children, self._functions, self._alarm
            )
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno in _SHORTAGES:
                raise FrameworkError(f"cannot start a process: {error.strerror}") from error
            return Execution(None, 0.0, "failed", _describe_start_error(self._job, error), {})
        try:
            cause, end = await self._supervise(process, began, output)
        finally:
            await process.close()
        output.read_rest()
        orphans = 0
        if process.pid is not None and self._children.has_strangers():
            orphans = await end_orphans(self._files.work, process.pid, end.when - began)
        execution = self._execution(cause, end, end.when - began, output)
        if not orphans:
            return execution
        remark = f"processes that it left running were ended: {orphans}"
        return replace(execution, reason="; ".join(filter(None, [execution.reason, remark])))

    async def _supervise(self, process: Process, began: float, output: OutputReader) -> tuple[str, End]:
        """Wait for the end of a process, and end it on timeout or stop."""
        deadline = math.inf if self._job.timeout is None else began + self._job.timeout
        kill_at = math.inf
        cause = "exit"
        pause = min(TAIL_SECONDS, deadline - began)
        while True:
            await self._alarm.wait(pause)
            if process.error is not None:
                raise process.error
            now = time.monotonic()
            if process.end is not None:
                break
            if cause == "exit" and (now >= deadline or self._is_stopped):
                cause = "timeout" if now >= deadline else "stopped"
                if process.pid is None:
                    return cause, End(now, None, None)  # close() keeps it from ever beginning
                signal_group(process.pid, signal.SIGTERM)
                deadline, kill_at = math.inf, now + GRACE_SECONDS
            elif now >= kill_at and process.pid is not None:
                signal_group(process.pid, signal.SIGKILL)
                kill_at = math.inf
            has_more = output.read()
            pause = 0.0 if has_more else max(0.001, min(TAIL_SECONDS, deadline - now, kill_at - now))
        if cause == "exit" and process.end.exit_code != 0 and self._is_stopped:
            cause = "stopped"  # a signal from elsewhere ended it first
        return cause, process.end

    def _execution(self, cause: str, end: End, seconds: float, output: OutputReader) -> Execution:
        found, remarks = read_metrics_file(self._files.metrics)
        output.add(found)
        logged = read_wandb_log(self._job.start)
        output.add({name: value for name, value in logged.items() if name not in output.metrics})
        if output.overflowed:
            remarks.append(f"more than {MOST_METRICS} metrics: the others are ignored")
        state, why = cause, ""
        if cause == "timeout":
            why = f"ran longer than its timeout of {self._job.timeout:g} s"
        elif cause == "stopped":
            why = "stopped by the master, or because its worker stopped"
        elif end.exit_code == 0:
            state = "done"
        else:
            state, why = "failed", _failure(end, self._files.stderr)
        reason = "; ".join(filter(None, [why, *end.remarks, *remarks]))
        return Execution(end.exit_code, seconds, state, reason, output.metrics)


def _write_file(path: str, content: bytes) -> None:
    """Write a file with fewer calls of the kernel than open() takes: it is done for each task."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        left = memoryview(content)
        while left:
            left = left[os.write(file, left) :]
    finally:
        os.close(file)


def _make_directories(*directories: Path) -> None:
    """Make these, from the outermost to the innermost, at the least cost; all may be there, or none above."""
    for directory in directories:
        with suppress(FileExistsError, FileNotFoundError):
            os.mkdir(directory)


def _failure(end: End, stderr: Path) -> str:
    """Describe how a process failed, with the last line that it wrote to stderr."""
    if end.exit_code is None:
        failure = end.problem
    elif end.signal is not None:
        failure = f"killed by {signal_name(end.signal)}"
    elif end.exit_code - 128 in signal.valid_signals():
        failure = f"exit code {end.exit_code}, as after {signal_name(end.exit_code - 128)}"
    else:
        failure = f"exit code {end.exit_code}"
    last = last_line(stderr)
    return f"{failure}: {last}" if last else failure


def _describe_start_error(job: Job, error: OSError | ValueError) -> str:
    """Return what the user is told when the program of a job cannot be started."""
    if job.function is not None:
        return f"{job.function} cannot be called: {error!s:.200}"
    program = f"{job.command[0]!r:.100}"
    if isinstance(error, FileNotFoundError):
        return (
            f"command not found: {program}; it must be in the image or in the project, "
            "and the interpreter in its #! line must exist"
        )
    if isinstance(error, PermissionError):
        return f"{program} is not executable; run chmod +x on it"
    if isinstance(error, OSError):
        return f"{program} cannot be executed: {error.strerror}"
    return f"{program} cannot be executed: {error!s:.200}"
