"""Retry policy: failures that end a task, and the host for its next attempt."""

from __future__ import annotations

from collections.abc import Container, Mapping

from framework.journal.store import Journal
from framework.messages.assignment import AttemptResult
from framework.placement.host_health import HealthChange, HostHealth
from framework.placement.hosts import WorkerHosts
from framework.placement.vacancies import Vacancies
from framework.project.project import Project
from framework.project.resources import why_nowhere

UNFIT_SECONDS = 30.0  # for which no host can run a task until the sweep is paused: others may be starting


class RetryPolicy:
    """Decides on failed tasks by the health of the hosts; `now` as in WorkerHosts and HostHealth."""

    def __init__(self, project: Project, journal: Journal, hosts: WorkerHosts) -> None:
        self._project = project
        self._journal = journal
        self._hosts = hosts
        self._health = HostHealth()
        self._unfit_since: float | None = None  # when the sweep could run nowhere for the first time

    def record(self, result: AttemptResult, now: float) -> None:
        """Count a new result for or against its host."""
        if result.state == "done":
            self._health.record_success(result.host, now)
        elif result.state in ("failed", "timeout"):
            failed_on = self._journal.failed_on(result.task)
            self._health.record_failure(result.task, result.host, failed_on, now)

    def ends_task(self, result: AttemptResult, now: float) -> bool:
        """True if a new result, which was recorded, is the end of its task."""
        if result.state not in ("failed", "timeout"):
            return result.state == "done"
        sent = self._hosts.get(result.task)
        if sent is not None and sent.id != result.id:
            return False  # another attempt, which is under way, decides
        if self._hosts.copied(result.task) is not None:
            return False  # this one was a copy of it
        failures = 1 + self._journal.attempts_ended(result.task, ("failed", "timeout"))
        failed_on = self._journal.failed_on(result.task)
        is_excused = self._health.excuses(result.host, failed_on, self._hosts.usable(now), now)
        return self._project.gives_up_after(failures, excused=int(is_excused))

    def review_hosts(self, now: float) -> list[HealthChange]:
        """Suspend hosts and take them back; note since when no host can run the sweep.

        Returns a message for each host that was suspended, or taken back.
        """
        if not self._hosts.are_unfit():
            self._unfit_since = None
        elif self._unfit_since is None:
            self._unfit_since = now
        if self._health.is_unblemished:
            return []
        return self._health.review(self._hosts.usable(now), now)

    def limits(self, now: float) -> Mapping[str, int]:
        """The number of tasks that suspended hosts may have."""
        return {} if self._health.is_unblemished else self._health.limits(self._hosts.usable(now), now)

    def vacancies(self, now: float, window: int, without_room: Container[str] = ()) -> Vacancies:
        """The hosts that may be sent attempts, with so many for each slot.

        `without_room`: hosts that have handed attempts back; like those that are not proven they get few.
        """
        return Vacancies(
            self._hosts,
            now,
            window,
            self.limits(now),
            lambda host: host not in without_room and self._health.is_proven(host),
        )

    def choose_host(self, task: str, avoid: str, now: float, vacancies: Vacancies) -> str | None:
        """The host for a task, if possible one on which it has not failed; None to wait for another.

        It waits only while the host that has room may be at fault. `avoid`: the host of its last attempt;
        empty if it had none.
        """
        if not avoid:
            return vacancies.best()
        failed_on = self._journal.failed_on(task)
        host = vacancies.best(failed_on | {avoid})
        if host in failed_on and self._health.is_suspect(host):
            others = self._health.others(host, self._hosts.usable(now), now)
            return None if others - failed_on else host
        return host

    def no_host_reason(self, now: float) -> str:
        """The reason why no host can run the sweep, if that has been so for long enough; else empty."""
        if self._unfit_since is None or now - self._unfit_since <= UNFIT_SECONDS:
            return ""
        return why_nowhere(self._project.name, {host.name: host.notice for host in self._hosts})

    def notices(self, now: float) -> list[str]:
        """A message for each suspended host."""
        return self._health.notices(now)
