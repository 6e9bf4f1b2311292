"""Events of the running sweep: their texts, and the last ones in a file."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TypeAlias

from framework.journal.records import TaskRecord
from framework.journal.results_csv import shown
from framework.messages.events import Event, EventKind
from framework.messages.status import duration
from framework.scheduler.kept_lines import KeptLines
from framework.space.values import Value
from framework.text import one_line

log = logging.getLogger(__name__)

EVENTS_KEPT = 100
EVENTS_SHOWN = 30  # in the status, which is written several times a second
LONGEST_PARAMETERS = 200  # characters
LONGEST_REASON = 400
LONGEST = 1000

LogPlace: TypeAlias = Callable[[TaskRecord], str]  # where people find the logs of a task's last attempt


class SweepEvents:
    """The last events, each in one line that names tasks by their metaparameters."""

    def __init__(self, path: Path, log_place: LogPlace) -> None:
        self._lines = KeptLines(path, EVENTS_KEPT)
        self._log_place = log_place
        self._silent: set[str] = set()  # hosts
        self._latest: deque[Event] = deque(maxlen=EVENTS_KEPT)
        try:
            self._latest.extend(Event(**each) for each in self._lines.read())
        except (ValueError, TypeError) as error:
            log.warning("%s: has no events of this version (%s): they are left out", path, error)

    @property
    def latest(self) -> list[Event]:
        """The last events, the latest one last."""
        return list(self._latest)

    def save(self) -> None:
        """Write the file if there is anything new. Raises OSError."""
        self._lines.save()

    def add(self, kind: EventKind, text: str) -> None:
        """Note an event, unless a master that was restarted says the same as before of the whole sweep."""
        text, now = one_line(text, LONGEST), time.time()
        if kind in ("ended", "metric"):
            before = next((each for each in reversed(self._latest) if each.kind in (kind, "request")), None)
            if before is not None and (before.kind, before.text) == (kind, text):
                return
        log.info("%s", text)
        number = self._lines.add({"time": now, "kind": kind, "text": text})
        self._latest.append(Event(number, now, kind, text))

    def task_failed(self, record: TaskRecord, hosts: Collection[str]) -> None:
        """Note that a task has failed for good, on these hosts."""
        where = " and ".join(sorted(hosts) or [record.host])
        reason = one_line(record.reason, LONGEST_REASON) or "failed"
        self.add(
            "failed",
            f"{described(record.parameters)} failed on {where}: {reason}; logs: {self._log_place(record)}",
        )

    def new_best(self, metric: str, record: TaskRecord) -> None:
        """Note that a task has the best value of the project's metric until now."""
        value = one_line(shown(record.metrics[metric]), LONGEST_PARAMETERS)
        self.add("best", f"{metric} {value} is the best so far ({described(record.parameters)})")

    def task_copied(self, record: TaskRecord, seconds: float, host: str, usual: float) -> None:
        """Note that a task has run for so long, and is copied to a host on which such tasks take `usual`."""
        self.add(
            "copy",
            f"{described(record.parameters)} has run for {duration(seconds)} on {record.host}; such tasks "
            f"take {duration(usual)} on {host}: a copy of it runs there, and the first result counts",
        )

    def copy_ended(self, record: TaskRecord, copied_on: str, copy_on: str) -> None:
        """Note that a task that had a copy is done: on one of these hosts, and so the other one stops."""
        done = f"{described(record.parameters)} is done on {record.host}"
        took = duration(record.seconds or 0.0)
        if record.host == copy_on:
            self.add("copy", f"{done}: its copy took {took}; the one on {copied_on} is stopped")
        else:
            self.add("copy", f"{done}: it took {took}; its copy on {copy_on} is stopped")

    def host_silent(self, host: str, tasks: int, seconds: float, has_others: bool) -> None:
        """Note that a host has been silent for so long, and that it had `tasks`."""
        self._silent.add(host)
        its = "its task" if tasks == 1 else f"its {tasks} tasks"
        place = "elsewhere" if has_others else "when a host can be reached"
        self.add("silent", f"{host} has been silent for {seconds:.0f} s: {its} will run again {place}")

    def host_heard(self, host: str) -> None:
        """Note that a host sends messages, if it was said to be silent."""
        if host in self._silent:
            self._silent.remove(host)
            self.add("back", f"{host} is back")


def best_text(metric: str, record: TaskRecord) -> str:
    """The metric of a task, and its combination."""
    value = one_line(shown(record.metrics[metric]), LONGEST_PARAMETERS)
    return f"{metric} {value} ({described(record.parameters)})"


def described(parameters: Mapping[str, Value]) -> str:
    """A combination as name=value, in one line of bounded length."""
    text = " ".join(f"{name}={shown(value)}" for name, value in parameters.items())
    return one_line(text, LONGEST_PARAMETERS) or "the task without metaparameters"
