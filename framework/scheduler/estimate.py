"""Estimate of how long the rest of a sweep takes.

The rest is played through several times: each slot takes the next task when it is free, and a task takes as
long as one that has ended, on a host as fast as its own tasks show. So the speeds of the hosts count, and the
end, at which slots are idle while the last tasks run. Tasks that run count, too, as ones that take longer
than until now (the estimator of Kaplan and Meier): else a sweep would seem short while its long tasks run.
"""

from __future__ import annotations

import heapq
import itertools
import random
import statistics
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from framework.journal.records import TimedTask
from framework.messages.status import FEW_KNOWN, Estimate

LATEST = 1000  # tasks whose durations count
MORE_HOSTS = 2  # of the fastest kind, of which it is said what they would save

_DRAWN = 200  # durations that one play draws from
_PLAYS = 21
_MOST_STEPS = 100_000  # tasks that all plays together hand out one by one
_PRIOR = 2  # tasks of average duration that each host is taken to have done besides its own
_WORTH_SAYING = 0.05  # part of the rest that more hosts would save
_LEAST = 1e-6
_SPENT, _SPENT_AT_ONCE = 0.02, 0.2  # part of the time, and seconds, that estimates may take


@dataclass(frozen=True)
class RunningTask:
    """A task that runs."""

    host: str
    elapsed: float  # seconds until now
    size: float = 1.0  # as in Durations.add


@dataclass(frozen=True)
class Known:
    """What is known of the duration of a task: as long as this, or longer if it has not ended."""

    host: str
    seconds: float
    size: float
    has_ended: bool


class Durations:
    """Durations of the latest tasks that have ended, and so the speeds of the hosts."""

    def __init__(self, timed: Iterable[TimedTask] = ()) -> None:
        """`timed`: tasks, the oldest first."""
        self._latest: deque[tuple[str, float, float]] = deque(maxlen=LATEST)
        for task in timed:
            self.add(task.host, task.seconds)

    def __len__(self) -> int:
        return len(self._latest)

    def add(self, host: str, seconds: float, size: float = 1.0) -> None:
        """Count a task that has ended; `size`: how long it was expected to take, in any unit."""
        self._latest.append((host, seconds, size))

    @property
    def median(self) -> float | None:
        return statistics.median(seconds for _, seconds, _ in self._latest) if self._latest else None

    def known(self, running: Iterable[RunningTask] = ()) -> list[Known]:
        """These tasks, and those that run."""
        ended = [Known(host, seconds, size, True) for host, seconds, size in self._latest]
        return ended + [Known(task.host, task.elapsed, task.size, False) for task in running]


class Speeds:
    """Seconds for a task of size 1 on each host, and how durations differ from that."""

    def __init__(self, known: Sequence[Known]) -> None:
        """Some of `known` have ended."""
        self._seconds: dict[str, float] = {}
        self._sizes: dict[str, float] = {}  # of what has ended
        for task in known:
            self._seconds[task.host] = self._seconds.get(task.host, 0.0) + task.seconds
            if task.has_ended:
                self._sizes[task.host] = self._sizes.get(task.host, 0.0) + task.size
        sizes = sum(self._sizes.values())
        self._usual = sizes / sum(task.has_ended for task in known)
        self._mean = max(sum(self._seconds.values()) / sizes, _LEAST)
        self.ratios, self.weights = survival(
            (task.seconds / (task.size * self.of_host(task.host)), task.has_ended) for task in known
        )

    def of_host(self, host: str) -> float:
        """Seconds for size 1 on a host; near that of all hosts as long as it has done little."""
        prior = _PRIOR * self._usual
        seconds = self._seconds.get(host, 0.0) + prior * self._mean
        return max(seconds / (self._sizes.get(host, 0.0) + prior), _LEAST)

    def has_done(self, host: str) -> bool:
        """True if any task ended there."""
        return host in self._sizes


def survival(points: Iterable[tuple[float, bool]]) -> tuple[list[float], list[float]]:
    """Durations and their weights, from durations of what has ended (True), and of what goes on (False)."""
    ordered = sorted(points, key=lambda point: (point[0], not point[1]))
    durations, weights, left = [], [], 1.0
    for index, (duration, has_ended) in enumerate(ordered):
        at_risk = len(ordered) - index
        if has_ended:
            durations.append(duration)
            weights.append(left / at_risk)
            left -= left / at_risk
    # What has gone on for longer than anything that has ended may go on for as long again.
    longest = [duration for duration, _ in itertools.takewhile(lambda point: not point[1], reversed(ordered))]
    for duration in longest:
        durations.append(2 * duration)
        weights.append(left / len(longest))
    return durations, weights


def estimate(
    durations: Durations,
    slots: Mapping[str, int],
    running: Iterable[RunningTask],
    waiting: int,
    sizes: Sequence[float] = (),
) -> Estimate | None:
    """The expected rest; None if nothing can be known, as no task is done or no host has a slot.

    `slots`: by live host. `waiting`: tasks that have not begun; `sizes`: those of the next ones, in their
    order, where they are known. The same values give the same estimate.
    """
    slots, running = {host: number for host, number in slots.items() if number > 0}, list(running)
    if not len(durations) or not (running or waiting) or (waiting and not slots):
        return None
    usual = statistics.fmean(sizes) if sizes else 1.0
    all_sizes = [*sizes[:waiting], *itertools.repeat(usual, waiting - len(sizes))] if sizes else []
    known = durations.known(running)
    speeds = Speeds(known)
    rest = _Rest(known, running, waiting, all_sizes)
    ends = rest.play_all(slots)
    seconds = statistics.median(ends)
    like, saved = "", 0.0
    candidates = [host for host in slots if speeds.has_done(host)]
    if candidates and waiting and len(durations) >= FEW_KNOWN:
        like = max(sorted(candidates), key=lambda host: slots[host] / speeds.of_host(host))
        more = {**slots, **{f"{like}\0{number}": slots[like] for number in range(MORE_HOSTS)}}
        saved = seconds - statistics.median(rest.play_all(more))
        if saved < _WORTH_SAYING * seconds:
            like, saved = "", 0.0
    return Estimate(seconds, ends[len(ends) // 10], ends[-1 - len(ends) // 10], len(durations), like, saved)


class Budget:
    """Time that may be spent: a small part of all, and a little at the beginning."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._spent = 0.0

    @property
    def has_time(self) -> bool:
        passed = time.perf_counter() - self._began
        return self._spent <= _SPENT_AT_ONCE + _SPENT * passed

    @contextmanager
    def spend(self) -> Iterator[None]:
        """Count the time of a block."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._spent += time.perf_counter() - began


@dataclass(frozen=True)
class _Rest:
    """The rest of a sweep."""

    known: Sequence[Known]
    running: Sequence[RunningTask]
    waiting: int
    sizes: Sequence[float]  # of all that wait; empty: each is 1

    def play_all(self, slots: Mapping[str, int]) -> list[float]:
        """The ends of several plays, the earliest first."""
        chance = random.Random(0)
        in_bulk = max(0, self.waiting - 50 - 4 * sum(slots.values()))
        steps = len(self.running) + self.waiting - in_bulk
        plays = max(3, min(_PLAYS, _MOST_STEPS // max(steps, 1)))
        return sorted(self._play(slots, in_bulk, chance) for _ in range(plays))

    def _play(self, slots: Mapping[str, int], in_bulk: int, chance: random.Random) -> float:
        # As little is known, others might be: each play has its own choice of what is.
        known = chance.choices(self.known, k=len(self.known))
        if not any(task.has_ended for task in known):
            known = list(self.known)
        speeds = Speeds(known)
        ratios = chance.choices(speeds.ratios, speeds.weights, k=_DRAWN)
        seconds = {host: speeds.of_host(host.partition("\0")[0]) for host in slots}
        free = [(0.0, host) for host, number in slots.items() for _ in range(number)]
        taken: dict[str, list[float]] = {}
        end = 0.0
        for task in self.running:
            mean = task.size * speeds.of_host(task.host)
            longer = [mean * ratio - task.elapsed for ratio in ratios if mean * ratio > task.elapsed]
            rest = chance.choice(longer) if longer else task.elapsed * chance.random()
            taken.setdefault(task.host, []).append(rest)
            end = max(end, rest)
        for index, (_, host) in enumerate(free):
            if taken.get(host):
                free[index] = (taken[host].pop(), host)
        if in_bulk:  # until then all slots are busy
            rate = sum(number / seconds[host] for host, number in slots.items())
            work = sum(self.sizes[:in_bulk]) if self.sizes else in_bulk
            joining = sum(at / seconds[host] for at, host in free)  # slots of what runs are free later
            passed = (work * statistics.fmean(ratios) + joining) / rate
            free = [(max(at, passed), host) for at, host in free]
        heapq.heapify(free)
        for index in range(in_bulk, self.waiting):
            at, host = free[0]
            at += (self.sizes[index] if self.sizes else 1.0) * seconds[host] * chance.choice(ratios)
            heapq.heapreplace(free, (at, host))
            end = max(end, at)
        return end
