"""Publisher of the status, the notices and results.csv."""

from __future__ import annotations

import logging
import time

from framework.errors import JournalError
from framework.files import STATUS_FILE, SWEEP_FILE, MasterFiles
from framework.journal.records import TaskRecord
from framework.journal.results_csv import write_results
from framework.journal.store import Journal
from framework.journal.sweep_data import write_sweep
from framework.journal.unreported_metric import metric_warning
from framework.master.advice import Advice
from framework.master.notices import Notices
from framework.master.notifier import Content, Notifier, content_of
from framework.master.quarantine import Quarantine
from framework.messages.events import Event
from framework.messages.metrics import as_number
from framework.messages.status import Status, outdated_results
from framework.scheduler.sweep_events import EVENTS_SHOWN, SweepEvents, best_text
from framework.scheduler.sweep_progress import SweepProgress
from framework.scheduler.sweep_state import Sweep

log = logging.getLogger(__name__)

STATUS_SECONDS = 0.25  # at least, between two statuses
RESULTS_SECONDS = 5.0  # at least, between two results.csv before the sweep has ended
PAGE_SECONDS = 3.0  # at least, between two times that the live page's data is published


class StatusPublisher:
    """Writes the status several times a second, and results.csv when it has changed."""

    def __init__(
        self,
        sweep: Sweep,
        journal: Journal,
        quarantine: Quarantine,
        notices: Notices,
        events: SweepEvents,
        notifier: Notifier,
        files: MasterFiles,
        version: str,
        advice: Advice,
    ) -> None:
        self._sweep = sweep
        self._journal = journal
        self._quarantine = quarantine
        self._notices = notices
        self._events = events
        self._notifier = notifier
        self._files = files
        self._version = version
        self._advice = advice
        self._refused_version = ""
        self._results_written = 0  # their version
        self._results_due = 0.0
        self._status_due = 0.0
        self._published_due = 0.0
        self._page_due = 0.0  # of its results
        self._best_value: float | None = None  # value of the metric, when the page's data was published last
        self._page: object = None  # what the data that was published last depends on
        self._has_ended = False  # said of the sweep
        self._is_metric_looked_for = False  # since the first task that was done without it
        self._is_behind = False  # the status that is written, behind what has happened since
        self._shown: tuple[object, ...] = ()  # of the last status: what people and programs wait for

    @property
    def refused_version(self) -> str:
        """The version of code that was pushed and is not valid; empty if there is none."""
        return self._refused_version

    def refuse_code(self, version: str, reason: str) -> None:
        """Say that code was pushed and not taken up."""
        notice = f"code {version} was pushed but not taken up: {reason}"
        log.error("%s", notice)
        self._refused_version = version
        self._notices.set("code", notice)

    def accept_code(self) -> None:
        """Take back that code was refused: the current version is again the one that runs."""
        self._refused_version = ""
        self._notices.clear("code")

    def publish(self, *, at_once: bool = False) -> None:
        """Write what has changed; a file that cannot be written is a notice, and is tried again.

        The status is written at most every STATUS_SECONDS, unless it is to be `at_once`, or it says that the
        sweep is finished, paused or resumed, or has another notice of the master.
        """
        try:
            self._write_results(self._sweep.is_finished)
            self._note_end()
            self._quarantine.save()
            if time.monotonic() >= self._status_due:
                self._events.save()
            self._publish_page()
            self._notices.clear("files")
        except (OSError, JournalError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            notice = f"the master cannot write its files ({reason}): it tries again"
            if self._notices.get("files") != notice:
                log.error("%s", notice)
            self._notices.set("files", notice)
        self._notifier.look(self._events.latest, self._content_of)
        self._notices.set_or_clear("notify", self._notifier.problem)
        shown = (self._is_finished, self._sweep.paused, self._refused_version, *self._notices)
        began = time.monotonic()
        if at_once or shown != self._shown or began >= self._status_due:
            self._shown = shown
            self._write_status()
            ended = time.monotonic()
            self._status_due = began + max(STATUS_SECONDS, 20 * (ended - began))
        else:
            self._is_behind = True

    def close(self) -> None:
        """Write the status and the events, if they were not when they were published last."""
        if self._is_behind:
            self._write_status()
        try:
            self._events.save()
        except OSError as error:
            log.error("cannot write the events: %s", error)

    def _write_status(self) -> None:
        try:
            self.status().write(self._files.status)
            self._is_behind = False
        except OSError as error:
            log.error("cannot write the status: %s", error)

    def _publish_page(self) -> None:
        """Write what the live page and Prometheus are shown: the results as often as costs little."""
        began = time.monotonic()
        if began < self._published_due or not self._files.published.is_dir():
            return
        self._published_due = began + PAGE_SECONDS
        page = (self._sweep.results_version, self._journal.under_way())
        if page != self._page and began >= self._page_due:
            outdated = self._sweep.progress(began).tally.outdated
            write_sweep(self._sweep.project, self._journal, self._files.published / SWEEP_FILE, outdated)
            best = self._best()
            self._best_value = (
                None if best is None else as_number(best.metrics[self._sweep.project.metric or ""])
            )
            self._page = page
            ended = time.monotonic()
            self._page_due = ended + 50 * (ended - began)
        self.status().write(self._files.published / STATUS_FILE)

    @property
    def _is_finished(self) -> bool:
        return self._sweep.is_finished and self._results_written == self._sweep.results_version

    def status(self) -> Status:
        """The status at this moment."""
        progress = self._sweep.progress(time.monotonic())
        paused = self._pause_message(progress)
        tally = progress.tally
        return Status(
            updated=time.time(),
            project=self._sweep.project.name,
            version=self._version,
            total=tally.total,
            done=tally.done,
            failed=tally.failed,
            running=progress.running,
            finished=self._is_finished,
            seconds_left=progress.estimate.seconds if progress.estimate else None,
            estimate=progress.estimate,
            rate=progress.rate,
            refused_version=self._refused_version,
            notices=self._all_notices(progress, paused),
            cancelled=tally.cancelled,
            pruned=tally.pruned,
            outdated=tally.outdated,
            paused=paused,
            metric=self._sweep.project.metric or "",
            best=self._best_value,
            quarantined=self._quarantine.count,
            hosts=dict(progress.hosts),
            events=self._events.latest[-EVENTS_SHOWN:],
        )

    def _note_end(self) -> None:
        """Note an event when the sweep has ended."""
        if self._is_finished and not self._has_ended:
            tally = self._sweep.progress(time.monotonic()).tally
            counts = {"failed": tally.failed, "cancelled": tally.cancelled, "pruned": tally.pruned}
            others = "".join(f", {number} {state}" for state, number in counts.items() if number)
            best = self._best()
            if best is not None:
                others += f"; best {best_text(self._sweep.project.metric or '', best)}"
            self._events.add("ended", f"the sweep has ended: {tally.done} of {tally.total} done{others}")
        self._has_ended = self._is_finished

    def _pause_message(self, progress: SweepProgress) -> str:
        """The reason why nothing more is sent, and what to do; empty if tasks are sent."""
        if progress.paused:
            return f"the sweep is paused: {progress.paused}; to resume it: {self._advice.resume}"
        reason = progress.no_host_reason
        return f"{reason}; then it resumes by itself" if reason else ""

    def _all_notices(self, progress: SweepProgress, paused: str) -> list[str]:
        tally = progress.tally
        notices = [*self._notices, *([paused] if paused else []), *progress.suspended]
        if tally.outdated:
            notices.append(outdated_results(tally.outdated, tally.done, self._advice.renew))
        if not paused:
            notices += [f"{host} {reason}: it gets no tasks" for host, reason in progress.unfit.items()]
        return notices + [f"{host}: {notice}" for host, notice in progress.host_notices.items()]

    def _write_results(self, finished: bool) -> None:
        """Write results.csv when the sweep is finished, and before that as often as costs little."""
        began, version = time.monotonic(), self._sweep.results_version
        if version != self._results_written and (finished or began >= self._results_due):
            write_results(self._sweep.project, self._journal, self._files.results)
            self._warn_of_metric()
            self._results_written = version
            ended = time.monotonic()
            self._results_due = ended + max(RESULTS_SECONDS, 50 * (ended - began))

    def _best(self) -> TaskRecord | None:
        """The task with the best value of the metric so far."""
        project = self._sweep.project
        return None if project.metric is None else self._journal.best(project.metric, project.goal)

    def _content_of(self, event: Event) -> Content:
        """What is sent of an event to those who want to be told."""
        status, best, metric = self.status(), self._best(), self._sweep.project.metric or ""
        names = ("total", "done", "running", "waiting", "failed", "cancelled", "pruned", "seconds_left")
        return content_of(
            event,
            status.project,
            {name: getattr(status, name) for name in names},
            None
            if best is None
            else {"metric": metric, "value": best.metrics[metric], "parameters": dict(best.parameters)},
        )

    def _warn_of_metric(self) -> None:
        """Say what done tasks lack of the project's metric; that none has it is an event, too."""
        metric, warning = self._sweep.project.metric, metric_warning(self._sweep.project, self._journal)
        self._notices.set_or_clear("metric", warning)
        if metric is not None and warning and not self._is_metric_looked_for:
            self._is_metric_looked_for = True
            if not self._journal.has_metric(metric):
                self._events.add("metric", warning)
