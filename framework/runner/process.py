"""Processes of attempts: starting one, its end, signals to its group."""

from __future__ import annotations

import errno
import logging
import os
import signal
import time
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Mapping, Sequence

if TYPE_CHECKING:
    from framework.errors import FrameworkError

log = logging.getLogger(__name__)

OOM_SCORE = 500  # added to the runner's own: short of memory, the kernel ends a task and not the runner
# Signals that Python ignores, or that the runner blocks; a program expects their default.
_DEFAULT_SIGNALS = (
    signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT,
)  # fmt: skip
_TRY_NEXT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


@dataclass(frozen=True)
class End:
    """End of a process."""

    when: float  # value of time.monotonic(), which is the same in all processes of a machine
    exit_code: int | None  # 128 + signal if a signal ended it, None if it is unknown
    signal: int | None  # signal that ended it
    problem: str = ""  # cause for which the exit code is unknown
    remarks: Sequence[str] = ()  # of the process on its result


class Process(ABC):
    """Process of an attempt, as its supervision needs it; it rings the attempt's alarm when it has news."""

    pid: int | None  # process id, which is that of its group too; None until it has begun
    end: End | None  # None until it has ended
    error: FrameworkError | None  # the host is short of something: it cannot begin

    @abstractmethod
    async def close(self) -> None:
        """Kill what is left of the group, and free its number; takes a few seconds at most."""


def spawn(
    argv: Sequence[str],
    environment: Mapping[str, str],
    directory: str,
    stdout: int,
    stderr: int,
    shared: Sequence[int] = (),
) -> int:
    """Start a program in a process group of its own, and return its process id.

    It is looked up in the PATH of `environment`, and inherits the descriptors `shared`. For a moment,
    `directory` is this process's own, so there must be no other thread. Raises OSError, or ValueError for
    text with a NUL character.
    """
    os.chdir(directory)  # posix_spawn() has no argument for it
    for descriptor in shared:
        os.set_inheritable(descriptor, True)
    try:
        try:
            return _spawn_first(argv, environment, stdout, stderr)
        except FileNotFoundError:  # it may have been installed, or moved, meanwhile
            _candidates.cache_clear()
            return _spawn_first(argv, environment, stdout, stderr)
    finally:
        for descriptor in shared:
            os.set_inheritable(descriptor, False)
        os.chdir("/")


def _spawn_first(argv: Sequence[str], environment: Mapping[str, str], stdout: int, stderr: int) -> int:
    """Start the first of the candidates that can be executed."""
    refused: OSError | None = None
    for path in _candidates(argv[0], environment.get("PATH")):
        try:
            return os.posix_spawn(
                path,
                list(argv),
                environment,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, stdout, 1),
                    (os.POSIX_SPAWN_DUP2, stderr, 2),
                ],
                setpgroup=0,
                setsigmask=(),
                setsigdef=_DEFAULT_SIGNALS,
            )
        except OSError as error:
            if error.errno == errno.EACCES:
                refused = refused or error
            elif error.errno not in _TRY_NEXT:
                raise
    raise refused or FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), argv[0])


@lru_cache(maxsize=64)
def _candidates(program: str, path: str | None) -> Sequence[str]:
    """Paths that may be the program, in the order of PATH; those that are missing cost too much to try."""
    if "/" in program:
        return [program]
    directories = os.get_exec_path({} if path is None else {"PATH": path})
    paths = (os.path.join(directory, program) for directory in directories)
    return [each for each in paths if os.path.lexists(each)]


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


def raise_oom_score(pid: int) -> bool:
    """Short of memory, have the kernel end process `pid` and its children rather than this process.

    False if that is refused: until its exec is complete, it is hidden as this process is (isolation.py).
    """
    try:
        file = os.open(f"/proc/{pid}/oom_score_adj", os.O_WRONLY)
        try:
            os.write(file, _oom_score_of_tasks())
        finally:
            os.close(file)
    except OSError as error:  # the process has ended, or there is no /proc
        log.debug("cannot set oom_score_adj of process %d: %s", pid, error)
        return not isinstance(error, PermissionError)
    return True


@lru_cache(maxsize=1)
def _oom_score_of_tasks() -> bytes:
    with open("/proc/self/oom_score_adj", encoding="ascii") as own:
        return b"%d" % min(int(own.read()) + OOM_SCORE, 1000)


def signal_name(number: int) -> str:
    """Return the usual name of a signal, with a hint for KILL."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return f"{name} (out of memory?)" if number == signal.SIGKILL else name
