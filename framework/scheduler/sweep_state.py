"""State of the running sweep: journal, queue, hosts, and every transition of a task.

Whatever becomes of a task becomes of it here: in the journal first, then in what is kept in memory.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framework.files import write_atomically
from framework.journal.provenance import Origins
from framework.journal.store import Journal
from framework.journal.tally import again
from framework.journal.trials import so_far
from framework.messages.assignment import AttemptResult
from framework.messages.metrics import as_number
from framework.messages.requests import Which
from framework.project.project import Project
from framework.scheduler.adaptive_queue import AdaptiveSet
from framework.scheduler.hosts import Fleet, Sent
from framework.scheduler.queue import Backlog, Waiting

if TYPE_CHECKING:
    from framework.scheduler.optuna_study import Study

log = logging.getLogger(__name__)

LOST_ATTEMPTS_LIMIT = 5
AGAIN_PAGES = 10  # looked through in one turn for tasks to run again


@dataclass
class Again:
    """A request to run tasks of the set again, half done."""

    file: Path
    pages: Iterator[int]
    tasks: int = 0  # so far


class RunningSet:
    """One project's set, with its journal and the hosts that run it.

    Its methods raise JournalError when the journal cannot be written; `load` puts memory right after that.
    """

    def __init__(self, project: Project, journal: Journal, origins: Origins, stopped: Path) -> None:
        """`stopped`: the file that says why the set is stopped, while it is."""
        self.project = project
        self.journal = journal
        self.to_stop: dict[str, set[str]] = {}  # by host: the attempts it is to be told to stop
        self._origins = origins
        self._stopped_file = stopped
        self.stopped = self._read_stopped()  # why nothing is sent; empty if it is not stopped
        self._failed_now = False  # has a task failed for good since it was last asked?
        self._done_seconds = 0.0  # of all tasks done in this process's life
        self._done_count = 0
        self.load()

    def load(self) -> None:
        """Begin with what the journal says."""
        self.begin_anew()
        self._bad: dict[str, str] = {}  # tasks under way that the study wants ended, and why
        self.fleet = Fleet()
        now = time.monotonic()
        for attempt in self.journal.under_way():
            started = attempt.state == "running"
            self.fleet.add(Sent(attempt.task, attempt.attempt, attempt.host, now, started))

    def begin_anew(self) -> None:
        """Go through the set from its beginning: what the journal says of it has changed."""
        self.again: Again | None = None
        self._study = self._load_study()
        self.backlog: Backlog | AdaptiveSet
        if self._study and self.project.method.is_adaptive:
            self.backlog = AdaptiveSet(self.project, self.journal, self._origins, self._study)
        else:
            self.backlog = Backlog(self.project, self.journal, self._origins)
        self.results_stale = True

    def _load_study(self) -> Study | None:
        if not self.project.needs_study:
            return None
        from framework.scheduler.optuna_study import Study  # with Optuna, which only such projects need

        return Study.of_journal(self.project, self.journal)

    @property
    def mean_seconds(self) -> float | None:
        """How long a task takes, as far as this process has seen any done."""
        return self._done_seconds / self._done_count if self._done_count else None

    # An attempt is sent, and heard of.

    def look_ahead(self) -> None:
        """Find out what is to be sent next."""
        self.backlog.look_ahead(lambda task: self.fleet.get(task) is not None)

    def assign(self, waiting: Waiting, host: str, now: float) -> int:
        """Write that the next attempt of a task is sent to `host`; the number of the attempt."""
        attempt = self.journal.assign(waiting.task, waiting.number, waiting.parameters, host, time.time())
        self.fleet.add(Sent(waiting.task, attempt, host, now))
        return attempt

    def start(self, task: str, attempt: int, host: str, started: float) -> None:
        """A worker has started an attempt, at the Unix time `started`."""
        sent = self.fleet.get(task)
        if sent and sent.attempt == attempt:
            sent.started, sent.seen = True, time.monotonic()
            self.journal.start(task, attempt, host, started)

    def report(self, task: str, attempt: int, reports: Sequence[tuple[int, Any]]) -> None:
        """Tell the study how a task does. Whether it is ended is seen when all that has come in was taken."""
        sent = self.fleet.get(task)
        if self._study is None or sent is None or sent.attempt != attempt:
            return
        for step, value in reports:
            number = as_number(value)
            if number is not None and self._study.is_news(task, step):
                self.journal.report(task, attempt, step, number)
                if self._study.report(task, step, number):
                    self._bad[task] = f"pruned at report {step}: {self.project.metric}={value}"

    def is_wanted(self, name: str, host: str, runs: bool) -> bool:
        """Is an attempt that `host` holds to go on? One thought lost that runs takes its place again."""
        if self.stopped:
            return False
        task, _, number = name.rpartition(".")
        attempt = int(number)
        sent = self.fleet.get(task)
        if sent is not None and sent.attempt == attempt:
            return True
        record = self.journal.get(task)
        if record is None:
            return True  # of a journal that is gone: it does no harm, and its result can be recovered
        younger = sent is not None and attempt > sent.attempt
        if not runs or younger or not self.journal.reinstate(task, attempt, host):
            return False
        log.info("task %s, attempt %d: its worker on %s is back with it", task, attempt, host)
        self.fleet.remove(task)
        self.fleet.add(Sent(task, attempt, host, time.monotonic(), started=True))
        self.backlog.withdraw(task)
        return True

    # An attempt ends, and its task with it or not.

    def finish(self, result: AttemptResult, final: bool) -> None:
        """An attempt has ended by itself; its task ends with it if it is done, or `final`."""
        sent = self.fleet.get(result.task)
        ended_the_task = self.journal.finish(result, final)
        if sent is not None and (ended_the_task or sent.attempt == result.attempt):
            self.fleet.remove(result.task)
        if ended_the_task:
            self._end(result.task)
            if result.state == "done":
                self._done_seconds += result.seconds
                self._done_count += 1
            else:
                log.warning("task %s failed on %s: %s", result.task, result.host, result.reason)
        elif (record := self.journal.get(result.task)) and record.state == "pruned":
            self.results_stale = True  # it is known now how long it ran
        else:
            self._send_again(result.task)

    def lose(self, sent: Sent, why: str) -> None:
        """No worker holds an attempt any longer; its task is sent again, unless that happened too often."""
        lost = 1 + self.journal.attempts_ended(sent.task, ("lost",))
        final = lost >= LOST_ATTEMPTS_LIMIT
        reason = f"lost {lost} times; the last time: {why}" if final else why
        self.fleet.remove(sent.task)
        if self.journal.lost(sent.task, sent.attempt, reason, final):
            log.warning("task %s failed: %s", sent.task, reason)
            self._end(sent.task)
        else:
            self._send_again(sent.task)

    def prune(self) -> None:
        """End early what does badly and has not ended in the meantime."""
        for task, reason in self._bad.items():
            if self.journal.prune(task, reason):
                log.info("task %s is %s", task, reason)
                self._stop(self.fleet.remove(task))
                self._end(task)
        self._bad = {}

    def cancel(self, tasks: Sequence[tuple[int, str]]) -> None:
        """End tasks for good, each given with the number of its combination."""
        space = so_far(self.project, self.journal).space
        with self.journal.batch():
            for number, task in self._of_the_set(tasks):
                parameters = space.combination(number)
                if self.journal.cancel(task, number, parameters, time.time()):
                    self._stop(self.fleet.remove(task))
                    self._end(task)

    def _end(self, task: str) -> None:
        """A task has got its terminal record."""
        record = self.journal.get(task)
        if record is not None:
            self.results_stale = True
            self._failed_now |= record.state == "failed"
            self.backlog.count(task)
            if self._study is not None:
                self._study.end(record)

    def _send_again(self, task: str) -> None:
        if self.backlog.send_again(task) and (record := self.journal.get(task)):
            log.info("task %s, attempt %d, %s: %s; again", task, record.attempts, record.host, record.reason)

    # It is run again.

    def run_again(self, tasks: Sequence[tuple[int, str]]) -> None:
        """Have tasks run again although they have ended, each given with the number of its combination."""
        self.journal.again([task for _, task in self._of_the_set(tasks)])
        self.begin_anew()

    def go_on_again(self, file: Path, which: Which) -> bool:
        """Have the next tasks run again that the request in `file` asks for; True once that was all of them.

        Until then nothing is sent: if this process dies, the next one begins with it again, and must not find
        any of them ended once more.
        """
        begun, self.again = self.again, None
        if begun is None or begun.file != file:
            project = so_far(self.project, self.journal)
            begun = Again(file, again(project, self.journal, self._origins, which))
        with self.journal.batch():
            pages = list(islice(begun.pages, AGAIN_PAGES))
        begun.tasks += sum(pages)
        if len(pages) == AGAIN_PAGES:
            self.again = begun
            return False
        log.info("%d tasks are to be run again", begun.tasks)
        self.begin_anew()
        return True

    def _of_the_set(self, tasks: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
        """Those of `tasks`, each with the number of its combination, that are in the set as it is now."""
        space, known = so_far(self.project, self.journal).space, []
        for number, task in tasks:
            if 0 <= number < space.count and self.project.task_id(space.combination(number)) == task:
                known.append((number, task))
            else:
                log.warning("task %s is not in the set any more", task)
        return known

    # It is stopped, and goes on.

    def stop(self, why: str) -> None:
        """Send nothing more, until asked to go on, and stop what runs. Raises OSError."""
        write_atomically(self._stopped_file, why)
        self.stopped = why
        log.warning("the set is stopped: %s", why)
        for sent in self.fleet:
            self._stop(sent)

    def stop_if_too_many_failed(self) -> None:
        """Stop the set if one more task has failed, and that makes max_failures of them."""
        limit, failed = self.project.max_failures, self.backlog.census.failed
        if self._failed_now and limit is not None and failed >= limit and not self.stopped:
            try:
                self.stop(f"{failed} tasks have failed, with max_failures: {limit} in project.yml")
            except OSError as error:
                log.error("cannot stop the set yet: %s", error)
                return
        self._failed_now = False

    def resume(self) -> None:
        """Go on after a stop. Raises OSError."""
        self._stopped_file.unlink(missing_ok=True)
        self.stopped = ""

    def _read_stopped(self) -> str:
        try:
            return self._stopped_file.read_text() or "nobody knows why"
        except FileNotFoundError:
            return ""

    def tell_to_stop(self, host: str, attempts: Collection[str]) -> None:
        """Have a host told to stop what it holds of `attempts`."""
        if attempts:
            self.to_stop.setdefault(host, set()).update(attempts)

    def _stop(self, sent: Sent | None) -> None:
        if sent is not None:
            self.tell_to_stop(sent.host, {sent.name})
