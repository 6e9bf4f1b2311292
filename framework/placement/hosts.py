"""Worker hosts: heartbeats, assigned attempts, leases.

Pure bookkeeping: no clock, no broker, no journal; `now` is the reading of a monotonic clock in seconds.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from framework.messages.host_use import UNKNOWN_USE, HostUse
from framework.messages.task_ids import AttemptId
from framework.messages.worker_events import Heartbeat

LEASE_SECONDS = 30.0
# Results that a restarted worker had on its disk arrive before its first heartbeat, but in another queue.
RESTART_GRACE_SECONDS = 3.0
FORGET_SECONDS = 24 * 3600.0  # without a heartbeat, after which a host that has nothing is not known any more
MOST_HOSTS = 4000  # a heartbeat of one more is ignored

log = logging.getLogger(__name__)


@dataclass
class SentAttempt:
    """An attempt that was sent to a host and has not ended."""

    id: AttemptId
    host: str
    seen: float  # when it was sent, or last named in a heartbeat
    started: bool = False
    began: float | None = None  # when it has started, as far as it is known
    size: float = 1.0  # how long it is expected to take, as in Durations of framework.scheduler.estimate
    lost_at: float | None = None  # its worker is gone: it is lost at this time, unless its result arrives

    def start(self, now: float) -> None:
        """Note that it runs; the first time counts."""
        self.started = True
        self.began = now if self.began is None else self.began


@dataclass
class WorkerHost:
    """One worker host."""

    name: str
    slots: int
    incarnation: str  # the current one of its worker; empty before its first heartbeat
    last_heartbeat: float
    notice: str = ""  # what its worker wants a person to know
    unfit: bool = False  # it can never run a task of this project; the notice gives the reason
    use: HostUse = UNKNOWN_USE
    sent: dict[str, SentAttempt] = field(default_factory=dict)  # by task

    @property
    def running(self) -> int:
        """The number of attempts that have started."""
        return sum(attempt.started for attempt in self.sent.values())

    def room(self, window: int) -> int:
        """The number of attempts that it may be sent, with so many for each slot."""
        return self.slots * window - len(self.sent)


class WorkerHosts:
    """All hosts that have sent a heartbeat to this master, or were sent an attempt by an earlier one."""

    def __init__(
        self,
        lease: float = LEASE_SECONDS,
        most: int = MOST_HOSTS,
        is_drained: Callable[[str, float], bool] = lambda _, __: False,
    ) -> None:
        self.lease = lease
        self.most = most
        self.is_drained = is_drained
        self.lost: Counter[str] = Counter()  # attempts, by host; reset() forgets none of them
        self._hosts: dict[str, WorkerHost] = {}
        self._host_of: dict[str, str] = {}  # by task
        self._copied_at: dict[str, str] = {}  # by task with a copy under way: the host of what was copied
        self._next_expiry = 0.0  # no lease ends before
        self._next_forgetting = 0.0
        self._has_warned = False

    def __iter__(self) -> Iterator[WorkerHost]:
        return iter(self._hosts.values())

    def __contains__(self, name: str) -> bool:
        return name in self._hosts

    @property
    def attempts(self) -> list[SentAttempt]:
        """The attempts of all hosts."""
        return [attempt for host in self for attempt in host.sent.values()]

    @property
    def under_way(self) -> list[SentAttempt]:
        """The attempts of all hosts, one for each task: without those of which a copy is under way."""
        return [self._hosts[host].sent[task] for task, host in self._host_of.items()]

    @property
    def have_attempts(self) -> bool:
        """True if any host has an attempt."""
        return bool(self._host_of)

    def reset(self) -> None:
        """Forget all hosts, and all that was sent to them."""
        self._hosts.clear()
        self._host_of.clear()
        self._copied_at.clear()
        self._next_expiry = 0.0

    def get(self, task: str) -> SentAttempt | None:
        """The attempt of a task that was sent and has not ended."""
        host = self._host_of.get(task)
        return self._hosts[host].sent[task] if host else None

    def copied(self, task: str) -> SentAttempt | None:
        """The attempt of a task of which a copy is under way; None if there is none."""
        host = self._copied_at.get(task)
        return self._hosts[host].sent[task] if host else None

    def held(self, attempt: AttemptId) -> SentAttempt | None:
        """This attempt, if it is under way or was copied."""
        both = (self.get(attempt.task), self.copied(attempt.task))
        return next((each for each in both if each is not None and each.id == attempt), None)

    def add(self, attempt: SentAttempt) -> None:
        """Note that an attempt was sent; an unknown host has no slots until it sends a heartbeat.

        If another one of its task is under way, on another host, it is a copy of that one, which has no lease
        meanwhile: it is not replaced while its copy runs.
        """
        if before := self._host_of.get(attempt.id.task):
            self._copied_at[attempt.id.task] = before
        host = self._hosts.setdefault(attempt.host, WorkerHost(attempt.host, 0, "", attempt.seen))
        host.sent[attempt.id.task] = attempt
        self._host_of[attempt.id.task] = attempt.host
        self._next_expiry = min(self._next_expiry, self._expiry(attempt))

    def remove(self, attempt: SentAttempt) -> None:
        """Forget an attempt that has ended, or was lost; what it was a copy of is under way again."""
        task = attempt.id.task
        del self._hosts[attempt.host].sent[task]
        copied_at = self._copied_at.pop(task, None)
        if self._host_of[task] == attempt.host:
            del self._host_of[task]
            if copied_at:
                self.add(self._hosts[copied_at].sent[task])

    def end(self, task: str) -> list[SentAttempt]:
        """Forget a task that has ended; returns its attempts, the one under way first."""
        hosts = [each for each in (self._host_of.pop(task, None), self._copied_at.pop(task, None)) if each]
        return [self._hosts[host].sent.pop(task) for host in hosts]

    def may_know(self, name: str, now: float) -> bool:
        """False for one host too many: nobody has so many, somebody invents them."""
        if name in self._hosts or len(self._hosts) < self.most:
            return True
        self.forget_silent(now, self.lease)
        if len(self._hosts) < self.most:
            return True
        if not self._has_warned:
            log.warning(
                "%d hosts are known: heartbeats of %s and other new ones are ignored", self.most, name
            )
            self._has_warned = True
        return False

    def forget_silent(self, now: float, seconds: float = FORGET_SECONDS) -> list[str]:
        """Forget hosts that have nothing, and have sent no heartbeat for so long; returns their names."""
        if now < self._next_forgetting:
            return []
        self._next_forgetting = now + self.lease
        silent = [host.name for host in self if not host.sent and now - host.last_heartbeat > seconds]
        for name in silent:
            del self._hosts[name]
        return silent

    def take_heartbeat(self, heartbeat: Heartbeat, now: float) -> None:
        """Renew the leases of what a heartbeat names; what an earlier incarnation ran is gone with it."""
        name, incarnation = heartbeat.source.host, heartbeat.incarnation
        host = self._hosts.setdefault(name, WorkerHost(name, heartbeat.slots, incarnation, now))
        restarted = host.incarnation not in ("", incarnation)
        host.slots, host.incarnation, host.last_heartbeat = heartbeat.slots, incarnation, now
        host.notice, host.unfit, host.use = heartbeat.notice, heartbeat.unfit, heartbeat.use
        for attempt in host.sent.values():
            if attempt.id in heartbeat.running or attempt.id in heartbeat.reserved:
                attempt.seen, attempt.lost_at = now, None
                if attempt.id in heartbeat.running:
                    attempt.start(now)
            elif restarted and attempt.started and attempt.lost_at is None:
                attempt.lost_at = now + RESTART_GRACE_SECONDS
                self._next_expiry = min(self._next_expiry, attempt.lost_at)
            elif restarted:
                attempt.seen = now  # its message is in the queue again

    def is_alive(self, name: str, now: float) -> bool:
        """True if the host has sent a heartbeat within a lease."""
        host = self._hosts.get(name)
        return host is not None and now - host.last_heartbeat <= self.lease

    def expired(self, now: float) -> dict[str, list[SentAttempt]]:
        """By host, the attempts that no worker has held for a lease.

        If the host is alive, they may still wait in its queue.
        """
        by_host: dict[str, list[SentAttempt]] = {}
        if now < self._next_expiry:
            return by_host
        self._next_expiry = now + self.lease  # of an attempt that is sent from now on
        for attempt in self.under_way:
            self._next_expiry = min(self._next_expiry, self._expiry(attempt))
            if (attempt.lost_at is not None and now >= attempt.lost_at) or now - attempt.seen > self.lease:
                by_host.setdefault(attempt.host, []).append(attempt)
        return by_host

    def is_held(self, attempt: SentAttempt) -> bool:
        """True if the last heartbeat of its host has named this attempt: no result of it is on its way."""
        return attempt.seen >= self._hosts[attempt.host].last_heartbeat

    def waiting(self, name: str) -> set[AttemptId]:
        """The attempts of a host that have not started."""
        host = self._hosts.get(name)
        return {each.id for each in host.sent.values() if not each.started} if host else set()

    def _expiry(self, attempt: SentAttempt) -> float:
        ends = attempt.seen + self.lease
        return ends if attempt.lost_at is None else min(ends, attempt.lost_at)

    def renew(self, now: float) -> None:
        """Restart all leases: the master itself could not receive heartbeats until now."""
        for host in self:
            host.last_heartbeat = now
            for attempt in host.sent.values():
                attempt.seen = now

    def usable(self, now: float) -> set[str]:
        """The live hosts that have slots, free or not, and are not drained."""
        return {host.name for host in self if self._has_use(host, now)}

    def are_unfit(self) -> bool:
        """True if every known host can never run a task, and has none."""
        return bool(self._hosts) and all(host.unfit and not host.sent for host in self)

    def live_slots(self, now: float) -> int:
        return sum(self.slots(now).values())

    def slots(self, now: float) -> dict[str, int]:
        """The slots of each usable host."""
        return {host.name: host.slots for host in self if self._has_use(host, now)}

    def _has_use(self, host: WorkerHost, now: float) -> bool:
        is_drained = self.is_drained(host.name, now)
        return host.slots > 0 and not is_drained and self.is_alive(host.name, now)
