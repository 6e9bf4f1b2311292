"""Output of an attempt: read as it is written, and the metrics in it."""

import json
import logging
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from framework.messages.metrics import Metric, metric_problem, parse_metrics
from framework.project.early_termination import Reports

log = logging.getLogger(__name__)

METRICS_SECONDS = 1.0  # shortest time between two calls of on_metrics
MOST_METRICS = 500  # metrics of one attempt, so that its result is small enough for a message
_CHUNK = 2**20  # bytes that are read at once
_LONGEST_LINE = 2**16  # bytes; a longer line holds no metrics
_LONGEST_METRICS_FILE = 2**20  # bytes
_LONGEST_REMARK = 300  # characters


class OutputReader:
    """Reader of a growing file, in bounded memory; keeps the last value of each metric in it."""

    def __init__(
        self, path: Path, on_metrics: Callable[[dict[str, Metric]], None], reports: Reports | None
    ) -> None:
        self.metrics: dict[str, Metric] = {}
        self.overflowed = False  # True once a metric was ignored because there are too many
        self._file = path.open("rb", buffering=0)
        self._on_metrics = on_metrics
        self._reports = reports
        self._sent: dict[str, Metric] = {}  # argument of the last call of on_metrics
        self._sent_at = -math.inf
        self._sent_rungs = 0
        self._partial = b""  # beginning of a line that is not complete yet
        self._is_skipping = False  # True inside a line that is too long

    def read(self) -> bool:
        """Read what was written since, up to a limit; True if there may be more."""
        chunk = self._file.read(_CHUNK)
        self._parse(chunk)
        now = time.monotonic()
        has_news = self.metrics != self._sent or self._rungs() > self._sent_rungs
        if has_news and now - self._sent_at >= METRICS_SECONDS:
            self._send(now)
        return len(chunk) == _CHUNK

    def read_rest(self) -> None:
        """Read all that was written until now, including a last line without newline."""
        size = os.fstat(self._file.fileno()).st_size
        while self._file.tell() < size and (chunk := self._file.read(_CHUNK)):
            self._parse(chunk)
        self._parse(b"\n")
        if self._rungs() > self._sent_rungs:  # the attempt's result holds metrics, but no reports
            self._send(time.monotonic())

    def close(self) -> None:
        self._file.close()

    def add(self, found: Mapping[str, Metric]) -> None:
        """Keep these values; a new metric beyond MOST_METRICS is ignored, and `overflowed` is set."""
        for name, value in found.items():
            if name in self.metrics or len(self.metrics) < MOST_METRICS:
                self.metrics[name] = value
            else:
                self.overflowed = True

    def _rungs(self) -> int:
        return len(self._reports.at_rungs) if self._reports else 0

    def _send(self, now: float) -> None:
        self._sent, self._sent_at, self._sent_rungs = dict(self.metrics), now, self._rungs()
        try:
            self._on_metrics(dict(self.metrics))
        except Exception:
            log.exception("cannot report metrics; the task goes on, and its result will hold them")

    def _parse(self, chunk: bytes) -> None:
        # A carriage return ends a line too: progress bars write no newline.
        lines, newline, rest = (self._partial + chunk).replace(b"\r", b"\n").rpartition(b"\n")
        if newline and self._is_skipping:
            lines, self._is_skipping = lines.partition(b"\n")[2], False
        self._is_skipping = self._is_skipping or len(rest) > _LONGEST_LINE
        self._partial = b"" if self._is_skipping else rest
        if b"=" not in lines:
            return  # most output holds no metrics: skip it at little cost
        for line in lines.split(b"\n"):
            if b"=" in line and len(line) <= _LONGEST_LINE:
                found = parse_metrics(line.decode(errors="replace"))
                self.add(found)
                if self._reports and found:
                    self._reports.take(found)


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
    values = {name: _json_metric(value) for name, value in content.items()}
    problems = {name: metric_problem(name, value) for name, value in values.items()}
    remarks = [f"{file.name}: {problem:.{_LONGEST_REMARK}}" for problem in problems.values() if problem]
    return {name: value for name, value in values.items() if not problems[name]}, remarks[:1]


def _json_metric(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
