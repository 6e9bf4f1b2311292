"""OpenMP used by an import: ends threads that forks would wait for."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from framework.runner.process import end_of, fork

_MAPS = Path("/proc/self/maps")
_PAUSE_SOFT = 1  # omp_pause_soft: threads end, and begin again when they are needed
_PROBE_SECONDS = 5.0


def prepare_fork() -> bool:
    """End the idle threads of libgomp, wherever it is loaded; False if forks cannot use it nevertheless.

    A parallel region of this thread starts them anew. Other OpenMP runtimes take care of forks themselves.
    """
    return all(_prepare(path) for path in _libraries())


def _libraries() -> set[str]:
    """Files of this process that are libgomp; wheels of scikit-learn and PyTorch bring their own."""
    try:
        lines = os.fsdecode(_MAPS.read_bytes()).splitlines()
    except OSError:  # there is no /proc
        return set()
    paths = {line[line.index("/") :] for line in lines if "/" in line}
    return {path for path in paths if os.path.basename(path).startswith("libgomp")}


def _prepare(path: str) -> bool:
    try:
        import ctypes  # a Python may have been built without it

        library = ctypes.CDLL(path)
    except (ImportError, OSError):  # OSError: the file was removed after it was loaded
        return False
    pause = getattr(library, "omp_pause_resource_all", None)  # OpenMP 5, in GCC 9 and newer
    if pause is not None and pause(_PAUSE_SOFT) == 0:
        return True
    return _works_in_fork(library)


def _works_in_fork(library: Any) -> bool:
    """Try it: the region of a fork ends at once, unless it waits for threads of this process."""
    probe = fork()
    if probe == 0:
        code = 1
        try:
            library.GOMP_parallel(library.omp_get_thread_num, None, 2, 0)
            code = 0
        finally:
            os._exit(code)
    deadline = time.monotonic() + _PROBE_SECONDS
    while (end := end_of(probe, os.WNOHANG)) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    with suppress(ProcessLookupError, ChildProcessError):  # the import has set SIGCHLD to be ignored
        os.kill(probe, signal.SIGKILL)
        os.waitpid(probe, 0)
    return end is not None and end.exit_code in (0, None)
