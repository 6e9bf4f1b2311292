"""Health of hosts: quarantine of those on which different tasks fail in a row.

- A combination that failed on two hosts is at fault itself: its failures say nothing about hosts.
- A host on which three different combinations failed in a row is put aside, when another host finished a
  task since the first of the three, or when there is another host to use: else a host that fails everything
  at once would have eaten a whole set of long tasks before the first of them is done elsewhere.
- It is probed with a single task after 5 minutes, then after 10, and so on up to an hour. It is back with the
  first task it finishes, or when what failed there has failed elsewhere, too.
- The failure of a task that may not be tried again is excused once, if the host has finished nothing yet, or
  this is at least the second failure in a row there; and if there is another host to try it on.

Pure bookkeeping: `now` is the reading of a monotonic clock in seconds. It is kept in memory only: a master
that is started anew trusts every host again, and learns again.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

FAILURES_LIMIT = 3  # of different combinations in a row
FIRST_PROBE_SECONDS = 300.0
LONGEST_PROBE_SECONDS = 3600.0


@dataclass
class Standing:
    """What is known of one host."""

    failures: dict[str, float] = field(default_factory=dict)  # by task, in a row: when it failed
    succeeded: float | None = None  # the last time
    aside: str = ""  # why nothing is sent there
    pause: float = FIRST_PROBE_SECONDS
    probe_at: float = 0.0


class Blame:
    """The standing of all hosts."""

    def __init__(self) -> None:
        self._hosts: dict[str, Standing] = {}

    def failed(self, task: str, host: str, failed_on: Collection[str], now: float) -> None:
        """A task failed, or ran too long, on `host`; `failed_on`: all hosts on which it ever did."""
        standing = self._hosts.setdefault(host, Standing())
        if standing.aside and now >= standing.probe_at:
            standing.pause = min(2 * standing.pause, LONGEST_PROBE_SECONDS)
            standing.probe_at = now + standing.pause
        if len({*failed_on, host}) > 1:
            for each in self._hosts.values():
                each.failures.pop(task, None)
        else:
            standing.failures.pop(task, None)
            standing.failures[task] = now  # the latest is the last

    def succeeded(self, host: str, now: float) -> None:
        standing = self._hosts.setdefault(host, Standing())
        standing.failures.clear()
        standing.succeeded = now

    def review(self, usable: Collection[str], now: float) -> list[str]:
        """Put hosts aside and take them back; what is to be said of it. `usable`: hosts that can be used."""
        said = []
        for host, standing in self._hosts.items():
            if standing.aside and len(standing.failures) < FAILURES_LIMIT:
                standing.aside, standing.pause = "", FIRST_PROBE_SECONDS
                said.append(f"{host} is sent tasks again")
            elif not standing.aside and (why := self._why_aside(host, usable)):
                standing.aside = why
                standing.probe_at = now + standing.pause
                said.append(self._notice(host, standing, now))
        return said

    def notices(self, now: float) -> list[str]:
        """What a person should know of hosts that are put aside."""
        return [self._notice(host, each, now) for host, each in self._hosts.items() if each.aside]

    def limits(self, usable: Collection[str], now: float) -> dict[str, int]:
        """How many tasks the hosts that are put aside may have: none, or one as a probe.

        There are no limits if no other host can be used: a bad host is better than waiting for ever.
        """
        aside = {host: each for host, each in self._hosts.items() if each.aside}
        if not set(usable) - aside.keys():
            return {}
        return {host: int(now >= each.probe_at) for host, each in aside.items()}

    def excuses(self, host: str, failed_on: Collection[str], usable: Collection[str], now: float) -> bool:
        """May a failure on `host` be the host's fault, so that the task is to be tried on another one?"""
        standing = self._hosts.get(host, Standing())
        suspect = standing.succeeded is None or len(standing.failures) >= 2
        return suspect and {*failed_on} <= {host} and bool(self.others(host, usable, now))

    def others(self, host: str, usable: Collection[str], now: float) -> set[str]:
        """The hosts of `usable` that may be sent a task in place of `host`."""
        limits = self.limits(usable, now)
        return {other for other in usable if other != host and limits.get(other, 1) > 0}

    def distrusts(self, host: str) -> bool:
        """Was the last thing that ended there a failure which may be the host's fault?"""
        return bool(self._hosts.get(host, Standing()).failures)

    def _why_aside(self, host: str, usable: Collection[str]) -> str:
        failures = self._hosts[host].failures
        if len(failures) < FAILURES_LIMIT:
            return ""
        since = list(failures.values())[-FAILURES_LIMIT]
        others = {name: each for name, each in self._hosts.items() if name != host}
        if any(each.succeeded is not None and each.succeeded >= since for each in others.values()):
            return "while others finished tasks"
        trusted = [name for name in usable if name != host and not self._is_aside(name)]
        return "while there are others to try" if trusted else ""

    def _is_aside(self, host: str) -> bool:
        return bool(self._hosts.get(host, Standing()).aside)

    @staticmethod
    def _notice(host: str, standing: Standing, now: float) -> str:
        minutes = max(0.0, standing.probe_at - now) / 60
        return (
            f"{host} is put aside: {len(standing.failures)} different combinations failed there in a row, "
            f"{standing.aside}; it is tried with one task in {minutes:.0f} min"
        )
