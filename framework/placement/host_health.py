"""Health of hosts: hosts on which different tasks fail in a row are suspended.

- A combination that failed on two hosts is at fault itself: its failures say nothing about hosts.
- A host on which three different combinations failed in a row is suspended, if another host has finished a
  task since the first of the three, or if another host can be used: otherwise a host that fails every task at
  once would consume a whole sweep of long tasks before the first of them is done elsewhere.
- It is probed with a single task after 5 minutes, then after 10, and so on up to an hour. It returns with the
  first task that it finishes, or when the tasks that failed there have failed elsewhere, too.
- The failure of a task that may not be tried again is excused once, if the host has finished nothing yet, or
  this is at least the second failure in a row there; and if there is another host for the next attempt.

Pure bookkeeping: `now` is the reading of a monotonic clock in seconds. It is kept in memory only: a restarted
master trusts every host again.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

FAILURES_LIMIT = 3  # failures of different combinations in a row
FIRST_PROBE_SECONDS = 300.0
LONGEST_PROBE_SECONDS = 3600.0


@dataclass
class HealthRecord:
    """The recent failures and successes of one host."""

    failures: dict[str, float] = field(default_factory=dict)  # in a row: by task, when it failed
    succeeded: float | None = None  # when a task was done there last
    suspended: str = ""  # the reason why nothing is sent there
    pause: float = FIRST_PROBE_SECONDS
    probe_at: float = 0.0


@dataclass(frozen=True)
class HealthChange:
    """A host that was suspended, or is healthy again."""

    is_suspended: bool
    message: str


class HostHealth:
    """The health of all hosts."""

    def __init__(self) -> None:
        self._hosts: dict[str, HealthRecord] = {}

    def record_failure(self, task: str, host: str, failed_on: Collection[str], now: float) -> None:
        """Note that a task failed, or ran too long, on `host`; `failed_on`: all hosts where it did."""
        record = self._hosts.setdefault(host, HealthRecord())
        if record.suspended and now >= record.probe_at:
            record.pause = min(2 * record.pause, LONGEST_PROBE_SECONDS)
            record.probe_at = now + record.pause
        if len({*failed_on, host}) > 1:
            for each in self._hosts.values():
                each.failures.pop(task, None)
        else:
            record.failures.pop(task, None)
            record.failures[task] = now  # the latest is the last

    def record_success(self, host: str, now: float) -> None:
        """Note that a task was done on `host`."""
        record = self._hosts.setdefault(host, HealthRecord())
        record.failures.clear()
        record.succeeded = now

    def review(self, usable: Collection[str], now: float) -> list[HealthChange]:
        """Suspend hosts and take them back; returns what has changed. `usable`: hosts that can be used."""
        changes = []
        for host, record in self._hosts.items():
            if record.suspended and len(record.failures) < FAILURES_LIMIT:
                record.suspended, record.pause = "", FIRST_PROBE_SECONDS
                changes.append(HealthChange(False, f"{host} is healthy again: it gets tasks"))
            elif not record.suspended and (why := self._reason_to_suspend(host, usable)):
                record.suspended = why
                record.probe_at = now + record.pause
                changes.append(HealthChange(True, self._notice(host, record, now)))
        return changes

    def notices(self, now: float) -> list[str]:
        """A message for each suspended host."""
        return [self._notice(host, each, now) for host, each in self._hosts.items() if each.suspended]

    def limits(self, usable: Collection[str], now: float) -> dict[str, int]:
        """The number of tasks that suspended hosts may have: none, or one as a probe.

        There are no limits if no other host can be used: a bad host is better than none.
        """
        suspended = {host: each for host, each in self._hosts.items() if each.suspended}
        if not set(usable) - suspended.keys():
            return {}
        return {host: int(now >= each.probe_at) for host, each in suspended.items()}

    def excuses(self, host: str, failed_on: Collection[str], usable: Collection[str], now: float) -> bool:
        """True if a failure on `host` may be the host's fault, and another host can try the task."""
        record = self._hosts.get(host, HealthRecord())
        suspect = record.succeeded is None or len(record.failures) >= 2
        return suspect and {*failed_on} <= {host} and bool(self.others(host, usable, now))

    def others(self, host: str, usable: Collection[str], now: float) -> set[str]:
        """The hosts of `usable` that may be sent a task in place of `host`."""
        limits = self.limits(usable, now)
        return {other for other in usable if other != host and limits.get(other, 1) > 0}

    @property
    def is_unblemished(self) -> bool:
        """True if no host is suspended, or has a failure: there is nothing to review."""
        return not any(each.failures or each.suspended for each in self._hosts.values())

    def is_proven(self, host: str) -> bool:
        """True if the last task that ended there was done."""
        record = self._hosts.get(host)
        return record is not None and record.succeeded is not None and not record.failures

    def is_suspect(self, host: str) -> bool:
        """True if the last task that ended there failed, and that may be the host's fault."""
        return bool(self._hosts.get(host, HealthRecord()).failures)

    def _reason_to_suspend(self, host: str, usable: Collection[str]) -> str:
        failures = self._hosts[host].failures
        if len(failures) < FAILURES_LIMIT:
            return ""
        since = list(failures.values())[-FAILURES_LIMIT]
        others = {name: each for name, each in self._hosts.items() if name != host}
        if any(each.succeeded is not None and each.succeeded >= since for each in others.values()):
            return "while others finished tasks"
        trusted = [name for name in usable if name != host and not self._is_suspended(name)]
        return "while there are others to try" if trusted else ""

    def _is_suspended(self, host: str) -> bool:
        return bool(self._hosts.get(host, HealthRecord()).suspended)

    @staticmethod
    def _notice(host: str, record: HealthRecord, now: float) -> str:
        minutes = max(0.0, record.probe_at - now) / 60
        return (
            f"{host} is suspended: {len(record.failures)} different combinations failed there in a row, "
            f"{record.suspended}; it gets one task as a probe in {minutes:.0f} min"
        )
