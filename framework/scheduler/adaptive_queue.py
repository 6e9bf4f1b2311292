"""Queue of an adaptive sweep: makes combinations when a host has room."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from framework.journal.provenance import Provenance
from framework.journal.records import ENDED, TaskOutcome
from framework.journal.store import Journal
from framework.journal.tally import Tally
from framework.journal.trials import Trials, most_combinations
from framework.project.project import Project
from framework.scheduler.queue import QueuedTask

if TYPE_CHECKING:
    from framework.scheduler.optuna_study import Study


class AdaptiveQueue:
    """Queue whose combinations the study suggests, from all results until the moment of the suggestion."""

    is_counted = True
    is_ready = True  # the next task is made when it is taken

    def __init__(self, project: Project, journal: Journal, provenance: Provenance, study: Study) -> None:
        self.tally = Tally(most_combinations(project), provenance)
        self._journal = journal
        self._study = study
        self._tasks: set[str] = set()
        self._open: set[str] = set()  # the tasks that have not ended
        self._again: dict[str, QueuedTask] = {}  # the tasks that are to be sent again
        records = Trials(project, journal).records
        with journal.batch():
            journal.open_sweep(project.definition)
            journal.mark((number, record.task) for number, record in enumerate(records))
            journal.complete_sweep()
        for number, record in enumerate(records):
            self._tasks.add(record.task)
            self._open.add(record.task)
            if record.state in ENDED:
                self.close(record.task)
            elif record.state == "waiting":
                self.put_back(QueuedTask(number, record.task, record.host, record.parameters))

    @property
    def is_finished(self) -> bool:
        return self.tally.ended == self.tally.total

    def count_known(self) -> None:
        """Do nothing: all that had ended was counted at the start."""

    def look_ahead(self, is_sent: Callable[[str], bool], wanted: int = 1) -> None:
        """Do nothing: a suggestion is made when it is taken, so that all results until then count."""

    def take(self) -> QueuedTask | None:
        if self._again:
            return self._again.pop(min(self._again.values()).task)
        if len(self._tasks) >= self.tally.total:
            return None
        number = len(self._tasks)
        suggested = self._study.suggest(number, self._tasks)
        if suggested is None:  # every combination that can be suggested has been
            self.tally.total = number
            return None
        task, parameters = suggested
        self._tasks.add(task)
        self._open.add(task)
        return QueuedTask(number, task, "", parameters)

    def put_back(self, queued: QueuedTask) -> None:
        self._again[queued.task] = queued

    def requeue(self, task: str) -> bool:
        record = self._journal.get(task)
        if record is None or record.state != "waiting" or task not in self._open or task in self._again:
            return False
        self.put_back(QueuedTask(record.number, task, record.host, record.parameters))
        return True

    def withdraw(self, task: str) -> None:
        self._again.pop(task, None)

    def is_open(self, task: str) -> bool:
        return task in self._open

    def close(self, task: str, outcome: TaskOutcome | None = None) -> None:
        self.withdraw(task)
        if task in self._open:
            self._open.remove(task)
            self.tally.count(outcome or self._journal.outcomes([task])[task])
