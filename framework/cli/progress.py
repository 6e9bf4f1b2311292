"""Progress display on stderr until the sweep has ended."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from framework.errors import FrameworkError
from framework.files import Code, MasterFiles
from framework.master.advice import ON_HOSTS
from framework.messages.status import Status, progress, read_status

Show: TypeAlias = Callable[[Status, bool], None]  # called with a status, and whether it is the last one

UNREACHED_SECONDS = 60.0  # longest time without a status of the master, which may be restarting
REDRAW_SECONDS = 0.1  # shortest time between two drawings of the progress bar
EVENTS_OF_A_KIND = 10  # that are printed; the status has the latest
LINE_SECONDS = 10.0  # shortest time between two lines of progress, where no terminal can redraw one


def watch(files: MasterFiles, code: Path, show: Show) -> None:
    """Call `show` each second until the sweep of the newest version in `code` has ended.

    Raises FrameworkError if a task failed or was cancelled, if the sweep is stopped, if the master has
    refused the newest version, or if there is no master.
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
        newest = _newest_version(code, status)
        # Until the master has taken up the newest code, its status is that of an older sweep.
        ended = status.finished and status.version == newest
        show(status, ended)
        if ended:
            if status.succeeded < status.total:
                retry = f"; {ON_HOSTS.retry}" if status.failed else ""
                raise FrameworkError(failures(status) + retry)
            return
        if status.paused and status.idle and status.version == newest:
            show(status, True)
            raise FrameworkError(status.paused)
        time.sleep(1)


def wait_for_newest_code(files: MasterFiles, code: Path) -> None:
    """Wait until the master has taken up the version in `code` that was pushed last.

    Raises FrameworkError if the master refuses it, or does not take it up in time.
    """
    deadline = time.monotonic() + UNREACHED_SECONDS
    while True:
        status = read_status(files.status)
        newest = _newest_version(code, status)
        if status.version == newest:
            return
        if time.monotonic() > deadline:
            raise FrameworkError(f"the master has not taken up the code {newest}: see its log (docker logs)")
        time.sleep(0.5)


def _newest_version(code: Path, status: Status) -> str:
    """Return the version that was pushed last; raises FrameworkError if the master has refused it."""
    newest = Code.current(code).version
    if status.refused_version == newest:
        raise FrameworkError("\n".join(status.notices))
    return newest


def failures(status: Status) -> str:
    """Return the error message for a sweep of which not all tasks succeeded."""
    cancelled = f", {status.cancelled} were cancelled" if status.cancelled else ""
    return f"{status.failed} of {status.total} tasks failed{cancelled}: see results.csv"


class NewEvents:
    """The events of a sweep, each once, but not too many of a kind."""

    def __init__(self, since: float) -> None:
        """`since`: Unix time; earlier ones are left out."""
        self._since = since
        self._last = 0  # number of the last one
        self._shown: Counter[str] = Counter()  # by kind

    def lines(self, status: Status) -> list[str]:
        """The texts of those that are new in this status; of several best results, the last one."""
        lines = []
        news = [event for event in status.events if event.number > self._last and event.time >= self._since]
        best = max((event.number for event in news if event.kind == "best"), default=0)
        for event in news:
            self._last = event.number
            if event.kind == "best":
                lines += [event.text] if event.number == best else []
                continue
            self._shown[event.kind] += 1
            if self._shown[event.kind] <= EVENTS_OF_A_KIND:
                lines.append(event.text)
            elif self._shown[event.kind] == EVENTS_OF_A_KIND + 1:
                lines.append("further messages of this kind are not shown: see results.csv")
        return lines


def progress_display(columns: int, since: float = 0.0) -> Show:
    """Return a function that prints events since a Unix time, and below them how far the sweep has come.

    It redraws one line of `columns` characters; for 0 it prints lines now and then.
    """
    events = NewEvents(since)
    return _redraw(columns, events) if columns > 0 else _print_lines(events)


def _redraw(columns: int, events: NewEvents) -> Show:
    due = 0.0

    def show(status: Status, ended: bool) -> None:
        nonlocal due
        lines = events.lines(status)
        for text in lines:
            print(f"\r{text.ljust(columns)}", file=sys.stderr)
        if ended or lines or time.monotonic() >= due:
            line = progress(status, columns).ljust(columns)
            print(f"\r{line}", end="\n" if ended else "", file=sys.stderr, flush=True)
            due = time.monotonic() + REDRAW_SECONDS

    return show


def _print_lines(events: NewEvents) -> Show:
    shown, due = "", 0.0

    def show(status: Status, ended: bool) -> None:
        nonlocal shown, due
        for text in events.lines(status):
            print(text, file=sys.stderr, flush=True)
        line = progress(status, 100)
        if ended or (line != shown and time.monotonic() >= due):
            print(line, file=sys.stderr, flush=True)
            shown, due = line, time.monotonic() + LINE_SECONDS

    return show
