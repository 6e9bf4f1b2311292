"""Supervision of one attempt: process group, working directory, timeout, outcome."""

import errno
import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from framework.errors import FrameworkError
from framework.files import AttemptFiles
from framework.messages.assignment import AttemptState
from framework.messages.metrics import Metric
from framework.project.early_termination import Reports
from framework.runner.output import MOST_METRICS, OutputReader, last_line, read_metrics_file
from framework.runner.process import End, Process, signal_group, signal_name
from framework.runner.programs import Program

log = logging.getLogger(__name__)

TAIL_SECONDS = 0.5  # between two looks at the output
GRACE_SECONDS = 10.0  # between TERM and KILL


# The worker's environment holds more than a task may see: only these are passed on.
_PASSED = (
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "PYTHONPYCACHEPREFIX",
)
_PASSED_PREFIXES = ("CUDA_", "LC_", "NVIDIA_", "OMP_", "WANDB_")

# Errors of fork and exec that say the host is short of something.
_NOT_THE_TASKS_FAULT = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC)


@dataclass(frozen=True)
class Execution:
    """How an attempt went."""

    exit_code: int | None  # 128 + signal if one ended it, None if it never started
    seconds: float
    state: AttemptState
    reason: str  # why it is not done; remarks if it is
    metrics: Mapping[str, Metric]  # the last value of each


def run_attempt(
    program: Program,
    files: AttemptFiles,
    project_path: Path,
    environment: Mapping[str, str],
    timeout: float | None,
    on_metrics: Callable[[dict[str, Metric]], None],
    stop: threading.Event,
    reports: Reports | None = None,
) -> Execution:
    """Run `program` to its end in the directory files.work, with the entries of `project_path` linked there.

    Of `environment` only what a task may see is passed on. After `timeout` seconds, or soon after `stop` is
    set, the process group gets TERM, then KILL. `on_metrics` is called from this thread with the latest
    metrics, at most once a second; it must not block. `reports` takes what is reported before it is called.
    Raises FrameworkError if the host is short of something (disk, processes): that is not the task's fault.
    """
    project_path = project_path.resolve()
    try:
        files.work.mkdir(parents=True, exist_ok=True)
        links = _link_entries(project_path, files)
        files.stdout.touch()
        tail = OutputReader(files.stdout, on_metrics, reports)
    except OSError as error:
        raise FrameworkError(
            f"{files.directory}: cannot be prepared for the task: {error.strerror}"
        ) from error
    try:
        began = time.monotonic()
        # unbuffered, or metrics would be seen only when a buffer is full
        environment = passed_on(environment) | {"PYTHONUNBUFFERED": "1"}
        try:
            process = program.start(files, project_path, environment, _variables(files))
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno in _NOT_THE_TASKS_FAULT:
                raise FrameworkError(f"cannot start a process: {error.strerror}") from error
            return Execution(None, 0.0, "failed", program.why_not_started(error), {})
        cause, end = _watch(process, began, timeout, tail, stop)
        tail.read_rest()
    finally:
        tail.close()
        _remove_links(links)
    return _execution(cause, end, end.when - began, files, tail, timeout)


def _variables(files: AttemptFiles) -> dict[str, str]:
    return {"TASK_ID": files.task, "TASK_ATTEMPT": str(files.attempt), "TASK_DIR": str(files.work)}


def passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """What a task may see of its worker's environment."""
    return {
        name: value
        for name, value in environment.items()
        if name in _PASSED or name.startswith(_PASSED_PREFIXES)
    }


def _link_entries(project_path: Path, files: AttemptFiles) -> list[tuple[Path, Path]]:
    """Make the project's files visible in the working directory; returns the links and where they lead."""
    links = []
    for target in sorted(project_path.iterdir()):
        link = files.work / target.name
        if link == files.metrics or os.path.lexists(link):
            continue
        link.symlink_to(target)
        links.append((link, target))
    return links


def _remove_links(links: Sequence[tuple[Path, Path]]) -> None:
    """Leave only what is the task's own; what it put in the place of a link stays."""
    for link, target in links:
        try:
            if link.is_symlink() and link.readlink() == target:
                link.unlink()
        except OSError as error:
            log.warning("%s stays: %s", link, error.strerror)


Cause: TypeAlias = Literal["exit", "timeout", "stopped"]


def _watch(
    process: Process,
    began: float,
    timeout: float | None,
    tail: "OutputReader",
    stop: threading.Event,
) -> tuple[Cause, End]:
    """Wait for the end of a process, bring it about if need be, and end what is left of its group."""
    deadline = math.inf if timeout is None else began + timeout
    kill_at = math.inf
    cause: Cause = "exit"
    try:
        pause = 0.0
        while (end := process.end_within(pause)) is None:
            now = time.monotonic()
            if cause == "exit" and (now >= deadline or stop.is_set()):
                cause = "timeout" if now >= deadline else "stopped"
                if process.pid is None:
                    return cause, End(now, None, None)  # it will never begin
                signal_group(process.pid, signal.SIGTERM)
                deadline, kill_at = math.inf, now + GRACE_SECONDS
            elif now >= kill_at and process.pid is not None:
                signal_group(process.pid, signal.SIGKILL)
                kill_at = math.inf
            more = tail.read()
            pause = 0.0 if more else max(0.0, min(TAIL_SECONDS, deadline - now, kill_at - now))
    finally:
        process.close()
    if cause == "exit" and end.exit_code != 0 and stop.is_set():
        cause = "stopped"  # by somebody who was quicker
    return cause, end


def _execution(
    cause: Cause, end: End, seconds: float, files: AttemptFiles, tail: OutputReader, timeout: float | None
) -> Execution:
    found, remarks = read_metrics_file(files.metrics)
    tail.add(found)
    if tail.overflowed:
        remarks.append(f"more than {MOST_METRICS} metrics: the others were left out")
    state: AttemptState
    match cause:
        case "timeout":
            state, why = "timeout", f"ran longer than its timeout of {timeout:g} s"
        case "stopped":
            state, why = "stopped", "stopped, by the master or with its worker"
        case "exit" if end.exit_code == 0:
            state, why = "done", ""
        case _:
            state, why = "failed", _why_failed(end, files.stderr)
    reason = "; ".join(filter(None, [why, *remarks]))
    return Execution(end.exit_code, seconds, state, reason, tail.metrics)


def _why_failed(end: End, stderr: Path) -> str:
    if end.exit_code is None:
        why = end.problem
    elif end.signal is not None:
        why = f"killed by {signal_name(end.signal)}"
    elif end.exit_code > 128:
        why = f"exit code {end.exit_code}, as after {signal_name(end.exit_code - 128)}"
    else:
        why = f"exit code {end.exit_code}"
    last = last_line(stderr)
    return f"{why}: {last}" if last else why
