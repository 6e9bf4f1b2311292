"""Progress of the running sweep: numbers and notices for its status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from framework.journal.tally import Tally
from framework.messages.status import HostStatus
from framework.placement.hosts import WorkerHosts


@dataclass(frozen=True)
class SweepProgress:
    """The sweep and its hosts at one moment."""

    tally: Tally
    running: int
    finished: bool  # every combination has a terminal record
    seconds_left: float | None  # expected; None if nothing is known yet
    paused: str  # the reason; empty if the sweep is not paused
    no_host_reason: str  # the reason why no host can run any task; empty if one can
    suspended: Sequence[str]  # a message for each suspended host
    hosts: Mapping[str, HostStatus]
    unfit: Mapping[str, str]  # hosts that can never run a task: the reason
    host_notices: Mapping[str, str]  # what the workers of other live hosts want a person to know


def host_statuses(hosts: WorkerHosts, now: float) -> dict[str, HostStatus]:
    return {
        host.name: HostStatus(
            slots=host.slots,
            running=host.running,
            reserved=len(host.sent) - host.running,
            seconds_since_beat=now - host.last_heartbeat,
            alive=hosts.is_alive(host.name, now),
            drained=hosts.is_drained(host.name, now),
            lost=hosts.lost[host.name],
        )
        for host in hosts
    }


def seconds_left(mean: float | None, tasks: int, slots: int) -> float | None:
    """The expected duration of the rest, with the mean duration of a task; None if nothing is known."""
    used = min(slots, tasks)
    return mean * tasks / used if mean and used else None
