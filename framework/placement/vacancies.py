"""Vacancies: live hosts with room, while attempts are assigned one after the other."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterator, Mapping
from types import MappingProxyType

from framework.placement.hosts import WorkerHosts
from framework.placement.window import ONE_SPARE

_NO_LIMITS: Mapping[str, int] = MappingProxyType({})


class Vacancies:
    """Hosts with room, the one with the most first; looks at all hosts once, not for each attempt."""

    def __init__(
        self,
        hosts: WorkerHosts,
        now: float,
        window: int,
        limits: Mapping[str, int] = _NO_LIMITS,
        is_proven: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """`window`: attempts for each slot; of a host that is not proven, no more than one for each may wait.

        `limits`: how many attempts some hosts may have at most.
        """
        self.total = 0  # attempts that all hosts may be sent
        self._room: dict[str, int] = {}  # by host
        self._more: dict[str, int] = {}  # by host: how many it may be sent; its room, unless it has a limit
        usable = hosts.usable(now)
        for host in hosts:
            if host.name in usable:
                own = window if window <= ONE_SPARE or is_proven(host.name) else ONE_SPARE
                room, limit = host.room(own), limits.get(host.name)
                more = room if limit is None else min(room, limit - len(host.sent))
                if more > 0:
                    self._room[host.name], self._more[host.name] = room, more
                    self.total += more
        # Each host with its room now; an entry that says something else of a host is out of date.
        self._heap = [(-room, name) for name, room in self._room.items()]
        heapq.heapify(self._heap)

    def __bool__(self) -> bool:
        return self.total > 0

    def __iter__(self) -> Iterator[str]:
        """The names of the hosts with room."""
        return iter(self._room)

    def best(self, avoid: Collection[str] = ()) -> str | None:
        """The host with the most room, none of `avoid` if possible; None if none has room."""
        avoided = []
        while top := self._top():
            if top[1] not in avoid:
                break
            avoided.append(heapq.heappop(self._heap))
        for entry in avoided:
            heapq.heappush(self._heap, entry)
        best = top or (avoided[0] if avoided else None)
        return best[1] if best else None

    def take(self, name: str) -> None:
        """Note that an attempt is assigned to a host that has room."""
        self.total -= 1
        self._room[name] -= 1
        self._more[name] -= 1
        if self._more[name]:
            heapq.heappush(self._heap, (-self._room[name], name))
        else:
            del self._room[name], self._more[name]

    def _top(self) -> tuple[int, str] | None:
        while self._heap and self._room.get(self._heap[0][1]) != -self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0] if self._heap else None
