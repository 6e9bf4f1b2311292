"""A sweep of which one task takes long and is copied: for the tests of copies."""

from __future__ import annotations

from master_bench import Bench, Clock

from framework.messages.assignment import Assignment

SECONDS = 60.0  # of a usual task


class Straggler:
    """A sweep of six tasks: five are done on host b, the first one runs on host a for longer."""

    def __init__(self, bench: Bench, clock: Clock, restarts: bool = False, more: str = "") -> None:
        """`restarts`: another master before each turn."""
        self.bench = bench
        self.clock = clock
        self.restarts = False
        bench.write_project(x="[1, 2, 3, 4, 5, 6]", more=more)
        bench.master = bench.start()
        bench.messenger.beat("a", slots=1)
        ((_, self.first),) = bench.turn()
        bench.messenger.beat("b", slots=5)
        self.held = {"a": [self.first], "b": [assignment for _, assignment in bench.turn()]}
        self.slots = {"a": 1, "b": 5}
        for each in list(self.held["b"]):
            self.end("b", each)
        bench.messenger.started("a", self.first)
        self.turn()
        self.restarts = restarts

    @property
    def copy(self) -> Assignment:
        """The copy, which host b holds."""
        ((copy),) = self.held["b"]
        return copy

    def end(self, host: str, attempt: Assignment, state: str = "done", seconds: float = SECONDS) -> None:
        """The result of an attempt comes; of its host, heartbeats name it no longer."""
        if attempt in self.held[host]:
            self.held[host].remove(attempt)
        self.bench.messenger.result(host, attempt, state, seconds)

    def turn(self, *silent: str, waited: float = 3.0) -> list[tuple[str, Assignment]]:
        """Heartbeats of all hosts that are not silent, and one turn of the master."""
        if self.restarts:
            self.bench.master = self.bench.start()
        self.clock.now += waited
        for host, held in self.held.items():
            if host not in silent:
                names = [str(each.id) for each in held]
                self.bench.messenger.beat(host, self.slots[host], names)
        sent = self.bench.turn()
        for host, assignment in sent:
            self.held[host].append(assignment)
        return sent

    def is_copied(self) -> Straggler:
        """Let so much time pass that the straggler is copied."""
        ((host, copy),) = self.turn(waited=2 * SECONDS)
        assert (host, copy.task, copy.attempt) == ("b", self.first.task, 2)
        self.bench.messenger.started("b", copy)
        assert self.turn() == []
        return self

    @property
    def states(self) -> list[str]:
        return self.bench.attempts(self.first.task)

    @property
    def stopped(self) -> list[tuple[str, int]]:
        """What was told to stop since this was asked last: host, and number of the attempt."""
        orders = [(host, int(name.rpartition(".")[2])) for host, name in self.bench.messenger.stopped]
        self.bench.messenger.stopped.clear()
        return orders

    def row(self) -> tuple[str, str]:
        """State and host of the task in results.csv, in which it is the only one of its combination."""
        (row,) = [row for row in self.bench.rows() if row["task"] == self.first.task]
        return row["state"], row["host"]

    def events(self) -> list[str]:
        return [event.text for event in self.bench.status().events if event.kind == "copy"]
