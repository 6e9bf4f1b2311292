"""Process groups: signals, and the end of a process."""

import logging
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

log = logging.getLogger(__name__)

OOM_SCORE = 500  # above the worker's own: short of memory, the kernel ends the task and not the worker


@dataclass(frozen=True)
class End:
    """How a process ended."""

    when: float  # by time.monotonic(), which is the same in all processes of a machine
    exit_code: int | None  # 128 + signal if one ended it, None if it is not known
    signal: int | None  # that ended it
    problem: str = ""  # why the exit code is not known


class Process(Protocol):
    """What the watch over an attempt needs of what was started for it."""

    @property
    def pid(self) -> int | None:
        """Of the leader of its group; None while it has not begun."""

    def end_within(self, seconds: float) -> End | None:
        """How it ended, if it does so by then. Raises FrameworkError if the host is short of something."""

    def close(self) -> None:
        """Kill what is left of the group, and free its number. Never blocks for long."""


def end_of(pid: int, options: int = 0) -> End | None:
    """Wait for the end of a child without reaping it, which would free the group's number again.

    With os.WNOHANG in `options`, None if it has not ended.
    """
    try:
        result = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | options)
    except ChildProcessError:
        return End(time.monotonic(), None, None, "its exit code is not known: something else took it")
    if result is None:
        return None
    if result.si_code == os.CLD_EXITED:
        return End(time.monotonic(), result.si_status, None)
    return End(time.monotonic(), 128 + result.si_status, result.si_status)


def signal_group(pid: int, number: int) -> None:
    """Send a signal to the group that process `pid` leads, if there is anybody left in it."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        pass
    except PermissionError as error:
        log.warning("the processes of group %d cannot be ended: %s", pid, error.strerror)


def raise_oom_score(pid: int) -> None:
    """Short of memory, have the kernel end that process and what it starts rather than this one."""
    try:
        own = int(Path("/proc/self/oom_score_adj").read_text())
        Path(f"/proc/{pid}/oom_score_adj").write_text(str(min(own + OOM_SCORE, 1000)))
    except OSError as error:
        log.debug("oom_score_adj of process %d: %s", pid, error)  # it ended already, or /proc is not there


def signal_name(number: int) -> str:
    """What people call a signal."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return f"{name} (out of memory?)" if number == signal.SIGKILL else name
