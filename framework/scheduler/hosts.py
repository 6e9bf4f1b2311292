"""Worker hosts: heartbeats, assigned attempts, leases.

Pure bookkeeping: no clock, no broker, no journal; `now` is the reading of a monotonic clock in seconds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

LEASE_SECONDS = 30.0
# Results that a restarted worker still had on its disk reach us before its first beat, but in another queue.
RESTART_GRACE_SECONDS = 3.0
_NO_LIMITS: Mapping[str, int] = MappingProxyType({})


@dataclass
class Sent:
    """An attempt that a host was sent and has not ended."""

    task: str
    attempt: int
    host: str
    seen: float  # when it was sent, or last named in a beat
    started: bool = False
    lost_at: float | None = None  # its worker is known to be gone: lost at this time, unless its result comes

    @property
    def name(self) -> str:
        return f"{self.task}.{self.attempt}"


@dataclass
class Host:
    """One worker host."""

    name: str
    slots: int
    incarnation: str
    last_beat: float
    notice: str = ""  # what its worker wants a person to know
    unfit: bool = False  # it can never run a task of this project; the notice says why
    sent: dict[str, Sent] = field(default_factory=dict)  # by task

    def free(self, spare: int, limit: int | None = None) -> int:
        """How many more tasks it may be sent, having `limit` at the most.

        `spare`: how many may wait there beside those that run.
        """
        most = self.slots + min(spare, self.slots)
        return (most if limit is None else min(most, limit)) - len(self.sent)


class Fleet:
    """All worker hosts that have sent a beat to this master, or were sent something by an earlier one."""

    def __init__(self, lease: float = LEASE_SECONDS) -> None:
        self.lease = lease
        self.hosts: dict[str, Host] = {}
        self._host_of: dict[str, str] = {}

    def __iter__(self) -> Iterator[Sent]:
        for host in self.hosts.values():
            yield from host.sent.values()

    def get(self, task: str) -> Sent | None:
        host = self._host_of.get(task)
        return self.hosts[host].sent[task] if host else None

    def add(self, sent: Sent) -> None:
        """Note that an attempt was sent; a host not heard of yet has no slots until it sends a beat."""
        host = self.hosts.setdefault(sent.host, Host(sent.host, 0, "", sent.seen))
        host.sent[sent.task] = sent
        self._host_of[sent.task] = sent.host

    def remove(self, task: str) -> Sent | None:
        """Forget what was sent of `task`: it has ended, or was lost."""
        host = self._host_of.pop(task, None)
        return self.hosts[host].sent.pop(task) if host else None

    def beat(
        self,
        name: str,
        incarnation: str,
        slots: int,
        running: set[str],
        reserved: set[str],
        now: float,
        notice: str = "",
        unfit: bool = False,
    ) -> None:
        """Take a beat: the leases of what it names go on; what an earlier incarnation ran is gone with it."""
        host = self.hosts.setdefault(name, Host(name, slots, incarnation, now))
        restarted = host.incarnation not in ("", incarnation)
        host.slots, host.incarnation, host.last_beat, host.notice = slots, incarnation, now, notice
        host.unfit = unfit
        for sent in host.sent.values():
            if sent.name in running or sent.name in reserved:
                sent.seen, sent.lost_at = now, None
                sent.started = sent.started or sent.name in running
            elif restarted and sent.started and sent.lost_at is None:
                sent.lost_at = now + RESTART_GRACE_SECONDS
            elif restarted:
                sent.seen = now  # its message is in the queue again

    def is_alive(self, host: Host, now: float) -> bool:
        return now - host.last_beat <= self.lease

    def expired(self, now: float) -> list[Sent]:
        """What no worker has held for a lease. If its host is alive it may still wait in the queue: ask."""
        return [
            sent
            for sent in self
            if (sent.lost_at is not None and now >= sent.lost_at) or now - sent.seen > self.lease
        ]

    def renew(self, now: float) -> None:
        """Begin all leases anew: the master itself could not hear the workers until now."""
        for host in self.hosts.values():
            host.last_beat = now
            for sent in host.sent.values():
                sent.seen = now

    def choose(
        self, now: float, spare: int, avoid: Collection[str] = (), limits: Mapping[str, int] = _NO_LIMITS
    ) -> str | None:
        """The live host with the most room, none of `avoid` if possible; None if none has room.

        `limits`: how many tasks some hosts may have at the most.
        """
        candidates = [
            (host.name in avoid, -host.free(spare), host.name)
            for host in self.hosts.values()
            if self.is_alive(host, now) and host.free(spare, limits.get(host.name)) > 0
        ]
        return min(candidates)[2] if candidates else None

    def usable(self, now: float) -> set[str]:
        """The live hosts that have slots, free or not."""
        return {host.name for host in self.hosts.values() if host.slots and self.is_alive(host, now)}

    def is_unfit(self) -> bool:
        """Can the set run nowhere? So it is if no host heard of can ever run a task, nor has one."""
        hosts = self.hosts.values()
        return bool(hosts) and all(host.unfit and not host.sent for host in hosts)

    def live_slots(self, now: float) -> int:
        return sum(host.slots for host in self.hosts.values() if self.is_alive(host, now))
