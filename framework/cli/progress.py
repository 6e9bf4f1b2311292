"""Progress display on stderr until the sweep has ended."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from framework.errors import FrameworkError
from framework.files import Code, MasterFiles
from framework.messages.status import Status, progress, read_status

Show: TypeAlias = Callable[[Status, bool], None]  # with the status, and whether it is the last one

UNREACHED_SECONDS = 60.0  # how long a master without a status is borne: it may be restarting
REDRAW_SECONDS = 0.1  # between two progress bars, at the least
LINE_SECONDS = 10.0  # between two lines of progress where there is no terminal to redraw


def watch(files: MasterFiles, code: Path, show: Show) -> None:
    """Call `show` each second until the set of the newest version in `code` has ended.

    Raises FrameworkError if a task failed or was cancelled, the set is stopped, its code was refused, or
    there is no master.
    """
    reached = time.monotonic()
    while True:
        try:
            status = read_status(files.status)
            reached = time.monotonic()
        except FrameworkError:
            if time.monotonic() - reached > UNREACHED_SECONDS:
                raise
            time.sleep(1)
            continue
        newest = _newest(code, status)
        # A master that has not taken up the newest code yet speaks of an older set.
        ended = status.finished and status.version == newest
        show(status, ended)
        if ended:
            if status.succeeded < status.total:
                raise FrameworkError(failures(status))
            return
        if status.paused and status.idle and status.version == newest:
            show(status, True)
            raise FrameworkError(status.paused)
        time.sleep(1)


def wait_for_newest_code(files: MasterFiles, code: Path) -> None:
    """Until the master has taken up the code that was pushed last: what it knows is the set that is meant.

    Raises FrameworkError if it refuses it or does not take it up.
    """
    deadline = time.monotonic() + UNREACHED_SECONDS
    while True:
        status = read_status(files.status)
        newest = _newest(code, status)
        if status.version == newest:
            return
        if time.monotonic() > deadline:
            raise FrameworkError(f"the master has not taken up the code {newest}: see its log (docker logs)")
        time.sleep(0.5)


def _newest(code: Path, status: Status) -> str:
    """The version that was pushed last; raises FrameworkError if the master has refused it."""
    newest = Code.current(code).version
    if status.refused_version == newest:
        raise FrameworkError("\n".join(status.notices))
    return newest


def failures(status: Status) -> str:
    """What is said of a set of which not all tasks succeeded."""
    cancelled = f", {status.cancelled} were cancelled" if status.cancelled else ""
    return f"{status.failed} of {status.total} tasks failed{cancelled}: see results.csv"


def progress_display(columns: int) -> Show:
    """A line of `columns` characters that is drawn again and again, or, with 0, a new line now and then."""
    return _redraw(columns) if columns > 0 else _print_lines()


def _redraw(columns: int) -> Show:
    due = 0.0

    def show(status: Status, ended: bool) -> None:
        nonlocal due
        if ended or time.monotonic() >= due:
            line = progress(status, columns).ljust(columns)
            print(f"\r{line}", end="\n" if ended else "", file=sys.stderr, flush=True)
            due = time.monotonic() + REDRAW_SECONDS

    return show


def _print_lines() -> Show:
    shown, due = "", 0.0

    def show(status: Status, ended: bool) -> None:
        nonlocal shown, due
        line = progress(status, 100)
        if ended or (line != shown and time.monotonic() >= due):
            print(line, file=sys.stderr, flush=True)
            shown, due = line, time.monotonic() + LINE_SECONDS

    return show
