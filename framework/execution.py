"""Runs one attempt: a process group and a directory of its own, its time limit, its logs and its metrics."""

import errno
import json
import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from framework.early_termination import Reports
from framework.errors import FrameworkError
from framework.files import AttemptFiles
from framework.metrics import Metric, metric_problem, parse_metrics
from framework.process import End, Process, signal_group, signal_name
from framework.programs import Program
from framework.task import AttemptState

log = logging.getLogger(__name__)

TAIL_SECONDS = 0.5  # between two looks at the output
METRICS_SECONDS = 1.0  # between two calls of on_metrics, at the least
GRACE_SECONDS = 10.0  # between TERM and KILL
MOST_METRICS = 500  # of one attempt, so that its result stays small enough for a message

_CHUNK = 2**20  # bytes of output read at once
_LONGEST_LINE = 2**16  # bytes; a longer one is no metrics line
_LONGEST_METRICS_FILE = 2**20  # bytes
_LONGEST_REMARK = 300  # characters

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
_PASSED_PREFIXES = ("CUDA_", "LC_", "NVIDIA_", "OMP_")

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
        tail = _Tail(files.stdout, on_metrics, reports)
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
    tail: "_Tail",
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


class _Tail:
    """Reads output as it is written, in bounded memory, and keeps the last value of each metric in it."""

    def __init__(
        self, path: Path, on_metrics: Callable[[dict[str, Metric]], None], reports: Reports | None
    ) -> None:
        self.metrics: dict[str, Metric] = {}
        self.overflowed = False
        self._file = path.open("rb", buffering=0)
        self._on_metrics = on_metrics
        self._reports = reports
        self._rungs_told = 0
        self._told: dict[str, Metric] = {}
        self._told_at = -math.inf
        self._partial = b""
        self._skipping = False  # the rest of a line that is too long

    def read(self) -> bool:
        """Take in what is there, up to a limit; True if there may be more."""
        chunk = self._file.read(_CHUNK)
        self._take(chunk)
        now = time.monotonic()
        changed = self.metrics != self._told or self._rungs_reached() > self._rungs_told
        if changed and now - self._told_at >= METRICS_SECONDS:
            self._tell(now)
        return len(chunk) == _CHUNK

    def _rungs_reached(self) -> int:
        return len(self._reports.at_rungs) if self._reports else 0

    def _tell(self, now: float) -> None:
        self._told, self._told_at, self._rungs_told = dict(self.metrics), now, self._rungs_reached()
        try:
            self._on_metrics(dict(self.metrics))
        except Exception:
            log.exception("metrics could not be reported")  # the task goes on: its result brings them again

    def read_rest(self) -> None:
        """Take in all that was written until now, an unfinished last line too."""
        size = os.fstat(self._file.fileno()).st_size
        while self._file.tell() < size and (chunk := self._file.read(_CHUNK)):
            self._take(chunk)
        self._take(b"\n")
        if self._rungs_reached() > self._rungs_told:  # which the result does not bring
            self._tell(time.monotonic())

    def close(self) -> None:
        self._file.close()

    def _take(self, chunk: bytes) -> None:
        # a carriage return ends a line too: progress bars write nothing else
        lines, newline, rest = (self._partial + chunk).replace(b"\r", b"\n").rpartition(b"\n")
        if newline and self._skipping:
            lines, self._skipping = lines.partition(b"\n")[2], False
        self._skipping = self._skipping or len(rest) > _LONGEST_LINE
        self._partial = b"" if self._skipping else rest
        if b"=" not in lines:
            return  # most output is no metrics: it should cost little
        for line in lines.split(b"\n"):
            if b"=" in line and len(line) <= _LONGEST_LINE:
                found = parse_metrics(line.decode(errors="replace"))
                self.add(found)
                if self._reports and found:
                    self._reports.take(found)

    def add(self, found: Mapping[str, Metric]) -> None:
        for name, value in found.items():
            if name in self.metrics or len(self.metrics) < MOST_METRICS:
                self.metrics[name] = value
            else:
                self.overflowed = True


def _execution(
    cause: Cause, end: End, seconds: float, files: AttemptFiles, tail: _Tail, timeout: float | None
) -> Execution:
    found, remarks = _metrics_of_file(files.metrics)
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
    last = _last_line(stderr)
    return f"{why}: {last}" if last else why


def _last_line(file: Path) -> str:
    """The last line of a file that has anything in it, fit to be shown."""
    try:
        with file.open("rb") as opened:
            opened.seek(max(0, os.fstat(opened.fileno()).st_size - 4096))
            text = opened.read().decode(errors="replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [""]
    return "".join(character if character.isprintable() else " " for character in lines[-1])[:_LONGEST_REMARK]


def _metrics_of_file(file: Path) -> tuple[dict[str, Metric], list[str]]:
    """The metrics that a task left as a JSON object, and what is wrong with the rest of the file."""
    try:
        if not file.is_file():
            return {}, []
        with file.open("rb") as opened:
            text = opened.read(_LONGEST_METRICS_FILE + 1)
    except OSError as error:
        return {}, [f"{file.name} cannot be read: {error.strerror}"]
    if len(text) > _LONGEST_METRICS_FILE:
        return {}, [f"{file.name} is larger than {_LONGEST_METRICS_FILE} bytes: left out"]
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        return {}, [f"{file.name} is no JSON ({error!s:.100}): left out"]
    if not isinstance(content, dict):
        return {}, [f"{file.name} is no JSON object: left out"]
    values = {name: _json_metric(value) for name, value in content.items()}
    problems = {name: metric_problem(name, value) for name, value in values.items()}
    remarks = [f"{file.name}: {problem:.{_LONGEST_REMARK}}" for problem in problems.values() if problem]
    return {name: value for name, value in values.items() if not problems[name]}, remarks[:1]


def _json_metric(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
