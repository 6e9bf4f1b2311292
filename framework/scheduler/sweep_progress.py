"""Progress of the running sweep: numbers and notices for its status."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from framework.journal.tally import Tally
from framework.messages.status import Estimate, HostStatus
from framework.placement.hosts import WorkerHosts

_LATELY = 15 * 60.0  # seconds; tasks that have ended before do not count
_COUNTED = 500  # tasks


@dataclass(frozen=True)
class SweepProgress:
    """The sweep and its hosts at one moment."""

    tally: Tally
    running: int
    finished: bool  # every combination has a terminal record
    estimate: Estimate | None  # of the rest; None if nothing is known yet
    rate: float | None  # tasks that end in a minute, lately; None if nothing is known yet
    paused: str  # the reason; empty if the sweep is not paused
    no_host_reason: str  # the reason why no host can run any task; empty if one can
    suspended: Sequence[str]  # a message for each suspended host
    hosts: Mapping[str, HostStatus]
    unfit: Mapping[str, str]  # hosts that can never run a task: the reason
    host_notices: Mapping[str, str]  # what the workers of other live hosts want a person to know


class Rate:
    """Tasks that end in a minute, from the times of the latest; `now` as in WorkerHosts."""

    def __init__(self) -> None:
        self._ends: deque[float] = deque(maxlen=_COUNTED)

    def add(self, now: float) -> None:
        """Count a task that has ended."""
        self._ends.append(now)

    def per_minute(self, now: float) -> float | None:
        """The rate of the last minutes; None while it is not known."""
        while self._ends and now - self._ends[0] > _LATELY:
            self._ends.popleft()
        passed = now - self._ends[0] if self._ends else 0.0
        return 60 * (len(self._ends) - 1) / passed if len(self._ends) > 1 and passed > 0 else None


def host_statuses(hosts: WorkerHosts, now: float) -> dict[str, HostStatus]:
    return {
        host.name: HostStatus(
            slots=host.slots,
            running=host.running,
            reserved=len(host.sent) - host.running,
            seconds_since_beat=now - host.last_heartbeat,
            alive=hosts.is_alive(host.name, now),
            drained=hosts.is_drained(host.name, now),
            use=host.use,
            lost=hosts.lost[host.name],
        )
        for host in hosts
    }
