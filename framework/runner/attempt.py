"""Supervision of one attempt: process group, working directory, timeout, outcome."""

import errno
import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from framework.errors import FrameworkError
from framework.files import AttemptFiles
from framework.messages.assignment import AttemptState
from framework.messages.metrics import Metric
from framework.project.early_termination import Reports
from framework.runner.orphans import end_orphans
from framework.runner.output import MOST_METRICS, OutputReader, last_line, read_metrics_file
from framework.runner.process import End, Process, signal_group, signal_name
from framework.runner.programs import Program
from framework.runner.working_directory import WorkingDirectory

log = logging.getLogger(__name__)

TAIL_SECONDS = 0.5  # pause between two reads of the output
GRACE_SECONDS = 10.0  # time between TERM and KILL

# Errors of fork and exec that mean that the host is short of something; the task has not caused them.
_SHORTAGES = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC)

_Cause: TypeAlias = Literal["exit", "timeout", "stopped"]


@dataclass(frozen=True)
class Execution:
    """Outcome of an attempt."""

    exit_code: int | None  # 128 + signal if a signal ended it, None if it never started
    seconds: float
    state: AttemptState
    reason: str  # cause of the state; for a done attempt, remarks on its metrics
    metrics: Mapping[str, Metric]  # last value of each metric


def run_attempt(
    program: Program,
    files: AttemptFiles,
    project_path: Path,
    environment: Mapping[str, str],
    timeout: float | None,
    on_metrics: Callable[[dict[str, Metric]], None],
    stop: threading.Event,
    reports: Reports | None = None,
    ranked: str | None = None,
) -> Execution:
    """Run `program` to its end in the directory files.work, where it finds the files of `project_path`.

    `environment` is all that the program sees; task_environment() makes it. After `timeout` seconds, or soon
    after `stop` is set, the process group gets TERM, then KILL; when it has ended, so does every other
    process with its TASK_DIR. `on_metrics` is called from this thread with the latest metrics, at most once a
    second; it must not block. `reports` is updated before each call. `ranked` is the metric that the project
    ranks by.
    Raises FrameworkError if the host is short of something (disk, processes), which the task has not caused.
    """
    project_path = project_path.resolve()
    directory = WorkingDirectory(files.work, project_path)
    try:
        directory.fill()
        files.stdout.touch()
        files.stderr.touch()
        output = OutputReader(files.stdout, files.stderr, on_metrics, ranked, reports)
    except OSError as error:
        raise FrameworkError(
            f"{files.directory}: cannot be prepared for the task: {error.strerror}"
        ) from error
    try:
        began = time.monotonic()
        try:
            process = program.start(files, project_path, environment)
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno in _SHORTAGES:
                raise FrameworkError(f"cannot start a process: {error.strerror}") from error
            return Execution(None, 0.0, "failed", program.describe_start_error(error), {})
        cause, end = _supervise(process, began, timeout, output, stop)
        output.read_rest()
        orphans = end_orphans(files.work, process.pid, end.when - began) if process.pid else 0
    finally:
        output.close()
        directory.clear()
    execution = _execution(cause, end, end.when - began, files, output, timeout)
    return _with_remark(execution, f"processes that it left running were ended: {orphans}" if orphans else "")


def _supervise(
    process: Process, began: float, timeout: float | None, output: OutputReader, stop: threading.Event
) -> tuple[_Cause, End]:
    """Wait for the end of a process, end it on timeout or stop, and kill the rest of its group."""
    deadline = math.inf if timeout is None else began + timeout
    kill_at = math.inf
    cause: _Cause = "exit"
    try:
        pause = 0.0
        while (end := process.end_within(pause)) is None:
            now = time.monotonic()
            if cause == "exit" and (now >= deadline or stop.is_set()):
                cause = "timeout" if now >= deadline else "stopped"
                if process.pid is None:
                    return cause, End(now, None, None)  # close() keeps it from ever beginning
                signal_group(process.pid, signal.SIGTERM)
                deadline, kill_at = math.inf, now + GRACE_SECONDS
            elif now >= kill_at and process.pid is not None:
                signal_group(process.pid, signal.SIGKILL)
                kill_at = math.inf
            has_more = output.read()
            pause = 0.0 if has_more else max(0.0, min(TAIL_SECONDS, deadline - now, kill_at - now))
    finally:
        process.close()
    if cause == "exit" and end.exit_code != 0 and stop.is_set():
        cause = "stopped"  # a signal from elsewhere, such as Ctrl-C, ended it first
    return cause, end


def _execution(
    cause: _Cause, end: End, seconds: float, files: AttemptFiles, output: OutputReader, timeout: float | None
) -> Execution:
    found, remarks = read_metrics_file(files.metrics)
    output.add(found)
    if output.overflowed:
        remarks.append(f"more than {MOST_METRICS} metrics: the others are ignored")
    state: AttemptState
    match cause:
        case "timeout":
            state, why = "timeout", f"ran longer than its timeout of {timeout:g} s"
        case "stopped":
            state, why = "stopped", "stopped by the master, or because its worker stopped"
        case "exit" if end.exit_code == 0:
            state, why = "done", ""
        case _:
            state, why = "failed", _failure(end, files.stderr)
    reason = "; ".join(filter(None, [why, *end.remarks, *remarks]))
    return Execution(end.exit_code, seconds, state, reason, output.metrics)


def _with_remark(execution: Execution, remark: str) -> Execution:
    return replace(execution, reason="; ".join(filter(None, [execution.reason, remark])))


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
