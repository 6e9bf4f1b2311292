"""Process groups: signals, and the end of a process."""

import logging
import os
import signal
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

log = logging.getLogger(__name__)

OOM_SCORE = 500  # added to the worker's own: short of memory, the kernel ends a task and not the worker


@dataclass(frozen=True)
class End:
    """End of a process."""

    when: float  # value of time.monotonic(), which is the same in all processes of a machine
    exit_code: int | None  # 128 + signal if a signal ended it, None if it is unknown
    signal: int | None  # signal that ended it
    problem: str = ""  # cause for which the exit code is unknown
    remarks: Sequence[str] = ()  # of the process on its result


class Process(Protocol):
    """Process of an attempt, as its supervision needs it."""

    @property
    def pid(self) -> int | None:
        """Process id, which is that of its group too; None until it has begun."""

    def end_within(self, seconds: float) -> End | None:
        """Wait for the end; None if it does not come in time.

        Raises FrameworkError if the host is short of something.
        """

    def close(self) -> None:
        """Kill what is left of the group, and free its number; blocks for a few seconds at most."""


def fork() -> int:
    """Fork this process, as os.fork() does. Raises OSError."""
    with warnings.catch_warnings():
        # Python warns of threads: numeric libraries prepare theirs for a fork, other imports start none.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def end_of(pid: int, options: int = 0) -> End | None:
    """Wait for the end of a child without reaping it, which would free the group's number for others.

    With os.WNOHANG in `options`, return None if it has not ended.
    """
    try:
        result = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | options)
    except ChildProcessError:
        return End(time.monotonic(), None, None, "its exit code is unknown: it was collected elsewhere")
    if result is None:
        return None
    if result.si_code == os.CLD_EXITED:
        return End(time.monotonic(), result.si_status, None)
    return End(time.monotonic(), 128 + result.si_status, result.si_status)


def signal_group(pid: int, number: int) -> None:
    """Send a signal to the group that process `pid` leads; a group that is gone is no error."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        pass
    except PermissionError as error:
        log.warning("cannot send signal %d to process group %d: %s", number, pid, error.strerror)


def raise_oom_score(pid: int) -> None:
    """Short of memory, have the kernel end process `pid` and its children rather than this process."""
    try:
        own = int(Path("/proc/self/oom_score_adj").read_text())
        Path(f"/proc/{pid}/oom_score_adj").write_text(str(min(own + OOM_SCORE, 1000)))
    except OSError as error:  # the process has ended, or there is no /proc
        log.debug("cannot set oom_score_adj of process %d: %s", pid, error)


def signal_name(number: int) -> str:
    """Return the usual name of a signal, with a hint for KILL."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return f"{name} (out of memory?)" if number == signal.SIGKILL else name
