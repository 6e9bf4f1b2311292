"""Worker hosts: heartbeats, assigned attempts, leases.

Pure bookkeeping: no clock, no broker, no journal; `now` is the reading of a monotonic clock in seconds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from framework.messages.task_ids import AttemptId
from framework.messages.worker_events import Heartbeat

LEASE_SECONDS = 30.0
# Results that a restarted worker had on its disk arrive before its first heartbeat, but in another queue.
RESTART_GRACE_SECONDS = 3.0
_NO_LIMITS: Mapping[str, int] = MappingProxyType({})


@dataclass
class SentAttempt:
    """An attempt that was sent to a host and has not ended."""

    id: AttemptId
    host: str
    seen: float  # when it was sent, or last named in a heartbeat
    started: bool = False
    lost_at: float | None = None  # its worker is gone: it is lost at this time, unless its result arrives


@dataclass
class WorkerHost:
    """One worker host."""

    name: str
    slots: int
    incarnation: str  # the current one of its worker; empty before its first heartbeat
    last_heartbeat: float
    notice: str = ""  # what its worker wants a person to know
    unfit: bool = False  # it can never run a task of this project; the notice gives the reason
    sent: dict[str, SentAttempt] = field(default_factory=dict)  # by task

    @property
    def running(self) -> int:
        """The number of attempts that have started."""
        return sum(attempt.started for attempt in self.sent.values())

    def room(self, spare: int, limit: int | None = None) -> int:
        """The number of tasks that it may be sent, if it may have at most `limit`.

        `spare`: how many may wait there beside those that run.
        """
        most = self.slots + min(spare, self.slots)
        return (most if limit is None else min(most, limit)) - len(self.sent)


class WorkerHosts:
    """All hosts that have sent a heartbeat to this master, or were sent an attempt by an earlier one."""

    def __init__(self, lease: float = LEASE_SECONDS) -> None:
        self.lease = lease
        self._hosts: dict[str, WorkerHost] = {}
        self._host_of: dict[str, str] = {}  # by task

    def __iter__(self) -> Iterator[WorkerHost]:
        return iter(self._hosts.values())

    def __contains__(self, name: str) -> bool:
        return name in self._hosts

    @property
    def attempts(self) -> list[SentAttempt]:
        """The attempts of all hosts."""
        return [attempt for host in self for attempt in host.sent.values()]

    def reset(self) -> None:
        """Forget all hosts, and all that was sent to them."""
        self._hosts.clear()
        self._host_of.clear()

    def get(self, task: str) -> SentAttempt | None:
        """The attempt of a task that was sent and has not ended."""
        host = self._host_of.get(task)
        return self._hosts[host].sent[task] if host else None

    def add(self, attempt: SentAttempt) -> None:
        """Note that an attempt was sent; an unknown host has no slots until it sends a heartbeat."""
        host = self._hosts.setdefault(attempt.host, WorkerHost(attempt.host, 0, "", attempt.seen))
        host.sent[attempt.id.task] = attempt
        self._host_of[attempt.id.task] = attempt.host

    def remove(self, task: str) -> SentAttempt | None:
        """Forget the attempt of a task: it has ended, or was lost."""
        host = self._host_of.pop(task, None)
        return self._hosts[host].sent.pop(task) if host else None

    def take_heartbeat(self, heartbeat: Heartbeat, now: float) -> None:
        """Renew the leases of what a heartbeat names; what an earlier incarnation ran is gone with it."""
        name, incarnation = heartbeat.source.host, heartbeat.incarnation
        host = self._hosts.setdefault(name, WorkerHost(name, heartbeat.slots, incarnation, now))
        restarted = host.incarnation not in ("", incarnation)
        host.slots, host.incarnation, host.last_heartbeat = heartbeat.slots, incarnation, now
        host.notice, host.unfit = heartbeat.notice, heartbeat.unfit
        for attempt in host.sent.values():
            if attempt.id in heartbeat.running or attempt.id in heartbeat.reserved:
                attempt.seen, attempt.lost_at = now, None
                attempt.started = attempt.started or attempt.id in heartbeat.running
            elif restarted and attempt.started and attempt.lost_at is None:
                attempt.lost_at = now + RESTART_GRACE_SECONDS
            elif restarted:
                attempt.seen = now  # its message is in the queue again

    def is_alive(self, name: str, now: float) -> bool:
        """True if the host has sent a heartbeat within a lease."""
        return now - self._hosts[name].last_heartbeat <= self.lease

    def expired(self, now: float) -> dict[str, list[SentAttempt]]:
        """By host, the attempts that no worker has held for a lease.

        If the host is alive, they may still wait in its queue.
        """
        by_host: dict[str, list[SentAttempt]] = {}
        for attempt in self.attempts:
            if (attempt.lost_at is not None and now >= attempt.lost_at) or now - attempt.seen > self.lease:
                by_host.setdefault(attempt.host, []).append(attempt)
        return by_host

    def renew(self, now: float) -> None:
        """Restart all leases: the master itself could not receive heartbeats until now."""
        for host in self:
            host.last_heartbeat = now
            for attempt in host.sent.values():
                attempt.seen = now

    def choose(
        self, now: float, spare: int, avoid: Collection[str] = (), limits: Mapping[str, int] = _NO_LIMITS
    ) -> str | None:
        """The live host with the most room, none of `avoid` if possible; None if none has room.

        `limits`: how many tasks some hosts may have at most.
        """
        candidates = [
            (host.name in avoid, -host.room(spare), host.name)
            for host in self
            if self.is_alive(host.name, now) and host.room(spare, limits.get(host.name)) > 0
        ]
        return min(candidates)[2] if candidates else None

    def usable(self, now: float) -> set[str]:
        """The live hosts that have slots, free or not."""
        return {host.name for host in self if host.slots and self.is_alive(host.name, now)}

    def are_unfit(self) -> bool:
        """True if every known host can never run a task, and has none."""
        return bool(self._hosts) and all(host.unfit and not host.sent for host in self)

    def live_slots(self, now: float) -> int:
        return sum(host.slots for host in self if self.is_alive(host.name, now))
