"""Command `status`: the progress of the sweep, once or until interrupted."""

from __future__ import annotations

import argparse
import json
import os
import stat
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from framework.cli import locations
from framework.cli.status_document import documents
from framework.errors import FrameworkError, UsageError
from framework.files import MasterFiles, read_regular
from framework.messages.status import LONGEST_STATUS, progress, read_status, status_of, summary

PAUSE_SECONDS = 1.0  # between two looks at the status
STALE_SECONDS = 10.0  # age of a written document, from which it is said to be old

_COLUMNS = 100  # of a line where there is no terminal


def run_status(options: argparse.Namespace) -> int:
    """Print the status; with --follow until interrupted, or until its input ends if that is a pipe."""
    if options.follow:
        return _follow(options)
    if options.source or options.hosts or options.every:
        raise UsageError("status: --every goes with --follow")
    if options.json:
        print(json.dumps(documents().make(), indent=2))
    else:
        print(summary(read_status(MasterFiles(locations.DATA).status)))
    return 0


def _follow(options: argparse.Namespace) -> int:
    make = WrittenDocuments(options.source).make if options.source else documents().make
    if sys.stdout.isatty() and not options.json:
        try:
            from framework.cli.live_view import show_live  # with rich, which only this needs
        except ImportError:
            raise UsageError(
                "the live view needs rich, which is not installed here; "
                "./infrainit.sh -f makes an image with it"
            ) from None
        show_live(make, options.hosts)
    else:
        follow_in_lines(make, _json_line if options.json else _progress_line, end_of_input(), options.every)
    return 0


def follow_in_lines(
    make: Callable[[], dict[str, Any]],
    line_of: Callable[[dict[str, Any]], str],
    end: threading.Event,
    every: float | None = None,
) -> None:
    """Print a line for each change; an error is a line of its own, and does not end it.

    `every`: seconds after which it is printed in any case.
    """
    shown, due = "", 0.0
    while True:
        try:
            document = make()
        except FrameworkError as error:
            document = {"error": str(error)}
        changing = line_of(_without_clocks(document))
        if changing != shown or (every and time.monotonic() >= due):
            print(line_of(document), flush=True)
            shown, due = changing, time.monotonic() + (every or 0)
        if end.wait(PAUSE_SECONDS):
            return


def _without_clocks(document: dict[str, Any]) -> dict[str, Any]:
    """The document without what differs each time that one looks."""
    if "hosts" not in document:
        return document
    clocks = {"seconds_since_beat": 0.0, "use": None}
    hosts = {name: host | clocks for name, host in document["hosts"].items()}
    return document | {"updated": 0.0, "seconds_left": None, "estimate": None, "rate": None, "hosts": hosts}


def _json_line(document: dict[str, Any]) -> str:
    return json.dumps(document)


def _progress_line(document: dict[str, Any]) -> str:
    return document.get("error") or progress(status_of(document), _COLUMNS)


def end_of_input() -> threading.Event:
    """An event that is set when stdin ends, if it is a pipe: whoever asked from elsewhere has gone."""
    end = threading.Event()
    mode = os.fstat(sys.stdin.fileno()).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):

        def wait() -> None:
            while os.read(sys.stdin.fileno(), 4096):
                pass
            end.set()

        threading.Thread(target=wait, daemon=True).start()
    return end


class WrittenDocuments:
    """Documents that check_celery_status.sh writes to a file: those that `status --follow --json` prints."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._latest: dict[str, Any] | None = None
        self._read = time.monotonic()

    def make(self) -> dict[str, Any]:
        """The latest document, with an `error` if it is old; raises FrameworkError if there is none."""
        try:
            content = json.loads(read_regular(self._path, LONGEST_STATUS))
            if "error" not in content:
                status_of(content)
            self._latest = content
        except FileNotFoundError:
            raise FrameworkError("waiting for the master's answer") from None
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise FrameworkError(f"the master's answer is not understood: {error!r:.200}") from error
        age = time.time() - os.stat(self._path).st_mtime
        return self._latest | ({"error": f"no answer for {age:.0f} s"} if age > STALE_SECONDS else {})
