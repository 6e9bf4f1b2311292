"""Orphans: processes that outlived their attempt, or their run, are found and ended.

They are recognized by TASK_DIR in their environment, which every process of a task inherits, in whatever
session it is. Where there is no /proc, none is found.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Collection, Iterator

log = logging.getLogger(__name__)

TERM_SECONDS = 5.0  # time between TERM and KILL for a process that outlived its attempt
_PATIENCE_SECONDS = 5.0  # longest wait for processes that the kernel cannot end at once
_PAUSE_SECONDS = 0.01
_SHORT_SECONDS = 1.0  # no attempt so short can use up all process numbers
_PR_SET_CHILD_SUBREAPER = 36  # of <linux/prctl.h>
_EXEC_SECONDS = 0.1  # longest wait for a process in the midst of exec
_EXEC_PAUSE_SECONDS = 0.001
_CHILDREN = "/proc/self/task/{}/children"
_LONGEST_READ = 2**17  # bytes of an environment that are read at once


async def end_orphans(directory: Path, group: int, seconds: float) -> int:
    """End what an attempt has left running, and return how many processes that were.

    `directory`: its TASK_DIR. `group`: its process group, which was killed: that it is gone is waited for,
    too, so that the devices of the attempt are free. `seconds`: how long it ran. A process that cannot be
    ended is logged, and not waited for any longer.
    """
    import asyncio  # the fork server needs the rest of this module without it

    wanted = b"TASK_DIR=" + os.fsencode(directory) + b"\0"
    # Reading every environment costs a short attempt too much: what it started has a higher number.
    oldest = group if seconds < _SHORT_SECONDS and _last_process() >= group else 0
    kill_at = time.monotonic() + TERM_SECONDS
    ended: set[int] = set()
    while found := list(_processes(wanted, oldest)):
        now = time.monotonic()
        outside = {process for process in found if _group_of(process) not in (group, None)}
        if now >= kill_at + _PATIENCE_SECONDS:
            log.warning("%s: processes of this task cannot be ended: %s", directory, sorted(found))
            return len(ended | outside)
        if now >= kill_at:
            _signal(found, signal.SIGKILL)
        else:
            _signal(outside - ended, signal.SIGTERM)
        ended |= outside
        await asyncio.sleep(_PAUSE_SECONDS)
    return len(ended)


def adopt_orphans() -> bool:
    """Become the parent of processes that outlive their parent among the descendants of this process.

    Returns False where that is not possible.
    """
    try:
        import ctypes  # a Python may have been built without it

        return int(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)) == 0
    except (ImportError, OSError, AttributeError):  # AttributeError: not Linux
        return False


def end_children() -> None:
    """End and reap the children of this process, which has called adopt_orphans() and has one thread."""
    kill_at = time.monotonic() + TERM_SECONDS
    ended: set[int] = set()
    while (found := living_children()) and time.monotonic() < kill_at + _PATIENCE_SECONDS:
        if time.monotonic() >= kill_at:
            _signal(found, signal.SIGKILL)
        else:
            _signal(found - ended, signal.SIGTERM)
        ended |= found
        time.sleep(_PAUSE_SECONDS)


def knows_children() -> bool:
    """Return False where the kernel does not list the children of a process; living_children() finds none."""
    return os.path.exists(_CHILDREN.format(os.getpid()))


def living_children(but: Collection[int] = ()) -> set[int]:
    """Return the living children of this process, which has one thread, and reap the others, except `but`."""
    try:
        file = os.open(_CHILDREN.format(os.getpid()), os.O_RDONLY)
    except OSError:
        return set()
    try:
        listed = os.read(file, _LONGEST_READ)
    finally:
        os.close(file)
    found = set(map(int, listed.split())).difference(but)
    return {child for child in found if not reap(child)}


def reap(child: int) -> bool:
    """Reap a child if it has ended; True if it is gone."""
    try:
        return os.waitpid(child, os.WNOHANG) != (0, 0)
    except ChildProcessError:  # SIGCHLD is ignored
        return True


def kill_orphans(tasks: Path) -> None:
    """Kill every process whose task has its directory in `tasks`, and wait until they are gone."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (found := list(task_processes(tasks))) and time.monotonic() < deadline:
        _signal(found, signal.SIGKILL)
        time.sleep(_PAUSE_SECONDS)


def task_processes(tasks: Path) -> Iterator[int]:
    """Yield the ids of all processes whose task has its directory in `tasks`."""
    return _processes(b"TASK_DIR=" + os.fsencode(tasks) + b"/")


def _processes(wanted: bytes, oldest: int = 0) -> Iterator[int]:
    """Yield the ids from `oldest` on of processes with an environment variable that begins with `wanted`."""
    try:
        names = [name for name in os.listdir("/proc") if name.isdecimal() and int(name) >= oldest]
    except OSError:
        return
    deadline = time.monotonic() + _EXEC_SECONDS
    while names:
        starting = []
        for name in names:
            environment = _environment(name)
            if not environment and _is_starting(name):
                starting.append(name)
                continue
            # An empty one may be of a process whose exec has just ended: it is read once more.
            if b"\0" + wanted in b"\0" + (environment or _environment(name)):
                yield int(name)
        names = starting if time.monotonic() < deadline else []
        if names:
            time.sleep(_EXEC_PAUSE_SECONDS)


def _is_starting(process: str) -> bool:
    """True in the midst of exec, when neither environment nor arguments can be read."""
    try:
        os.readlink(f"/proc/{process}/exe")  # fails for threads of the kernel, and for zombies
        return not Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


def _environment(process: str) -> bytes:
    try:
        descriptor = os.open(f"/proc/{process}/environ", os.O_RDONLY)
    except OSError:  # the process has ended, or belongs to another user
        return b""
    environment = b""
    try:
        while chunk := os.read(descriptor, _LONGEST_READ):
            environment += chunk
            if len(chunk) < _LONGEST_READ:
                break
    except OSError:
        pass
    finally:
        os.close(descriptor)
    return environment


def _last_process() -> int:
    """Return the number of the process that was started last; 0 if it is unknown.

    It is lower than that of an earlier process once all numbers are used up, and the count begins anew.
    """
    try:
        return int(Path("/proc/loadavg").read_text().split()[-1])
    except (OSError, ValueError, IndexError):
        return 0


def _group_of(process: int) -> int | None:
    """Return the process group of a process; None if the process is gone."""
    try:
        return os.getpgid(process)
    except OSError:
        return None


def _signal(processes: Collection[int], number: int) -> None:
    for process in processes:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(process, number)
