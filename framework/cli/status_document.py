"""Document about a running sweep: status, what runs where, the best, failures."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from framework.cli import locations
from framework.cli.known_sweep import current_project
from framework.errors import FrameworkError
from framework.files import MasterFiles
from framework.journal.ranking import best, best_over_seeds
from framework.journal.results_csv import shown
from framework.journal.store import Journal
from framework.messages.metrics import as_number
from framework.messages.status import Status, read_status
from framework.project.project import Project
from framework.space.values import Value

MOST_FAILURES = 5
SELDOM = 20  # the journal is read so many times less often than reading it takes


class Documents:
    """Documents, one after the other; what is in the journal is read anew as often as costs little."""

    def __init__(self, files: MasterFiles) -> None:
        self._files = files
        self._version = ""
        self._project: Project | None = None
        self._of_journal: dict[str, Any] = {}
        self._due = 0.0

    def make(self) -> dict[str, Any]:
        """The document of this moment; raises FrameworkError if there is no master."""
        status = read_status(self._files.status)
        began = time.monotonic()
        if status.version != self._version or began >= self._due or status.finished:
            self._of_journal = self._read_journal(status)
            self._due = began + SELDOM * (time.monotonic() - began)
        return asdict(status) | {"waiting": status.waiting} | self._of_journal

    def _read_journal(self, status: Status) -> dict[str, Any]:
        try:
            if self._project is None or status.version != self._version:
                self._project, self._version = current_project(), status.version
            with Journal(self._files.journal, read_only=True) as journal:
                return _of_journal(self._project, journal)
        except FrameworkError:  # it is being moved, or newer code than the master's is wrong
            return self._of_journal or _NOTHING


def _of_journal(project: Project, journal: Journal) -> dict[str, Any]:
    attempts = [*journal.copied(), *journal.under_way()]
    records = journal.records([attempt.task for attempt in attempts])
    tasks = [
        {
            "number": records[attempt.task].number + 1,
            "task": attempt.task,
            "attempt": attempt.attempt,
            "host": attempt.host,
            "started": attempt.started,  # None: it was sent, and waits there
            "label": label(records[attempt.task].parameters),
        }
        for attempt in attempts
    ]
    failures = [
        {
            "number": record.number + 1,
            "task": record.task,
            "host": record.host,
            "exit_code": record.exit_code,
            "reason": record.reason,
            "label": label(record.parameters),
        }
        for record in journal.latest_failed(MOST_FAILURES)
    ]
    return {"tasks": tasks, "failures": failures, "best": _best(project, journal)}


def _best(project: Project, journal: Journal) -> dict[str, Any] | None:
    """The best result: of one task, or the mean over the seeds of one combination."""
    if project.metric is None:
        return None
    if project.search_space.seeds is not None:
        for summary in best_over_seeds(project, journal, 1):
            value, name = summary.mean, f"mean {project.metric}"
            return {"metric": name, "value": value, "label": label(summary.parameters), "number": None}
        return None
    for record in best(project, journal, 1):
        score = as_number(record.metrics[project.metric])
        words = label(record.parameters)
        return {"metric": project.metric, "value": score, "label": words, "number": record.number + 1}
    return None


def label(parameters: Mapping[str, Value]) -> str:
    """The metaparameters of a task in one line."""
    return " ".join(f"{name}={shown(value)}" for name, value in parameters.items())


def documents() -> Documents:
    """The documents of the master in this container."""
    return Documents(MasterFiles(locations.DATA))


_NOTHING: dict[str, Any] = {"tasks": [], "failures": [], "best": None}
