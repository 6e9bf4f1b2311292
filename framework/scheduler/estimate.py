"""Estimate of how long the rest of a sweep takes, from the durations of tasks that have ended.

The rest is played through several times: each slot takes the next task when it is free, and a task takes as
long as one that has ended, on a host as fast as its own tasks show. So the speeds of the hosts count, and the
end, at which slots are idle while the last tasks run.
"""

from __future__ import annotations

import heapq
import random
import statistics
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from framework.messages.status import FEW_KNOWN, Estimate

LATEST = 1000  # tasks whose durations count
MORE_HOSTS = 2  # of the fastest kind, of which it is said what they would save

_DRAWN = 200  # durations that one play draws from
_PLAYS = 15
_MOST_STEPS = 100_000  # tasks that all plays together hand out one by one
_PRIOR = 2  # tasks of average duration that each host is taken to have done besides its own
_WORTH_SAYING = 0.05  # part of the rest that more hosts would save


class Durations:
    """Durations of the latest tasks that have ended, and so the speeds of the hosts."""

    def __init__(self, known: Iterable[tuple[str, float]] = ()) -> None:
        """`known`: hosts and seconds, the oldest first."""
        self._latest: deque[tuple[str, float]] = deque(maxlen=LATEST)
        self._sums: dict[str, float] = {}  # by host
        self._counts: dict[str, int] = {}
        for host, seconds in known:
            self.add(host, seconds)

    def __len__(self) -> int:
        return len(self._latest)

    def add(self, host: str, seconds: float) -> None:
        """Count a task that has ended."""
        if len(self._latest) == LATEST:
            old_host, old_seconds = self._latest[0]
            self._sums[old_host] -= old_seconds
            self._counts[old_host] -= 1
        self._latest.append((host, seconds))
        self._sums[host] = self._sums.get(host, 0.0) + seconds
        self._counts[host] = self._counts.get(host, 0) + 1

    @property
    def mean(self) -> float:
        return max(sum(self._sums.values()) / len(self._latest), 1e-6) if self._latest else 0.0

    @property
    def median(self) -> float | None:
        return statistics.median(seconds for _, seconds in self._latest) if self._latest else None

    def of_host(self, host: str) -> float:
        """The mean of a host, near that of all hosts as long as it has done little."""
        total, count = self._sums.get(host, 0.0), self._counts.get(host, 0)
        return max((total + _PRIOR * self.mean) / (count + _PRIOR), 1e-6)

    def has_done(self, host: str) -> bool:
        """True if any of them ended there."""
        return self._counts.get(host, 0) > 0

    def ratios(self) -> list[float]:
        """Durations as parts of the means of their hosts."""
        means = {host: self.of_host(host) for host in self._sums}
        return [seconds / means[host] for host, seconds in self._latest]


def estimate(
    durations: Durations, slots: Mapping[str, int], running: Iterable[tuple[str, float]], waiting: int
) -> Estimate | None:
    """The expected rest; None if nothing can be known, as no task is done or no host has a slot.

    `slots`: by live host. `running`: host of each task that runs, and the seconds until now. `waiting`: tasks
    that have not begun. The same values give the same estimate.
    """
    slots, running = {host: number for host, number in slots.items() if number > 0}, list(running)
    if not len(durations) or not (running or waiting) or (waiting and not slots):
        return None
    ends = _play_all(durations, slots, running, waiting)
    seconds = statistics.median(ends)
    few = len(durations) < FEW_KNOWN
    like, saved = "", 0.0
    candidates = [host for host in slots if durations.has_done(host)]
    if candidates and waiting and not few:
        like = max(sorted(candidates), key=lambda host: slots[host] / durations.of_host(host))
        more = {**slots, **{f"{like}\0{number}": slots[like] for number in range(MORE_HOSTS)}}
        saved = seconds - statistics.median(_play_all(durations, more, running, waiting))
        if saved < _WORTH_SAYING * seconds:
            like, saved = "", 0.0
    return Estimate(seconds, ends[len(ends) // 10], ends[-1 - len(ends) // 10], len(durations), like, saved)


def _play_all(
    durations: Durations, slots: Mapping[str, int], running: Sequence[tuple[str, float]], waiting: int
) -> list[float]:
    """The ends of several plays, the earliest first."""
    chance = random.Random(0)
    ratios = durations.ratios()
    number = min(_DRAWN, len(ratios))
    steps = len(running) + min(waiting, _tail(slots))
    plays = max(3, min(_PLAYS, _MOST_STEPS // max(steps, 1)))
    return sorted(
        _play(durations, slots, running, waiting, chance.choices(ratios, k=number), chance)
        for _ in range(plays)
    )


def _tail(slots: Mapping[str, int]) -> int:
    """The number of last tasks that a play hands out one by one; what comes before keeps all slots busy."""
    return 50 + 4 * sum(slots.values())


def _play(
    durations: Durations,
    slots: Mapping[str, int],
    running: Iterable[tuple[str, float]],
    waiting: int,
    ratios: Sequence[float],
    chance: random.Random,
) -> float:
    means = {host: durations.of_host(host.partition("\0")[0]) for host in slots}
    free = [(0.0, host) for host, number in slots.items() for _ in range(number)]
    taken: dict[str, list[float]] = {}
    end = 0.0
    for host, elapsed in running:
        mean = means.get(host) or durations.of_host(host)
        longer = [mean * ratio - elapsed for ratio in ratios if mean * ratio > elapsed]
        # One that runs longer than any other before may go on for as long again.
        rest = chance.choice(longer) if longer else elapsed * chance.random()
        taken.setdefault(host, []).append(rest)
        end = max(end, rest)
    for index, (_, host) in enumerate(free):
        if taken.get(host):
            free[index] = (taken[host].pop(), host)
    if not waiting:
        return end
    in_bulk = max(0, waiting - _tail(slots))
    if in_bulk:
        rate = sum(number / means[host] for host, number in slots.items())
        passed = in_bulk * statistics.fmean(ratios) / rate
        free = [(at + passed, host) for at, host in free]
    heapq.heapify(free)
    for _ in range(waiting - in_bulk):
        at, host = free[0]
        at += means[host] * chance.choice(ratios)
        heapq.heapreplace(free, (at, host))
        end = max(end, at)
    return end
