"""Copies of stragglers: what takes long at the end of a sweep runs on a second host, too.

When nothing is left to be sent, a task that has run for twice as long as such tasks take on a host with an
idle slot is sent there, too. The first result counts, and the other attempt is stopped. These are the backup
tasks of MapReduce (Dean & Ghemawat, OSDI 2004); as in LATE (Zaharia et al., OSDI 2008), the speeds of hosts
count.
"""

from __future__ import annotations

from collections.abc import Callable

from framework.journal.store import Journal
from framework.messages.task_ids import AttemptId
from framework.placement.hosts import SentAttempt, WorkerHosts
from framework.placement.retry_policy import RetryPolicy
from framework.placement.window import NO_SPARE
from framework.project.project import Project
from framework.scheduler.estimate import Durations, Speeds
from framework.scheduler.queue import QueuedTask
from framework.scheduler.sweep_events import SweepEvents

LEAST_SECONDS = 30.0  # that a task has run for when it is copied
TIMES_AS_LONG = 2.0  # as tasks of its size take on the other host, it has run then
LEAST_DONE = 5  # tasks, so that durations are known
LOOK_SECONDS = 1.0  # at least, between two looks at what runs

_USUAL = 0.75  # part of the tasks of one size that end on a host within the time that they are said to take


class Copies:
    """Copies attempts that take too long, each at most once, and no copies; `now` as in WorkerHosts.

    All methods raise JournalError if the journal cannot be written.
    """

    def __init__(
        self, project: Project, journal: Journal, hosts: WorkerHosts, policy: RetryPolicy, events: SweepEvents
    ) -> None:
        # If results of others decide how long a task runs, durations say nothing of it. And two attempts of a
        # task at a time would write the same files of a host, or of a file system that hosts share.
        may_write = any(mount.is_writable for mount in project.mounts)
        self._is_on = project.copies and not project.needs_study and not may_write
        self._journal = journal
        self._hosts = hosts
        self._policy = policy
        self._events = events
        self._look_at = 0.0

    def assign(
        self, durations: Durations, is_open: Callable[[str], bool], now: float, when: float
    ) -> list[tuple[SentAttempt, QueuedTask]]:
        """Assign copies of the tasks that are the longest overdue, as far as other hosts have idle slots.

        It is for a sweep that has nothing left to be sent; `is_open`: true for its tasks that have not ended;
        `when`: the time in seconds since the epoch. Send them once this is in the journal.
        """
        if not self._is_on or now < self._look_at or len(durations) < LEAST_DONE:
            return []
        self._look_at = now + LOOK_SECONDS
        late = [
            (now - each.began, each)
            for each in self._hosts.under_way
            if each.began is not None and now - each.began >= LEAST_SECONDS and self._hosts.is_held(each)
            if is_open(each.id.task) and self._hosts.copied(each.id.task) is None
        ]
        late.sort(key=lambda each: -each[0] / each[1].size)
        vacancies = self._policy.vacancies(now, NO_SPARE)
        if not late or not vacancies:
            return []
        speeds, copies = Speeds(durations.known()), []
        usual = speeds.ratios[int(_USUAL * len(speeds.ratios))]
        for seconds, attempt in late:
            others = [host for host in vacancies if host != attempt.host]
            expected = {host: usual * attempt.size * speeds.of_host(host) for host in others}
            fit = {host: each for host, each in expected.items() if seconds >= TIMES_AS_LONG * each}
            record = self._journal.get(attempt.id.task) if fit else None
            if record is None or record.attempts != attempt.id.number:  # else it has had a copy
                continue
            failed_on = self._journal.failed_on(record.task)
            host = min(fit.keys() - failed_on, key=lambda host: (fit[host], host), default=None)
            if host is None:
                continue
            vacancies.take(host)
            number = self._journal.copy(record.task, host, when)
            copy = SentAttempt(AttemptId(record.task, number), host, now, size=attempt.size)
            self._hosts.add(copy)
            self._events.task_copied(record, seconds, host, fit[host])
            copies.append((copy, QueuedTask(record.number, record.task, "", record.parameters)))
        return copies

    def note_end(self, task: str) -> None:
        """Note an event if a task that is done in the journal had a copy under way until now."""
        copied, copy = self._hosts.copied(task), self._hosts.get(task)
        if copied is not None and copy is not None and (record := self._journal.get(task)):
            self._events.copy_ended(record, copied.host, copy.host)
