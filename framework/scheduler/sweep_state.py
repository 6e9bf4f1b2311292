"""State of the running sweep: journal, queue, hosts, and every transition of a task."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from framework.journal.provenance import Provenance
from framework.journal.records import NewAttempt, TaskOutcome
from framework.journal.store import Journal
from framework.journal.trials import so_far
from framework.journal.unreported_metric import unreported_message
from framework.messages.assignment import AttemptResult
from framework.messages.metrics import as_number
from framework.messages.requests import Which
from framework.messages.status import Estimate
from framework.messages.task_ids import AttemptId
from framework.messages.worker_events import Heartbeat, MetricsUpdate, Started
from framework.placement.drains import Drains
from framework.placement.hosts import SentAttempt, WorkerHosts
from framework.placement.retry_policy import RetryPolicy
from framework.placement.stop_orders import StopOrders
from framework.placement.window import NO_SPARE, ONE_SPARE, RecentMean, window
from framework.project.project import Project
from framework.scheduler.adaptive_queue import AdaptiveQueue
from framework.scheduler.copies import Copies
from framework.scheduler.estimate import LATEST, Budget, Durations, RunningTask, estimate
from framework.scheduler.longest_first import learn_rest, longest_first
from framework.scheduler.pause import Pause
from framework.scheduler.queue import IndexedQueue, QueuedTask, TaskQueue
from framework.scheduler.rerun import Rerun
from framework.scheduler.sweep_events import SweepEvents
from framework.scheduler.sweep_progress import Rate, SweepProgress, host_statuses

if TYPE_CHECKING:
    from framework.scheduler.optuna_study import Study

log = logging.getLogger(__name__)

MOST_IN_TURN = 1000  # attempts that are sent; the broker takes about as many in a second
LOST_ATTEMPTS_LIMIT = 5
CALL_BACK_SECONDS = 10.0  # between two orders to hand back what waits at a host: the first may be lost
FEWEST_ENDED = 16  # tasks, after which durations are learned for the first time while a sweep runs
ESTIMATE_SECONDS = 1.0  # at least, between two estimates of the rest
SILENT_TASKS_LIMIT = 3  # done tasks without the metric that others are compared by


@dataclass(frozen=True)
class Sending:
    """An attempt that the journal has, and its host is to be sent."""

    id: AttemptId
    host: str
    task: QueuedTask


class Sweep:
    """A project's sweep while a master runs it.

    Each transition of a task is written to the journal first, then applied to what is kept in memory. All
    methods raise JournalError if the journal cannot be written; `load` restores the memory after that.
    """

    def __init__(
        self,
        project: Project,
        journal: Journal,
        provenance: Provenance,
        pause_file: Path,
        drains_file: Path,
        events: SweepEvents,
    ) -> None:
        self.project = project
        self.results_version = 0  # grows with each change of results.csv
        self._journal = journal
        self._provenance = provenance
        self._events = events
        self._pause = Pause(pause_file)
        self._drains = Drains(drains_file, time.monotonic())
        self._hosts = WorkerHosts(is_drained=self._drains.is_drained)
        self._policy = RetryPolicy(project, journal, self._hosts)
        self._copies = Copies(project, journal, self._hosts, self._policy, events)
        self._stop_orders = StopOrders()
        self._rerun: Rerun | None = None
        self._failed_now = False  # a task has failed for good since the limit was looked at last
        self._silent = 0  # tasks done in a row, since a resume, without the metric that a study needs
        self._rate = Rate()
        self._estimate: Estimate | None = None
        self._estimate_due = 0.0
        self._budget = Budget()  # of estimates
        self._recent = RecentMean()  # of the tasks done
        self._has_more = False  # there may be more to send at once
        self._per_slot = 0  # attempts that a slot was allowed in the last turn
        self._handed_back: dict[str, float] = {}  # by host without room for what waits there: the last order
        self.load()

    def load(self) -> None:
        """Begin with what the journal says, of the queue and of the attempts under way."""
        self._restart_queue()
        self._to_prune: dict[str, str] = {}  # tasks under way that the study wants ended, and the reason
        self._hosts.reset()
        now, by_clock = time.monotonic(), time.time()
        for attempt in [*self._journal.copied(), *self._journal.under_way()]:
            sent = SentAttempt(AttemptId(attempt.task, attempt.attempt), attempt.host, now)
            if attempt.state != "sent":
                sent.start(now - max(0.0, by_clock - (attempt.started or by_clock)))
            self._hosts.add(sent)

    def _restart_queue(self) -> None:
        """Go through the sweep from its beginning: what the journal says of it has changed."""
        self._rerun = None
        self._best: float | None = None  # value of the metric, of all results; None: not known yet
        self._durations = Durations(self._journal.latest_timed(LATEST))
        self._sizes: Mapping[int, float] = {}  # of the combinations left, if their durations can be expected
        self._study = self._load_study()
        self._queue: TaskQueue
        if self._study and self.project.method.is_adaptive:
            self._queue = AdaptiveQueue(self.project, self._journal, self._provenance, self._study)
        else:
            self._queue = IndexedQueue(self.project, self._journal, self._provenance)
        self._learn_at = 0  # tasks that have ended, from which on durations are learned again
        self.results_version += 1

    def _load_study(self) -> Study | None:
        if not self.project.needs_study:
            return None
        from framework.scheduler.optuna_study import Study  # with Optuna, which only such projects need

        return Study.of_journal(self.project, self._journal)

    # Sending.

    @property
    def is_idle(self) -> bool:
        """True if nothing is to be done before a message arrives."""
        return self._queue.is_ready and self._rerun is None and not self._has_more

    def count_known(self) -> None:
        """Count more of the results of earlier runs, if some are not counted yet."""
        self._queue.count_known()
        if self._queue.is_counted and self._queue.tally.ended >= self._learn_at:
            self._put_longest_first()

    def _put_longest_first(self) -> None:
        """Learn how long the tasks take that are left, and have the longest sent first, if that can be known.

        It is done when the sweep begins, and each time that twice as many tasks have ended.
        """
        self._learn_at = max(FEWEST_ENDED, 2 * self._queue.tally.ended)
        if self._rerun:
            return
        rest = learn_rest(self.project, self._journal)
        if rest is None:
            return
        self._durations, self._sizes = rest.durations, rest.sizes
        attempts = self._hosts.attempts
        records = self._journal.records([attempt.id.task for attempt in attempts])
        for attempt in attempts:
            if record := records.get(attempt.id.task):
                attempt.size = rest.model.size(record.parameters)
        if self.project.longest_first:
            log.info("tasks that are expected to take longest are sent first")
            # What is under way comes first: the queue has to meet it, and need not look for it.
            sent = {record.number for record in records.values()}
            order = sorted(longest_first(rest.sizes), key=lambda number: number not in sent)
            self._queue = IndexedQueue(self.project, self._journal, self._provenance, order)

    def assign_tasks(self, now: float) -> list[Sending]:
        """Assign as many tasks as the hosts have room for, and find the next one.

        Send them once this is in the journal.
        """
        with self._journal.batch():
            self._per_slot = 0 if self._sends_nothing() else self._window(now)
            self._has_more = False
            sendings = self._assign_tasks(now) if self._per_slot else []
            self._look_ahead(1, ())
        return sendings

    def _sends_nothing(self) -> bool:
        return bool(self._pause.reason or self._rerun or self._lacks_metric())

    def _assign_tasks(self, now: float) -> list[Sending]:
        vacancies = self._policy.vacancies(now, self._per_slot, self._handed_back)
        chosen: dict[str, tuple[QueuedTask, str]] = {}  # with the host, by task
        later = []
        while vacancies and len(chosen) < MOST_IN_TURN:
            self._look_ahead(min(vacancies.total, MOST_IN_TURN), chosen)
            queued = self._queue.take()
            if queued is None:
                break
            host = self._policy.choose_host(queued.task, queued.avoid, now, vacancies)
            if host is None:
                later.append(queued)
            else:
                vacancies.take(host)
                chosen[queued.task] = (queued, host)
        for queued in later:
            self._queue.put_back(queued)
        self._has_more = len(chosen) == MOST_IN_TURN
        if chosen:
            return self._assign(list(chosen.values()), now)
        is_at_end = isinstance(self._queue, IndexedQueue) and self._queue.is_exhausted
        return self._assign_copies(now) if is_at_end else []

    def _assign_copies(self, now: float) -> list[Sending]:
        copies = self._copies.assign(self._durations, self._queue.is_open, now, time.time())
        return [Sending(copy.id, copy.host, queued) for copy, queued in copies]

    @property
    def is_far_ahead(self) -> bool:
        """True if hosts have so many short tasks that none of their slots needs another at once."""
        return self._per_slot > ONE_SPARE

    def _window(self, now: float) -> int:
        """Attempts for each slot."""
        if self._silent:
            return NO_SPARE
        tally = self._queue.tally
        per_slot = window(self._recent.seconds, tally.total - tally.ended, self._hosts.live_slots(now))
        # The later a combination is suggested, the more is known.
        return min(per_slot, ONE_SPARE) if self.project.method.is_adaptive else per_slot

    def _look_ahead(self, wanted: int, chosen: Container[str]) -> None:
        self._queue.look_ahead(lambda task: self._hosts.get(task) is not None or task in chosen, wanted)

    def _assign(self, chosen: Sequence[tuple[QueuedTask, str]], now: float) -> list[Sending]:
        attempts = [NewAttempt(each.task, each.number, each.parameters, host) for each, host in chosen]
        sendings = []
        for number, (queued, host) in zip(
            self._journal.assign_all(attempts, time.time()), chosen, strict=True
        ):
            sending = Sending(AttemptId(queued.task, number), host, queued)
            self._hosts.add(SentAttempt(sending.id, host, now, size=self._sizes.get(queued.number, 1.0)))
            sendings.append(sending)
        return sendings

    # Events of workers.

    def take_heartbeat(self, heartbeat: Heartbeat, now: float) -> None:
        """Renew leases; take back lost attempts that still run; have unwanted attempts stopped."""
        host = heartbeat.source.host
        if not self._hosts.may_know(host, now):
            return
        if host not in self._hosts:
            log.info("worker host %s has %d slots", host, heartbeat.slots)
        self._events.host_heard(host)
        self._hosts.take_heartbeat(heartbeat, now)
        unwanted = set()
        for attempt in heartbeat.running | heartbeat.reserved:
            is_kept = self._is_wanted(attempt, host) or (
                attempt in heartbeat.running and self._take_back(attempt, host)
            )
            if not is_kept:
                unwanted.add(attempt)
        self._stop_orders.note_unwanted(host, unwanted)
        if self._drains.is_drained(host, now):  # an earlier order was lost, or came before the attempt
            self._stop_orders.hand_back(host, heartbeat.reserved - unwanted)

    def _is_wanted(self, attempt: AttemptId, host: str) -> bool:
        """True if an attempt that the worker of a host holds is to continue."""
        if self._pause.reason:
            return False
        if self._is_at(attempt, host):
            return True
        # Of a journal that is gone: it does no harm, and its result can be recovered.
        return not self._journal.knows(attempt.task)

    def _is_at(self, attempt: AttemptId, host: str) -> bool:
        """True if this attempt is under way, or was copied, and was sent to this host."""
        held = self._hosts.held(attempt)
        return held is not None and held.host == host

    def was_sent(self, attempt: AttemptId, host: str) -> bool:
        """True if the attempt was sent to the host; it may have been lost, or have ended, since."""
        return self._is_at(attempt, host) or self._journal.was_sent(attempt.task, attempt.number, host)

    def _take_back(self, attempt: AttemptId, host: str) -> bool:
        """Reinstate an attempt that was thought lost and runs; False if it is not wanted."""
        sent = self._hosts.get(attempt.task)
        if self._pause.reason or (sent is not None and attempt.number > sent.id.number):
            return False
        if not self._journal.was_sent(attempt.task, attempt.number, host):
            return False
        if not self._journal.reinstate(attempt.task, attempt.number, host):
            return False
        log.info("task %s: its worker on %s is back with it", attempt, host)
        self._hosts.end(attempt.task)
        now = time.monotonic()
        self._hosts.add(SentAttempt(attempt, host, now, started=True, began=now))
        self._queue.withdraw(attempt.task)
        return True

    def start(self, event: Started) -> None:
        """Note that a worker has started an attempt."""
        sent = self._hosts.get(event.attempt.task)
        if sent and sent.id == event.attempt:
            sent.seen = time.monotonic()
            sent.start(sent.seen)
            self._journal.start(event.attempt.task, event.attempt.number, event.source.host, event.started)

    def update_metrics(self, event: MetricsUpdate) -> None:
        """Note the metrics of a running attempt, and what the study makes of its reports."""
        task, number = event.attempt.task, event.attempt.number
        self._journal.metrics(task, number, event.metrics)
        sent = self._hosts.get(task)
        if self._study is None or sent is None or sent.id != event.attempt:
            return
        for step, value in event.reports:
            report = as_number(value)
            if report is not None and self._study.is_news(task, step):
                self._journal.report(task, number, step, report)
                if self._study.report(task, step, report):
                    self._to_prune[task] = f"pruned at report {step}: {self.project.metric}={value}"

    # The end of attempts and tasks.

    def knows(self, task: str) -> bool:
        """True if the journal knows the task."""
        return self._journal.knows(task)

    def finish_done(self, results: Sequence[AttemptResult], now: float) -> list[AttemptResult]:
        """Note the ends of attempts that are done, all at once; returns those that are left to finish()."""
        if self._study is not None:
            return list(results)
        under_way = []
        for result in results:
            if self._is_at(result.id, result.host) and self._hosts.copied(result.task) is None:
                under_way.append(result)
        ended = self._journal.finish_done(under_way)
        for result in ended:
            self._policy.record(result, now)
            sent = next(iter(self._hosts.end(result.task)), None)
            self._queue.close(result.task, TaskOutcome("done", result.code, result.image))
            self._rate.add(now)
            self._count_done(result, sent)
        self.results_version += bool(ended)
        written = set(map(id, ended))
        return [result for result in results if id(result) not in written]

    def finish(self, result: AttemptResult, now: float) -> None:
        """Note the end of an attempt; its task ends with it if it is done, or may not be tried again."""
        held = self._hosts.held(result.id)
        if result.state == "lost":
            if held is not None:  # else it was lost before, or its task has ended
                self._lose(held, result.reason)
            return
        final = False
        if self._journal.is_new(result):
            self._policy.record(result, now)
            final = self._policy.ends_task(result, now)
        ended_the_task = self._journal.finish(result, final)
        if ended_the_task:
            self._copies.note_end(result.task)
            sent = self._stop_others(result.task, result.id)
            self._end(result.task)
            if result.state == "done":
                self._count_done(result, sent)
            return
        if held is not None:
            self._hosts.remove(held)
            if result.state == "stopped" and result.exit_code is None:
                self._call_back(held.host, now)
        if (record := self._journal.get(result.task)) and record.state == "pruned":
            self.results_version += 1  # the journal knows now how long it ran
            self._durations.add(result.host, result.seconds)
        else:
            self._requeue(result.task)

    def _call_back(self, host: str, now: float) -> None:
        """Have a host that has handed an attempt back hand back all that wait there.

        Its devices are in use by others: it would keep each for as long as the first one.
        """
        if now - self._handed_back.get(host, -math.inf) >= CALL_BACK_SECONDS:
            self._handed_back[host] = now
            self._stop_orders.hand_back(host, self._hosts.waiting(host))

    def _count_done(self, result: AttemptResult, sent: SentAttempt | None) -> None:
        self._handed_back.pop(result.host, None)
        self._durations.add(result.host, result.seconds, sent.size if sent else 1.0)
        self._recent.add(result.seconds)
        self._note_best(result)

    def _note_best(self, result: AttemptResult) -> None:
        """Note an event if a done task has the best value of the metric of all until now."""
        metric = self.project.metric
        value = None if metric is None else as_number(result.metrics.get(metric))
        if metric is None or value is None or not math.isfinite(value):
            return
        if self._best is None:  # the result is in the journal
            best = self._journal.best(metric, self.project.goal)
            self._best = None if best is None else as_number(best.metrics[metric])
            is_best = value == self._best
        else:
            is_best = value > self._best if self.project.goal == "maximize" else value < self._best
        if is_best and (record := self._journal.get(result.task)):
            self._best = value
            self._events.new_best(metric, record)

    def prune_tasks(self) -> None:
        """End early the tasks that the study wants ended, unless they have ended meanwhile."""
        for task, reason in self._to_prune.items():
            if self._journal.prune(task, reason):
                log.info("task %s is %s", task, reason)
                self._stop_others(task)
                self._end(task)
        self._to_prune = {}

    @property
    def host_names(self) -> list[str]:
        """The names of all known hosts."""
        return [host.name for host in self._hosts]

    def expired_leases(self, now: float) -> dict[str, list[SentAttempt]]:
        """By host, the attempts that no worker has held for a lease."""
        return self._hosts.expired(now)

    def is_alive(self, host: str, now: float) -> bool:
        """True if the host has sent a heartbeat within a lease."""
        return self._hosts.is_alive(host, now)

    def lose(self, host: str, attempts: Sequence[SentAttempt], now: float) -> None:
        """Note that no worker holds these attempts of a host; their tasks are sent again.

        A task that has lost too many attempts fails.
        """
        if self._hosts.is_alive(host, now):
            reason = f"its worker on {host} holds it no longer"
        else:
            others = self._hosts.usable(now)
            self._events.host_silent(host, len(attempts), self._hosts.lease, bool(others))
            reason = f"no sign of its worker on {host} for {self._hosts.lease:.0f} s"
        with self._journal.batch():
            for attempt in attempts:
                self._lose(attempt, reason)
        self._hosts.lost[host] += len(attempts)

    def _lose(self, attempt: SentAttempt, reason: str) -> None:
        task = attempt.id.task
        lost = 1 + self._journal.attempts_ended(task, ("lost",))
        final = lost >= LOST_ATTEMPTS_LIMIT
        reason = f"lost {lost} times; the last time: {reason}" if final else reason
        self._hosts.remove(attempt)
        if self._journal.lost(task, attempt.id.number, reason, final):
            self._end(task)
        else:
            self._requeue(task)

    def _end(self, task: str) -> None:
        """Note that a task has got its terminal record."""
        record = self._journal.get(task)
        if record is not None:
            self.results_version += 1
            if record.state == "failed":
                self._failed_now = True
                self._events.task_failed(record, self._journal.failed_on(task))
            self._queue.close(task, TaskOutcome(record.state, record.code, record.image))
            self._rate.add(time.monotonic())
            if self._study is not None:
                self._study.end(record)
                if record.state == "done":
                    value = as_number(record.metrics.get(self.project.metric or ""))
                    self._silent = self._silent + 1 if value is None else 0

    def _requeue(self, task: str) -> None:
        if self._queue.requeue(task) and (record := self._journal.get(task)):
            log.info(
                "task %s, attempt %d on %s: %s; it will be sent again",
                task, record.attempts, record.host, record.reason,
            )  # fmt: skip

    # Leases.

    @property
    def lease(self) -> float:
        """Seconds after which an attempt that no heartbeat names is lost."""
        return self._hosts.lease

    def renew_leases(self, now: float) -> None:
        """Restart all leases: the master itself could not receive heartbeats until now."""
        self._hosts.renew(now)

    def under_way(self) -> list[Sending]:
        """All attempts under way, to be sent again to a worker that knows which of them it has begun."""
        attempts = self._hosts.attempts
        records = self._journal.records([attempt.id.task for attempt in attempts])
        return [
            Sending(attempt.id, attempt.host, QueuedTask(record.number, record.task, "", record.parameters))
            for attempt in attempts
            if (record := records.get(attempt.id.task))
            and self.project.task_id(record.parameters) == record.task  # it may be one of an earlier sweep
        ]

    # Requests of people.

    def cancel(self, tasks: Sequence[tuple[int, str]]) -> None:
        """End tasks for good, each given with the number of its combination."""
        space = so_far(self.project, self._journal).space
        with self._journal.batch():
            for number, task in self._of_the_sweep(tasks):
                parameters = space.combination(number)
                if self._journal.cancel(task, number, parameters, time.time()):
                    self._stop_others(task)
                    self._end(task)

    def run_again(self, tasks: Sequence[tuple[int, str]]) -> None:
        """Have tasks run again although they have ended, each given with the number of its combination."""
        self._journal.again([task for _, task in self._of_the_sweep(tasks)])
        self._events.add("request", f"as requested, tasks run again: {len(tasks)}")
        self._restart_queue()

    def advance_rerun(self, key: str, which: Which) -> bool:
        """Have more of the tasks run again that the request `key` asks for; True once it is complete.

        Until then nothing is sent.
        """
        if not self.has_rerun(key):
            self._rerun = Rerun(key, which, self._journal, self._provenance)
        rerun = self._rerun
        if rerun is None or not self._queue.is_counted or not rerun.advance():
            return False
        self._events.add("request", f"as requested, {which} tasks run again")
        self._restart_queue()
        return True

    def has_rerun(self, key: str) -> bool:
        """True if the rerun for the request `key` is under way."""
        return self._rerun is not None and self._rerun.key == key

    def end_rerun_unless(self, keys: Sequence[str]) -> None:
        """End the rerun that is under way, unless it is for one of these requests: it was taken back."""
        if self._rerun is not None and self._rerun.key not in keys:
            self._restart_queue()

    def _of_the_sweep(self, tasks: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
        """Those of `tasks`, each with the number of its combination, that are in the sweep as it is now."""
        space, known = so_far(self.project, self._journal).space, []
        for number, task in tasks:
            if 0 <= number < space.count and self.project.task_id(space.combination(number)) == task:
                known.append((number, task))
            else:
                log.warning("task %s is not in the sweep any more: nothing was done about it", task)
        return known

    # Pauses.

    @property
    def paused(self) -> str:
        """The reason why the sweep is paused; empty if it is not."""
        return self._pause.reason

    def pause(self, reason: str, *, is_requested: bool = False) -> None:
        """Send nothing more until resumed, and have running attempts stopped. Raises OSError."""
        self._pause.begin(reason)
        self._events.add("request" if is_requested else "paused", f"the sweep is paused: {reason}")
        for attempt in self._hosts.attempts:
            self._stop(attempt)

    def resume(self) -> None:
        """Send tasks again. Raises OSError."""
        self._pause.end()
        self._silent = 0

    def pause_if_too_many_failed(self) -> None:
        """Pause the sweep if a task has failed, and that makes max_failures of them."""
        limit, failed = self.project.max_failures, self._queue.tally.failed
        is_due = self._failed_now and limit is not None and failed >= limit and not self._pause.reason
        self._failed_now = is_due and not self._try_to_pause(
            f"{failed} tasks have failed, with max_failures: {limit} in project.yml"
        )

    def pause_if_metric_is_missing(self) -> None:
        """Pause a sweep that needs the metric and has none, once what runs has ended: it may report it."""
        if self._pause.reason or self._hosts.have_attempts or not self._lacks_metric():
            return
        key = f"method: {self.project.method.name}" if self.project.method.is_adaptive else "early_terminate:"
        message = unreported_message(self.project.metric or "", self._journal)
        self._try_to_pause(
            f"{message}; {key} has nothing to compare; print it, or correct metric: in project.yml"
        )

    def _try_to_pause(self, reason: str) -> bool:
        """Pause the sweep; False if that cannot be written, which the next turn tries again."""
        try:
            self.pause(reason)
        except OSError as error:
            log.error("the sweep cannot be paused yet: %s", error)
            return False
        return True

    def _lacks_metric(self) -> bool:
        """True if a study needs the metric, several tasks are done, and none has reported it."""
        return self._silent >= SILENT_TASKS_LIMIT and not self._journal.has_metric(self.project.metric or "")

    def drain(self, hosts: Sequence[str], seconds: float) -> None:
        """Send these hosts nothing more for so long, or tasks again with 0 seconds. Raises OSError.

        What waits there is handed back; what runs goes on.
        """
        now = time.monotonic()
        ended = [host for host in hosts if seconds == 0 and self._drains.is_drained(host, now)]
        for host in self._drains.renew(hosts, seconds, now):
            log.info("worker host %s is drained: it is sent nothing more", host)
            self._stop_orders.hand_back(host, self._hosts.waiting(host))
        for host in ended:
            log.info("worker host %s is drained no longer", host)

    def review_hosts(self, now: float) -> None:
        """Suspend hosts on which different tasks fail, take healthy ones back, forget those long silent."""
        for host in self._hosts.forget_silent(now):
            log.info("worker host %s is forgotten: it has sent nothing for long", host)
        for change in self._policy.review_hosts(now):
            self._events.add("suspended" if change.is_suspended else "healthy", change.message)

    def take_stop_orders(self) -> dict[str, list[AttemptId]]:
        """Remove and return the attempts that hosts are to be told to stop, by host."""
        return self._stop_orders.take()

    def take_hand_backs(self) -> dict[str, list[AttemptId]]:
        """Remove and return the attempts that hosts are to be told to hand back, by host."""
        return self._stop_orders.take_hand_backs()

    def _stop_others(self, task: str, ended: AttemptId | None = None) -> SentAttempt | None:
        """Have the attempts of a task that ends stopped, but the one that ended it; returns one of all."""
        attempts = self._hosts.end(task)
        for attempt in attempts:
            if attempt.id != ended:
                self._stop(attempt)
        return attempts[0] if attempts else None

    def _stop(self, attempt: SentAttempt) -> None:
        self._stop_orders.add(attempt.host, {attempt.id})

    # For the status.

    @property
    def is_finished(self) -> bool:
        """True if every combination has a terminal record, and none is to run again."""
        return self._queue.is_finished and self._rerun is None

    def _expect(self, now: float) -> Estimate | None:
        """The estimate of the rest, made anew as often as costs little."""
        if now >= self._estimate_due and self._budget.has_time:
            with self._budget.spend():
                self._estimate = self._make_estimate(now)
            self._estimate_due = now + ESTIMATE_SECONDS
        return self._estimate

    def _make_estimate(self, now: float) -> Estimate | None:
        tally = self._queue.tally
        attempts = [each for each in self._hosts.under_way if self._queue.is_open(each.id.task)]
        running = [
            RunningTask(each.host, now - each.began, each.size) for each in attempts if each.began is not None
        ]
        waiting = max(0, tally.total - tally.ended - len(running))
        sizes = []
        if self._sizes and isinstance(self._queue, IndexedQueue):
            sizes = [each.size for each in attempts if each.began is None]  # these wait at a host
            sizes += [self._sizes[number] for number in self._queue.upcoming() if number in self._sizes]
        return estimate(self._durations, self._hosts.slots(now), running, waiting, sizes)

    def progress(self, now: float) -> SweepProgress:
        """The progress until now."""
        tally, hosts = self._queue.tally, self._hosts
        left = tally.total - tally.ended
        return SweepProgress(
            tally=tally,
            running=sum(
                (each.started or hosts.copied(each.id.task) is not None) and self._queue.is_open(each.id.task)
                for each in hosts.under_way
            ),
            finished=self.is_finished,
            estimate=self._expect(now) if left else None,
            rate=self._rate.per_minute(now),
            paused=self._pause.reason,
            no_host_reason=self._policy.no_host_reason(now) if left else "",
            suspended=self._policy.notices(now),
            hosts=host_statuses(hosts, now),
            unfit={host.name: host.notice for host in hosts if host.unfit},
            host_notices={
                host.name: host.notice
                for host in hosts
                if host.notice and not host.unfit and hosts.is_alive(host.name, now)
            },
        )
