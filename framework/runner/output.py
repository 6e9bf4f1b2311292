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

METRICS_SECONDS = 1.0  # between two calls of on_metrics, at the least
MOST_METRICS = 500  # of one attempt, so that its result stays small enough for a message
_CHUNK = 2**20  # bytes of output read at once
_LONGEST_LINE = 2**16  # bytes; a longer one is no metrics line
_LONGEST_METRICS_FILE = 2**20  # bytes
_LONGEST_REMARK = 300  # characters


class OutputReader:
    """Reads output as it is written, in bounded memory, and keeps the last value of each metric in it."""

    def __init__(
        self, path: Path, on_metrics: Callable[[dict[str, Metric]], None], reports: Reports | None
    ) -> None:
        self.metrics: dict[str, Metric] = {}
        self.overflowed = False
        self._file = path.open("rb", buffering=0)
        self._on_metrics = on_metrics
        self._reports = reports
        self._rungs_told = 0
        self._told: dict[str, Metric] = {}
        self._told_at = -math.inf
        self._partial = b""
        self._skipping = False  # the rest of a line that is too long

    def read(self) -> bool:
        """Take in what is there, up to a limit; True if there may be more."""
        chunk = self._file.read(_CHUNK)
        self._take(chunk)
        now = time.monotonic()
        changed = self.metrics != self._told or self._rungs_reached() > self._rungs_told
        if changed and now - self._told_at >= METRICS_SECONDS:
            self._tell(now)
        return len(chunk) == _CHUNK

    def _rungs_reached(self) -> int:
        return len(self._reports.at_rungs) if self._reports else 0

    def _tell(self, now: float) -> None:
        self._told, self._told_at, self._rungs_told = dict(self.metrics), now, self._rungs_reached()
        try:
            self._on_metrics(dict(self.metrics))
        except Exception:
            log.exception("metrics could not be reported")  # the task goes on: its result brings them again

    def read_rest(self) -> None:
        """Take in all that was written until now, an unfinished last line too."""
        size = os.fstat(self._file.fileno()).st_size
        while self._file.tell() < size and (chunk := self._file.read(_CHUNK)):
            self._take(chunk)
        self._take(b"\n")
        if self._rungs_reached() > self._rungs_told:  # which the result does not bring
            self._tell(time.monotonic())

    def close(self) -> None:
        self._file.close()

    def _take(self, chunk: bytes) -> None:
        # a carriage return ends a line too: progress bars write nothing else
        lines, newline, rest = (self._partial + chunk).replace(b"\r", b"\n").rpartition(b"\n")
        if newline and self._skipping:
            lines, self._skipping = lines.partition(b"\n")[2], False
        self._skipping = self._skipping or len(rest) > _LONGEST_LINE
        self._partial = b"" if self._skipping else rest
        if b"=" not in lines:
            return  # most output is no metrics: it should cost little
        for line in lines.split(b"\n"):
            if b"=" in line and len(line) <= _LONGEST_LINE:
                found = parse_metrics(line.decode(errors="replace"))
                self.add(found)
                if self._reports and found:
                    self._reports.take(found)

    def add(self, found: Mapping[str, Metric]) -> None:
        for name, value in found.items():
            if name in self.metrics or len(self.metrics) < MOST_METRICS:
                self.metrics[name] = value
            else:
                self.overflowed = True


def last_line(file: Path) -> str:
    """The last line of a file that has anything in it, fit to be shown."""
    try:
        with file.open("rb") as opened:
            opened.seek(max(0, os.fstat(opened.fileno()).st_size - 4096))
            text = opened.read().decode(errors="replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [""]
    return "".join(character if character.isprintable() else " " for character in lines[-1])[:_LONGEST_REMARK]


def read_metrics_file(file: Path) -> tuple[dict[str, Metric], list[str]]:
    """The metrics that a task left as a JSON object, and what is wrong with the rest of the file."""
    try:
        if not file.is_file():
            return {}, []
        with file.open("rb") as opened:
            text = opened.read(_LONGEST_METRICS_FILE + 1)
    except OSError as error:
        return {}, [f"{file.name} cannot be read: {error.strerror}"]
    if len(text) > _LONGEST_METRICS_FILE:
        return {}, [f"{file.name} is larger than {_LONGEST_METRICS_FILE} bytes: left out"]
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        return {}, [f"{file.name} is no JSON ({error!s:.100}): left out"]
    if not isinstance(content, dict):
        return {}, [f"{file.name} is no JSON object: left out"]
    values = {name: _json_metric(value) for name, value in content.items()}
    problems = {name: metric_problem(name, value) for name, value in values.items()}
    remarks = [f"{file.name}: {problem:.{_LONGEST_REMARK}}" for problem in problems.values() if problem]
    return {name: value for name, value in values.items() if not problems[name]}, remarks[:1]


def _json_metric(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
