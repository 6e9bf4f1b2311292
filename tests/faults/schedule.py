"""A random schedule of faults, the same for the same seed; and which repeats of tasks such faults explain."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import pytest
from checkout import at
from sets import MASTER, WORKERS, Attempt, TaskSet
from testbed import Bed, Host, docker, wait_for

Role = Literal["worker", "runner", "broker", "master", "host"]


@dataclass(frozen=True)
class Kind:
    """One way in which something fails."""

    name: Literal["crash", "kill", "restart", "pause", "cut", "power"]
    weight: int
    of_hosts: bool  # or of containers
    shortest: float  # seconds
    longest: float


ROLES: tuple[Role, ...] = ("worker", "worker", "runner", "broker", "master")  # one is drawn
KINDS = (
    Kind("crash", 5, False, 0, 0),  # SIGKILL to the first process of a container: Docker starts it again
    Kind("kill", 4, False, 2, 15),  # `docker kill`, and later `docker start`
    Kind("restart", 3, False, 0, 0),  # `docker restart`
    Kind("pause", 4, False, 5, 40),  # `docker pause`
    Kind("cut", 3, True, 3, 40),  # of the network
    Kind("power", 2, True, 3, 20),
)
LONGEST_LULL = 8.0  # seconds between the beginnings of two faults
REST = 5.0, 20.0  # seconds from the end of a fault to the next one there: of containers, of hosts
LEASE_SECONDS = 30.0
# From the end of a fault until what it hit is heard of again, and from one beat to the next. TCP doubles its
# pauses: what was cut off for 13 s is heard of 26 s after it began.
SLACK_SECONDS = 18.0


@dataclass(frozen=True)
class Fault:
    """What is to happen."""

    at: float  # seconds from the beginning of the schedule
    kind: Kind
    host: Host
    role: Role
    seconds: float  # until it is undone

    def __str__(self) -> str:
        lasts = f" for {self.seconds:.0f} s" if self.seconds else ""
        what = self.host.name if self.kind.of_hosts else f"{self.role} on {self.host.name}"
        return f"{self.kind.name} of {what}{lasts}"

    @property
    def hits(self) -> set[tuple[Host, Role]]:
        """The containers that it hits."""
        if not self.kind.of_hosts:
            return {(self.host, self.role)}
        both: set[tuple[Host, Role]] = {(self.host, "worker"), (self.host, "runner")}
        return both | MASTERS if self.host == MASTER else both

    def ends_tasks(self, host: str) -> bool:
        """Does what runs on this host end with it?"""
        return (
            self.host.name == host
            and self.role in ("runner", "host")
            and self.kind.name not in ("pause", "cut")
        )

    def silences(self, host: str) -> bool:
        """Is the worker of this host out of the master's reach meanwhile, whatever the broker does?"""
        if self.host.name == host:
            return self.role in ("worker", "host")
        return self.host == MASTER and self.kind.name == "cut"


MASTERS: set[tuple[Host, Role]] = {(MASTER, "broker"), (MASTER, "master")}


def draw(seed: int, seconds: float) -> list[Fault]:
    """The faults of a schedule that lasts so many seconds, in the order in which they begin."""
    chance = random.Random(seed)
    faults: list[Fault] = []
    free: dict[tuple[Host, Role], float] = {}
    when = 0.0
    while (when := when + chance.uniform(1, LONGEST_LULL)) < seconds:
        (kind,) = chance.choices(KINDS, [kind.weight for kind in KINDS])
        role: Role = "host" if kind.of_hosts else chance.choice(ROLES)
        host = MASTER if role in ("broker", "master") else chance.choice(WORKERS)
        # The long ones are rare.
        lasts = kind.shortest + (kind.longest - kind.shortest) * chance.random() ** 3
        fault = Fault(when, kind, host, role, min(lasts, seconds - when))
        if all(free.get(target, 0.0) <= when for target in fault.hits):
            faults.append(fault)
            free |= dict.fromkeys(fault.hits, when + fault.seconds + REST[kind.of_hosts])
    return faults


@dataclass(frozen=True)
class Happening:
    """A fault that has happened. Times are seconds since the epoch."""

    fault: Fault
    began: float
    ended: float

    def recovery(self, attempts: Sequence[Attempt], others: Sequence[Happening]) -> float | None:
        """Seconds from its end until something ran, where it hit, that was sent after it.

        None if nothing did, or if another fault there, or of broker or master, came before.
        """
        hosts = {host.name for host, role in self.fault.hits if role in ("worker", "runner")}
        if self.fault.hits & MASTERS:
            hosts = {host.name for host in WORKERS}
        starts = [
            attempt.started
            for attempt in attempts
            if attempt.host in hosts and attempt.started and attempt.sent and attempt.sent > self.ended
        ]
        if not starts:
            return None
        for other in others:
            concerns = other.fault.hits & (MASTERS | self.fault.hits)
            if concerns and other.ended > self.ended and other.began < min(starts):
                return None
        return min(starts) - self.ended


@dataclass(frozen=True)
class Silence:
    """A worker is not heard. Times are seconds since the epoch."""

    began: float
    ended: float
    of_host: bool  # and not only because broker or master are away, which repeats nothing

    def __or__(self, other: Silence) -> Silence:
        return Silence(
            min(self.began, other.began), max(self.ended, other.ended), self.of_host or other.of_host
        )

    @property
    def seconds(self) -> float:
        return self.ended - self.began


class Chaos:
    """Lets faults happen to an infrastructure."""

    def __init__(self, tasks: TaskSet, faults: Sequence[Fault]) -> None:
        self._tasks = tasks
        self._bed: Bed = tasks.bed
        self._faults = faults
        self.happened: list[Happening] = []

    def run(self) -> None:
        """All of them, each at its time; returns when all are undone."""
        began = time.monotonic()
        with ThreadPoolExecutor(max_workers=len(WORKERS) + 3) as pool:
            under_way = []
            for fault in self._faults:
                time.sleep(max(0.0, began + fault.at - time.monotonic()))
                under_way.append(pool.submit(self._happen, fault))
        self.happened = [each.result() for each in under_way]

    def explains(self, host: str, since: float, until: float) -> bool:
        """Did the runner of a host end between these times, or was its worker out of reach for a lease?"""
        return any(
            each.fault.ends_tasks(host) and each.ended > since and each.began < until
            for each in self.happened
        ) or any(
            silence.of_host
            and silence.seconds > LEASE_SECONDS - SLACK_SECONDS
            and silence.ended > since
            and silence.began < until
            for silence in self._silences(host)
        )

    def _silences(self, host: str) -> list[Silence]:
        """When the master could not hear a worker: faults that follow each other closely are one."""
        found: list[Silence] = []
        for each in sorted(self.happened, key=lambda each: each.began):
            of_host = each.fault.silences(host)
            if not of_host and each.fault.role not in ("broker", "master"):
                continue
            silence = Silence(each.began, each.ended, of_host)
            if found and each.began <= found[-1].ended + SLACK_SECONDS:
                silence = found.pop() | silence
            found.append(silence)
        return found

    def _happen(self, fault: Fault) -> Happening:
        print(f"{time.strftime('%X')} {fault}", flush=True)
        began = time.time()
        with self._fault(fault):
            time.sleep(fault.seconds)
        return Happening(fault, began, time.time())

    @contextmanager
    def _fault(self, fault: Fault) -> Iterator[None]:
        container = self._tasks.role(fault.role)
        match fault.kind.name:
            case "crash":
                self._bed.inside(fault.host, "kill", "-9", self._process(fault))
                yield
            case "kill":
                self._docker(fault, "kill", container)
                yield
                self._docker(fault, "start", container)
            case "restart":
                self._docker(fault, "restart", container)
                yield
            case "pause":
                self._docker(fault, "pause", container)
                yield
                self._docker(fault, "unpause", container)
            case "cut":
                with cut(self._bed, fault.host):
                    yield
            case "power":
                self._bed.cut_power(fault.host)
                yield
                self._bed.restore_power(fault.host)

    def _docker(self, fault: Fault, verb: str, container: str) -> None:
        if verb in ("kill", "pause", "restart"):
            self._process(fault)
        at(self._bed, fault.host, verb, container)

    def _process(self, fault: Fault) -> str:
        """The first process of the container that is to be hit: it may have to be up again first."""
        found = "0"

        def runs() -> bool:
            nonlocal found
            found = self._tasks.first_process(fault.host, fault.role)
            return found != "0"

        wait_for(f"{fault.role} on {fault.host.name} runs", runs)
        return found


@contextmanager
def cut(bed: Bed, host: Host) -> Iterator[None]:
    """Without its network."""
    docker("network", "disconnect", bed.network, bed.container(host))
    try:
        yield
    finally:
        docker("network", "connect", "--ip", bed.address(host), bed.network, bed.container(host))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the random schedule."""
    group = parser.getgroup("the random schedule of faults")
    group.addoption(
        "--minutes", type=float, default=1.5, help="how long faults happen (default: %(default)s)"
    )
    group.addoption("--tasks", type=int, help="how many (default: 200 a minute; fewer take longer)")
    group.addoption(
        "--seed", type=int, default=random.randrange(10**6), help="default: another one each time"
    )
