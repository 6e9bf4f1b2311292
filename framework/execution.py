"""Runs one attempt: a process group and a directory of its own, its time limit, its logs and its metrics."""

import errno
import json
import logging
import math
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from framework.errors import FrameworkError
from framework.files import AttemptFiles
from framework.metrics import Metric, metric_problem, parse_metrics
from framework.task import AttemptState

log = logging.getLogger(__name__)

TAIL_SECONDS = 0.5  # between two looks at the output
METRICS_SECONDS = 1.0  # between two calls of on_metrics, at the least
GRACE_SECONDS = 10.0  # between TERM and KILL
OOM_SCORE = 500  # above the worker's own: short of memory, the kernel ends the task and not the worker
MOST_METRICS = 500  # of one attempt, so that its result stays small enough for a message

_CHUNK = 2**20  # bytes of output read at once
_LONGEST_LINE = 2**16  # bytes; a longer one is no metrics line
_LONGEST_METRICS_FILE = 2**20  # bytes
_LONGEST_REMARK = 300  # characters

# The worker's environment holds more than a task may see: only these are passed on.
_PASSED = ("PATH", "HOME", "USER", "LANG", "TZ", "PYTHONPATH", "PYTHONPYCACHEPREFIX")
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
    argv: Sequence[str],
    files: AttemptFiles,
    project_path: Path,
    environment: Mapping[str, str],
    timeout: float | None,
    on_metrics: Callable[[dict[str, Metric]], None],
    stop: threading.Event,
) -> Execution:
    """Run `argv` to its end in the directory files.work, with the entries of `project_path` linked into it.

    Of `environment` only what a task may see is passed on. After `timeout` seconds, or soon after `stop` is
    set, the process group gets TERM, then KILL. `on_metrics` is called from this thread with the latest
    metrics, at most once a second; it must not block.
    Raises FrameworkError if the host is short of something (disk, processes): that is not the task's fault.
    """
    try:
        files.work.mkdir(parents=True, exist_ok=True)
        links = _link_entries(project_path.resolve(), files)
        files.stdout.touch()
        tail = _Tail(files.stdout, on_metrics)
    except OSError as error:
        raise FrameworkError(
            f"{files.directory}: cannot be prepared for the task: {error.strerror}"
        ) from error
    try:
        began = time.monotonic()
        try:
            process = _start(argv, files, environment)
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno in _NOT_THE_TASKS_FAULT:
                raise FrameworkError(f"cannot start a process: {error.strerror}") from error
            return Execution(None, 0.0, "failed", _why_not_started(argv, error), {})
        ending = _watch(process, began, timeout, tail, stop)
        tail.read_rest()
    finally:
        tail.close()
        _remove_links(links)
    return _execution(ending, files, tail, timeout)


def _start(
    argv: Sequence[str], files: AttemptFiles, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    # appended to, so that a program which opens its /dev/stdout again overwrites nothing
    with files.stdout.open("ab") as stdout, files.stderr.open("ab") as stderr:
        return subprocess.Popen(
            argv,
            cwd=files.work,
            env=_task_environment(environment, files),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )


def _task_environment(environment: Mapping[str, str], files: AttemptFiles) -> dict[str, str]:
    return passed_on(environment) | {
        "PYTHONUNBUFFERED": "1",  # or metrics would be seen only when a buffer is full
        "TASK_ID": files.task,
        "TASK_ATTEMPT": str(files.attempt),
        "TASK_DIR": str(files.work),
    }


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


@dataclass(frozen=True)
class _Ending:
    cause: Literal["exit", "timeout", "stopped"]
    seconds: float
    exit_code: int | None  # None if something else took it
    signal: int | None  # that ended the process


def _watch(
    process: subprocess.Popen[bytes],
    began: float,
    timeout: float | None,
    tail: "_Tail",
    stop: threading.Event,
) -> _Ending:
    """Wait for the end of a process, bring it about if need be, and end what is left of its group."""
    end = _End(process.pid)
    deadline = math.inf if timeout is None else began + timeout
    kill_at = math.inf
    cause: Literal["exit", "timeout", "stopped"] = "exit"
    try:
        end.start()
        _raise_oom_score(process.pid)
        pause = 0.0
        while not end.came_within(pause):
            now = time.monotonic()
            if cause == "exit" and (now >= deadline or stop.is_set()):
                cause = "timeout" if now >= deadline else "stopped"
                _signal_group(process, signal.SIGTERM)
                deadline, kill_at = math.inf, now + GRACE_SECONDS
            elif now >= kill_at:
                _signal_group(process, signal.SIGKILL)
                kill_at = math.inf
            more = tail.read()
            pause = 0.0 if more else max(0.0, min(TAIL_SECONDS, deadline - now, kill_at - now))
    finally:
        _signal_group(process, signal.SIGKILL)
        process.wait()
    if cause == "exit" and end.exit_code != 0 and stop.is_set():
        cause = "stopped"  # by somebody who was quicker
    return _Ending(cause, end.when - began, end.exit_code, end.signal)


class _End(threading.Thread):
    """Waits for the end of a process without reaping it, which would free the group's number again."""

    def __init__(self, pid: int) -> None:
        super().__init__(name=f"end of process {pid}", daemon=True)
        self._pid = pid
        self.when = 0.0
        self.exit_code: int | None = None
        self.signal: int | None = None

    def run(self) -> None:
        try:
            result = os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:
            result = None
        self.when = time.monotonic()
        if result is not None and result.si_code == os.CLD_EXITED:
            self.exit_code = result.si_status
        elif result is not None:
            self.signal = result.si_status
            self.exit_code = 128 + result.si_status

    def came_within(self, seconds: float) -> bool:
        self.join(seconds)
        return not self.is_alive()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass
    except PermissionError as error:
        log.warning("the processes of group %d cannot be ended: %s", process.pid, error.strerror)


def _raise_oom_score(pid: int) -> None:
    try:
        own = int(Path("/proc/self/oom_score_adj").read_text())
        Path(f"/proc/{pid}/oom_score_adj").write_text(str(min(own + OOM_SCORE, 1000)))
    except OSError as error:
        log.debug("oom_score_adj of process %d: %s", pid, error)  # it ended already, or /proc is not there


class _Tail:
    """Reads output as it is written, in bounded memory, and keeps the last value of each metric in it."""

    def __init__(self, path: Path, on_metrics: Callable[[dict[str, Metric]], None]) -> None:
        self.metrics: dict[str, Metric] = {}
        self.overflowed = False
        self._file = path.open("rb", buffering=0)
        self._on_metrics = on_metrics
        self._told: dict[str, Metric] = {}
        self._told_at = -math.inf
        self._partial = b""
        self._skipping = False  # the rest of a line that is too long

    def read(self) -> bool:
        """Take in what is there, up to a limit; True if there may be more."""
        chunk = self._file.read(_CHUNK)
        self._take(chunk)
        now = time.monotonic()
        if self.metrics != self._told and now - self._told_at >= METRICS_SECONDS:
            self._told, self._told_at = dict(self.metrics), now
            try:
                self._on_metrics(dict(self.metrics))
            except Exception:
                log.exception(
                    "metrics could not be reported"
                )  # the task goes on: its result brings them again
        return len(chunk) == _CHUNK

    def read_rest(self) -> None:
        """Take in all that was written until now, an unfinished last line too."""
        size = os.fstat(self._file.fileno()).st_size
        while self._file.tell() < size and (chunk := self._file.read(_CHUNK)):
            self._take(chunk)
        self._take(b"\n")

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
                self.add(parse_metrics(line.decode(errors="replace")))

    def add(self, found: Mapping[str, Metric]) -> None:
        for name, value in found.items():
            if name in self.metrics or len(self.metrics) < MOST_METRICS:
                self.metrics[name] = value
            else:
                self.overflowed = True


def _execution(ending: _Ending, files: AttemptFiles, tail: _Tail, timeout: float | None) -> Execution:
    found, remarks = _metrics_of_file(files.metrics)
    tail.add(found)
    if tail.overflowed:
        remarks.append(f"more than {MOST_METRICS} metrics: the others were left out")
    state: AttemptState
    match ending.cause:
        case "timeout":
            state, why = "timeout", f"ran longer than its timeout of {timeout:g} s"
        case "stopped":
            state, why = "stopped", "stopped, by the master or with its worker"
        case "exit" if ending.exit_code == 0:
            state, why = "done", ""
        case _:
            state, why = "failed", _why_failed(ending, files.stderr)
    reason = "; ".join(filter(None, [why, *remarks]))
    return Execution(ending.exit_code, ending.seconds, state, reason, tail.metrics)


def _why_not_started(argv: Sequence[str], error: Exception) -> str:
    program = f"{argv[0]!r:.100}"
    match error:
        case FileNotFoundError():
            return f"command not found: {program}; is it in the image or the project, and its #! line right?"
        case PermissionError():
            return f"{program} may not be executed; chmod +x it"
        case OSError():
            return f"{program} cannot be executed: {error.strerror}"
        case _:
            return f"{program} cannot be executed: {error!s:.200}"


def _why_failed(ending: _Ending, stderr: Path) -> str:
    if ending.exit_code is None:
        return "its exit code is not known: another part of the worker took it"
    if ending.signal is not None:
        why = f"killed by {_signal_name(ending.signal)}"
    elif ending.exit_code > 128:
        why = f"exit code {ending.exit_code}, as after {_signal_name(ending.exit_code - 128)}"
    else:
        why = f"exit code {ending.exit_code}"
    last = _last_line(stderr)
    return f"{why}: {last}" if last else why


def _signal_name(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return f"{name} (out of memory?)" if number == signal.SIGKILL else name


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
