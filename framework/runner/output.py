"""Output of an attempt: read as it is written, and the metrics in it."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import time
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Mapping, Tuple

from framework.messages.metric_lines import parse_metrics
from framework.messages.metrics import Metric, as_number, flat_metrics
from framework.project.early_termination import Reports

log = logging.getLogger(__name__)

# Called with the last value of each metric, and with the reports so far as [number, value].
OnMetrics = Callable[[Dict[str, Metric], List[Tuple[int, Metric]]], None]

METRICS_SECONDS = 1.0  # shortest time between two calls of on_metrics
MOST_METRICS = 500  # metrics of one attempt, so that its result is small enough for a message
_CHUNK = 2**20  # bytes that are read at once
_LONGEST_LINE = 2**16  # bytes; a longer line holds no metrics
_LONGEST_METRICS_FILE = 2**20  # bytes
_LONGEST_REMARK = 300  # characters
# Each line that holds metrics has one of the marks, and a number or text behind it.
_MARKS = (b"=", b":")
_NUMBER = re.compile(rb"=|: ?[-+]?(?:[\d.]|nan|NaN|inf|np|tensor|torch|tf|array|Decimal)|[\"']:")


class OutputReader:
    """Reader of what an attempt writes, in bounded memory; keeps the last value of each metric in it."""

    def __init__(
        self,
        stdout: int,
        stderr: int,
        on_metrics: OnMetrics,
        ranked: str | None,
        reports: Reports | None,
    ) -> None:
        """Read the open files `stdout` and `stderr` from their beginning.

        `ranked` is the metric that the project ranks by: it is kept however many there are.
        """
        self.metrics: dict[str, Metric] = {}
        self.overflowed = False  # True once a metric was ignored because there are too many
        self._log = _File(stderr)
        self._files = (self._log, _File(stdout))  # where both name a metric, what is printed counts
        self._on_metrics = on_metrics
        self._ranked = ranked
        self._reports = reports
        self._reporting: _File | None = None  # the one with the reports: a log may repeat them in the other
        self._sent: dict[str, Metric] = {}  # argument of the last call of on_metrics
        self._sent_at = -math.inf
        self._sent_rungs = 0

    def read(self) -> bool:
        """Read what was written since, up to a limit; True if there may be more."""
        sizes = [self._take(file, file.read()) for file in self._files]
        now = time.monotonic()
        has_news = self.metrics != self._sent or self._rungs() > self._sent_rungs
        if has_news and now - self._sent_at >= METRICS_SECONDS:
            self._send(now)
        return max(sizes) == _CHUNK

    def read_rest(self) -> None:
        """Read all that was written until now, including a last line without newline."""
        for file in self._files:
            end = file.size()
            while file.position < end and self._take(file, file.read()):
                pass
            self._take(file, b"\n")
        if self._rungs() > self._sent_rungs:  # the attempt's result holds metrics, but no reports
            self._send(time.monotonic())

    def add(self, found: Mapping[str, Metric]) -> None:
        """Keep these values; text does not replace a number.

        A new metric beyond MOST_METRICS is ignored, and `overflowed` is set, unless results are ranked by it.
        """
        for name, value in found.items():
            if name not in self.metrics and len(self.metrics) >= MOST_METRICS and name != self._ranked:
                self.overflowed = True
            elif as_number(value) is not None or as_number(self.metrics.get(name)) is None:
                self.metrics[name] = value

    def _rungs(self) -> int:
        return len(self._reports.at_rungs) if self._reports else 0

    def _send(self, now: float) -> None:
        self._sent, self._sent_at, self._sent_rungs = dict(self.metrics), now, self._rungs()
        try:
            self._on_metrics(
                dict(self.metrics), list(self._reports.at_rungs.items()) if self._reports else []
            )
        except Exception:
            log.exception("cannot report metrics; the task goes on, and its result will hold them")

    def _take(self, file: _File, chunk: bytes) -> int:
        """Take what was read from one of the files; returns its size in bytes."""
        for line in file.lines(chunk):
            found = parse_metrics(line, self._ranked)
            if file is self._log:
                found = _of_a_log(line, found)
            self.add(found)
            if self._reports and self._reports.metric in found:
                self._reporting = self._reporting or file
                if self._reporting is file:
                    self._reports.take(found)
        return len(chunk)


class _File:
    """A growing file, of which lines that may hold metrics are read, in bounded memory."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.position = 0
        self._partial = b""  # beginning of a line that is not complete yet
        self._is_skipping = False  # True inside a line that is too long

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def read(self) -> bytes:
        chunk = os.pread(self._descriptor, _CHUNK, self.position)
        self.position += len(chunk)
        return chunk

    def lines(self, chunk: bytes) -> Iterator[str]:
        """The lines that end in `chunk`, the next bytes of the file, without those that hold no metrics."""
        # A carriage return ends a line too: progress bars write no newline.
        lines, newline, rest = (self._partial + chunk).replace(b"\r", b"\n").rpartition(b"\n")
        if newline and self._is_skipping:
            lines, self._is_skipping = lines.partition(b"\n")[2], False
        self._is_skipping = self._is_skipping or len(rest) > _LONGEST_LINE
        self._partial = b"" if self._is_skipping else rest
        if not any(mark in lines for mark in _MARKS):
            return  # most output holds no metrics: skip it at little cost
        for line in lines.split(b"\n"):
            if len(line) <= _LONGEST_LINE and _NUMBER.search(line):
                yield line.decode(errors="replace")


def _of_a_log(line: str, found: dict[str, Metric]) -> dict[str, Metric]:
    """What counts of the metrics in a line of stderr: texts and code of tracebacks and warnings do not."""
    if line[:1].isspace():
        return {}
    return {name: value for name, value in found.items() if as_number(value) is not None}


def last_line(file: Path) -> str:
    """Return the last line of a file that is not blank, in printable characters; "" if there is none."""
    try:
        with file.open("rb") as opened:
            opened.seek(max(0, os.fstat(opened.fileno()).st_size - 4096))
            text = opened.read().decode(errors="replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [""]
    return "".join(character if character.isprintable() else " " for character in lines[-1])[:_LONGEST_REMARK]


def read_metrics_file(file: Path) -> tuple[dict[str, Metric], list[str]]:
    """Return the metrics in a JSON file that a task wrote, and at most one remark on what is ignored."""
    try:
        if not file.is_file():
            return {}, []
        with file.open("rb") as opened:
            text = opened.read(_LONGEST_METRICS_FILE + 1)
    except OSError as error:
        return {}, [f"{file.name} cannot be read: {error.strerror}"]
    if len(text) > _LONGEST_METRICS_FILE:
        return {}, [f"{file.name} is ignored: it is larger than {_LONGEST_METRICS_FILE} bytes"]
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        return {}, [f"{file.name} is ignored: it is not JSON ({error!s:.100})"]
    if not isinstance(content, dict):
        return {}, [f"{file.name} is ignored: it is not a JSON object"]
    metrics, problems = flat_metrics(content)
    if not problems:
        return metrics, []
    others = f"; {len(problems) - 1} more values are ignored" if len(problems) > 1 else ""
    return metrics, [f"{file.name}: {problems[0]:.{_LONGEST_REMARK}}{others}"]
