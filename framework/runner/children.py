"""Children of the runner: the ends of its processes, and orphans that are left to it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import Callable

from framework.runner.orphans import knows_children, living_children
from framework.runner.process import End, end_of, raise_oom_score

_REAP_SECONDS = 0.2  # from the first end of an orphan until all that have ended are reaped
_EXEC_SECONDS = 0.05  # until an exec that has begun is complete


class Children:
    """Children of this process, whose ends SIGCHLD announces; use it in the main thread's event loop.

    `adopts`: this process becomes the parent of processes that outlive their own (see adopt_orphans). They
    are reaped when they end; no other child may exist then that was not announced by observe().
    """

    def __init__(self, adopts: bool = False) -> None:
        self._adopts = adopts and knows_children()
        self._observers: dict[int, Callable[[End], None]] = {}
        self._kept: set[int] = set()  # ours, until reap()
        self._reaping: asyncio.TimerHandle | None = None
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._on_signal)

    def close(self) -> None:
        if self._reaping is not None:
            self._reaping.cancel()
        asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)

    def observe(self, pid: int, on_end: Callable[[End], None]) -> None:
        """Call `on_end` once, from the event loop, when the child `pid` has ended; it is not reaped.

        Short of memory, the kernel prefers to end it.
        """
        self._kept.add(pid)
        self._observers[pid] = on_end
        loop = asyncio.get_running_loop()
        loop.call_soon(self._look_at, pid)  # it may have ended before
        if not raise_oom_score(pid):
            loop.call_later(_EXEC_SECONDS, self._raise_oom_score, pid)

    def _raise_oom_score(self, pid: int) -> None:
        if pid in self._kept:
            raise_oom_score(pid)

    def reap(self, pid: int) -> None:
        """Wait for the end of the child `pid`, and free its number."""
        self._observers.pop(pid, None)
        self._kept.discard(pid)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)

    def has_strangers(self) -> bool:
        """False if no process that outlived its parent is left; True also if that is not known."""
        return not self._adopts or bool(living_children(but=self._kept))

    def _on_signal(self) -> None:
        for pid in list(self._observers):
            self._look_at(pid)
        if self._adopts and self._reaping is None:
            self._reaping = asyncio.get_running_loop().call_later(_REAP_SECONDS, self._reap_strangers)

    def _reap_strangers(self) -> None:
        self._reaping = None
        living_children(but=self._kept)  # reaps the others

    def _look_at(self, pid: int) -> None:
        on_end = self._observers.get(pid)
        end = end_of(pid, os.WNOHANG) if on_end else None
        if on_end and end:
            del self._observers[pid]
            on_end(end)
