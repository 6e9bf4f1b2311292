"""Allocator of slots, ports, CPUs, memory and GPUs to tasks.

A GPU on which no task of ours runs is handed out only if a look that began after our last task left it has
seen no other process there. On a GPU that a task of ours has, other processes cannot be told from that task.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from typing import Any, Protocol

from framework.errors import MessageError
from framework.messages.host_use import GpuUse, HostUse
from framework.project.resources import Capacity, Resources
from framework.worker.devices import Look
from framework.worker.gpu import NVIDIA, Gpu
from framework.worker.ports import Ports


class DeviceSource(Protocol):
    """The devices of a host; devices.Devices is one."""

    cpus: Fraction
    memory: int  # bytes
    gpu_kind: str

    def look(self, since: float = -math.inf) -> Look: ...


@dataclass(frozen=True, eq=False)
class Allocation:
    """Devices that a task has."""

    needs: Resources
    cpus: Fraction  # number of CPUs that it counts for
    gpus: tuple[str, ...]  # UUIDs
    slot: int = 0  # number that no other running task has
    port: int | None = None  # port that no other running task has
    threads: int = 1  # threads that a library should start
    gpu_kind: str = NVIDIA

    @property
    def share(self) -> Fraction:
        """The share of each of its GPUs."""
        return min(self.needs.gpus, Fraction(1))

    def to_message(self) -> dict[str, Any]:
        needs = self.needs
        return {
            "gpus": str(needs.gpus),
            "cpus": None if needs.cpus is None else str(needs.cpus),
            "memory": needs.memory,
            "gpu_memory": needs.gpu_memory,
            "counted_cpus": str(self.cpus),
            "devices": list(self.gpus),
            "slot": self.slot,
            "port": self.port,
        }

    @classmethod
    def from_message(cls, message: Any) -> Allocation:
        """What a later worker has to count. Raises MessageError.

        An older worker's has neither slot nor port nor GPU memory.
        """
        try:
            cpus = message["cpus"]
            needs = Resources(
                Fraction(message["gpus"]),
                None if cpus is None else Fraction(cpus),
                message["memory"],
                message.get("gpu_memory", 0),
            )
            counted, devices = Fraction(message["counted_cpus"]), tuple(message["devices"])
            return cls(needs, counted, devices, message.get("slot", 0), message.get("port"))
        except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise MessageError(f"not an allocation of devices: {message!r:.200}") from error


@dataclass(frozen=True)
class _Free:
    """What is free of one GPU."""

    share: Fraction
    memory: float  # MiB; infinite if it is not known

    def fits(self, needs: Resources) -> int:
        """The number of tasks of a kind that fit on it; of those that need more GPUs than one, 0 or 1."""
        gpu_memory = needs.gpu_memory / 2**20
        if needs.gpus > 1:
            return int(self.share == 1 and self.memory >= gpu_memory)
        shares = math.floor(self.share / needs.gpus)
        if not gpu_memory or self.memory == math.inf:
            return shares
        return min(shares, math.floor(self.memory / gpu_memory))


@dataclass(frozen=True)
class Room:
    """The number of tasks of a kind that a host has room for."""

    most: int  # at a time, if no other process used the GPUs
    now: int  # at a time: those that run, and those that still fit
    lacks: str  # the reason why none can ever run there; empty if one can, or if that is not known yet
    trouble: str  # what a person should know about the GPUs


class Allocator:
    """The devices of a host and their allocations. `limit`: tasks at a time at most; None: one for each CPU.

    All methods may be called from any thread.
    """

    def __init__(self, devices: DeviceSource, limit: int | None, ports: Ports | None = None) -> None:
        self._devices = devices
        self._limit = limit
        self._ports = ports or Ports()
        self._lock = threading.Lock()
        self._allocations: set[Allocation] = set()
        self._left: dict[str, float] = {}  # by GPU: when our last task on it ended
        self._not_idle: set[str] = set()  # GPUs that no look has seen idle since then

    def room(self, needs: Resources) -> Room:
        """The room for tasks with such needs."""
        look = self._look(needs)
        with self._lock:
            shares = self._shares()
            self._note_idle(look)
            free = self._free(look, or_not_seen=True)
            now = len(self._allocations) + self._fitting(needs, self._allocations, free)
            others = [
                self._trouble(gpu, needs)
                for gpu in look.gpus
                if gpu.uuid not in shares and self._has_seen(look, gpu)
            ]
        lacks = ""
        if look.is_known or not needs.gpus:
            gpus = [gpu.memory * 2**20 for gpu in look.gpus]
            lacks = Capacity(self._devices.cpus, self._devices.memory, gpus).lacks(needs)
        return Room(
            most=self._most(needs, look),
            now=now,
            lacks="; ".join(filter(None, [lacks, look.restriction, look.problem])) if lacks else "",
            trouble="; ".join(filter(None, [look.problem, *others])),
        )

    def use(self, needs: Resources) -> HostUse:
        """The load of the host, and the use of its GPUs if such tasks use any."""
        gpus = tuple(GpuUse(gpu.busy, gpu.used, gpu.memory) for gpu in self._look(needs).gpus)
        return HostUse(os.getloadavg()[0], float(self._devices.cpus), gpus)

    def allocate(self, needs: Resources) -> Allocation | None:
        """Devices for one task; None if they are not free now."""
        with self._lock:
            since = max(self._left.values(), default=-math.inf)
        look = self._look(needs, since)
        with self._lock:
            self._note_idle(look)
            allocation = self._allocation(needs, look)
            if allocation is not None:
                self._allocations.add(allocation)
            return allocation

    def restore(self, allocation: Allocation) -> None:
        """Count what a task has that was allocated by an earlier worker."""
        with self._lock:
            self._allocations.add(allocation)

    def release(self, allocation: Allocation) -> None:
        """Take the devices of a task back."""
        with self._lock:
            self._allocations.remove(allocation)
            for gpu in set(allocation.gpus) - self._shares().keys():
                self._left[gpu] = time.monotonic()
                self._not_idle.add(gpu)

    def _look(self, needs: Resources, since: float = -math.inf) -> Look:
        return self._devices.look(since) if needs.gpus else Look()

    def _allocation(self, needs: Resources, look: Look) -> Allocation | None:
        if self._limit is not None and len(self._allocations) >= self._limit:
            return None
        free = self._free(look)
        if self._fitting(needs, self._allocations, free) < 1:
            return None
        usable = [uuid for uuid, gpu in free.items() if gpu.fits(needs)] if needs.gpus else []
        usable.sort(key=lambda uuid: -free[uuid].share)  # shares are spread before they are stacked
        slots = {each.slot for each in self._allocations}
        return Allocation(
            needs,
            self._cpus(needs),
            tuple(usable[: math.ceil(needs.gpus)]),
            slot=next(slot for slot in count() if slot not in slots),
            port=self._ports.choose({each.port for each in self._allocations if each.port is not None}),
            threads=self._threads(needs, look),
            gpu_kind=self._devices.gpu_kind,
        )

    def _threads(self, needs: Resources, look: Look) -> int:
        """The threads of a task: its CPUs, or else its part of the host's, when as many run as can."""
        cpus = self._devices.cpus / self._most(needs, look) if needs.cpus is None else needs.cpus
        return max(1, math.floor(cpus))

    def _most(self, needs: Resources, look: Look) -> int:
        """The number of tasks that fit if nothing else is there."""
        everything = {gpu.uuid: _Free(Fraction(1), gpu.memory or math.inf) for gpu in look.gpus}
        return self._fitting(needs, set(), everything)

    def _fitting(self, needs: Resources, allocations: set[Allocation], gpus: Mapping[str, _Free]) -> int:
        """The number of tasks that fit beside `allocations`, with that free of the GPUs."""
        fitting = [sys.maxsize if self._limit is None else self._limit - len(allocations)]
        cpus = self._cpus(needs)
        if cpus:
            free_cpus = self._devices.cpus - sum(each.cpus for each in allocations)
            fitting.append(math.floor(free_cpus / cpus))
        if needs.memory:
            memory = self._devices.memory - sum(allocation.needs.memory for allocation in allocations)
            fitting.append(memory // needs.memory)
        if needs.gpus:
            places = sum(gpu.fits(needs) for gpu in gpus.values())
            fitting.append(places // max(1, math.ceil(needs.gpus)))
        return max(0, min(fitting))

    def _cpus(self, needs: Resources) -> Fraction:
        """The CPUs that a task counts for: one if it names none, or zero if a limit was given."""
        if needs.cpus is not None:
            return needs.cpus
        return Fraction(0) if self._limit else min(Fraction(1), self._devices.cpus)

    def _free(self, look: Look, or_not_seen: bool = False) -> dict[str, _Free]:
        """What is free of each GPU; `or_not_seen`: also of GPUs that our tasks have just left."""
        shares = self._shares()
        free = {}
        for gpu in look.gpus:
            memory = gpu.memory or math.inf
            if gpu.uuid in shares:
                # A task may not use yet what it asked for, or use more.
                taken = max(gpu.used, self._promised_memory(gpu))
                free[gpu.uuid] = _Free(1 - shares[gpu.uuid], max(0, memory - taken))
            elif self._has_seen(look, gpu):
                if not gpu.is_in_use:
                    free[gpu.uuid] = _Free(Fraction(1), max(0, memory - gpu.used))
            elif or_not_seen:
                free[gpu.uuid] = _Free(Fraction(1), memory)
        return free

    def _promised_memory(self, gpu: Gpu) -> float:
        """The MiB of a GPU that its tasks have asked for."""
        return sum(each.needs.gpu_memory for each in self._allocations if gpu.uuid in each.gpus) / 2**20

    def _has_seen(self, look: Look, gpu: Gpu) -> bool:
        """True if a look saw the GPU without our tasks: it began after the last of them had ended."""
        return look.began >= self._left.get(gpu.uuid, -math.inf)

    def _note_idle(self, look: Look) -> None:
        """Note GPUs that the look saw idle: whatever uses them from now on is of others."""
        for gpu in look.gpus:
            if not gpu.is_in_use and self._has_seen(look, gpu):
                self._not_idle.discard(gpu.uuid)

    def _trouble(self, gpu: Gpu, needs: Resources) -> str:
        """The reason why a GPU is not handed out although no task of ours has it; empty if it is."""
        if not gpu.is_in_use:
            needed = needs.gpu_memory / 2**20
            if gpu.memory - gpu.used < needed <= gpu.memory:
                return f"{gpu} has too little memory free: {gpu.used} of its {gpu.memory} MiB are in use"
            return ""
        if gpu.uuid in self._not_idle:
            return (
                f"{gpu} is not free yet: {gpu.used} of its {gpu.memory} MiB have been in use since a task of "
                "this sweep ended on it"
            )
        return f"{gpu} is left alone, others use {gpu.used} of its {gpu.memory} MiB"

    def _shares(self) -> dict[str, Fraction]:
        """The allocated share of each GPU."""
        shares: dict[str, Fraction] = {}
        for allocation in self._allocations:
            for gpu in allocation.gpus:
                shares[gpu] = shares.get(gpu, Fraction(0)) + allocation.share
        return shares
