"""What the master itself costs for each short task, beside SQLite alone: run it by hand.

    python tests/benchmarks/master.py [--tasks N] [--hosts N] [--slots N] [--gather SECONDS] [--profile]

The real master runs a sweep; hosts and broker are in memory, and run no program. Two kinds of hosts:

- at once: each assignment has been answered by `Started` and its result when the master asks for messages.
- paced: each slot takes 0.7 ms for a task, one after the other, as a process that does nothing would. With
  --gather (0.02 by default) messages wait for each other that long; without it each wakes the master.

Printed for each: CPU of this process for a task, and its ratio to SQLite alone, which writes the same rows (a
task that is sent, and ends) and commits as often as the master took turns; both are measured in the same run.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import sqlite3
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from framework.files import MasterFiles
from framework.journal.store import Journal
from framework.master.master import Master
from framework.messages.assignment import Assignment, AttemptResult
from framework.messages.identity import Identity
from framework.messages.queues import EVENTS, RESULTS
from framework.messages.task_ids import AttemptId
from framework.messages.worker_events import HEARTBEAT_SECONDS, Heartbeat, Source, Started

TASK_SECONDS = 0.0007  # of /bin/true on one of two slots


@dataclass(frozen=True)
class Message:
    queue: str
    body: str
    headers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def delivery_info(self) -> Mapping[str, Any]:
        return {"routing_key": self.queue}

    def ack(self) -> None:
        pass


class Hosts:
    """Messenger of the master, and all hosts; those that answer at once have no pace."""

    def __init__(self, hosts: int, slots: int, pace: float, gather: float) -> None:
        self.cpu = 0.0  # seconds that this object has used itself
        self._names = [f"host{number}" for number in range(hosts)]
        self._slots = slots
        self._pace = pace
        self._gather = gather
        self._waiting: dict[str, deque[Assignment]] = {name: deque() for name in self._names}
        self._running: dict[str, deque[tuple[float, Assignment]]] = {name: deque() for name in self._names}
        self._free: dict[str, list[float]] = {name: [0.0] * slots for name in self._names}
        self._next_heartbeat = 0.0

    def receive(self, timeout: float) -> list[Any]:
        if self._pace:
            time.sleep(self._gather or self._pace / 2)
        began = time.process_time()
        messages = []
        if time.monotonic() >= self._next_heartbeat:
            messages = [self._beat(name) for name in self._names]
            self._next_heartbeat = time.monotonic() + HEARTBEAT_SECONDS
        ended = [(name, assignment) for name in self._names for assignment in self._ended(name)]
        messages += [self._started(name, assignment) for name, assignment in ended]
        messages += [self._result(name, assignment) for name, assignment in ended]
        self.cpu += time.process_time() - began
        return messages

    def _ended(self, name: str) -> list[Assignment]:
        waiting = self._waiting[name]
        if not self._pace:
            ended = list(waiting)
            waiting.clear()
            return ended
        now, running, free = time.monotonic(), self._running[name], self._free[name]
        while waiting and len(running) < 100 * self._slots:
            slot = free.index(min(free))
            free[slot] = max(free[slot], now - self._gather) + self._pace
            running.append((free[slot], waiting.popleft()))
        ended = []
        while running and running[0][0] <= now:
            ended.append(running.popleft()[1])
        return ended

    def send(self, host: str, assignment: Assignment) -> None:
        self._waiting[host].append(assignment)

    def stop(self, host: str, attempts: Sequence[AttemptId]) -> None:
        raise AssertionError("nothing is to be stopped")

    def hand_back(self, host: str, attempts: Sequence[AttemptId]) -> None:
        raise AssertionError("nothing is to be handed back")

    def waiting_for(self, host: str) -> int:
        return len(self._waiting[host])

    def pause(self, seconds: float) -> None:
        time.sleep(seconds)

    def purge(self, host: str) -> int:
        raise AssertionError("no host is silent")

    def close(self) -> None:
        pass

    def _beat(self, name: str) -> Message:
        held = [each for _, each in self._running[name]] + list(self._waiting[name])
        reserved = frozenset(each.id for each in held)
        beat = Heartbeat(Source("local", "p", name), "first", self._slots, frozenset(), reserved)
        return Message(EVENTS, json.dumps(beat.to_message()))

    def _started(self, name: str, assignment: Assignment) -> Message:
        event = Started(Source("local", "p", name), assignment.id, time.time())
        return Message(EVENTS, json.dumps(event.to_message()))

    def _result(self, name: str, assignment: Assignment) -> Message:
        result = AttemptResult(
            assignment.task, assignment.attempt, name, "done", time.time(), TASK_SECONDS, 0, "", {}, "v1", "",
            "local", "p",
        )  # fmt: skip
        return Message(RESULTS, json.dumps(vars(result)))


@dataclass(frozen=True)
class Cost:
    """Of a sweep, or of what takes its place."""

    cpu: float  # seconds
    wall: float
    turns: int
    longest: float  # turn, in seconds


def main() -> None:
    options = parse_options()
    with tempfile.TemporaryDirectory() as directory:
        for name, pace in (("at once", 0.0), ("paced", TASK_SECONDS)):
            if pace and options.hosts > 1:
                continue
            path = Path(directory) / name.replace(" ", "_")
            hosts = Hosts(options.hosts, options.slots, pace, options.gather)
            cost = run_master(path, options.tasks, hosts, options.profile)
            plain = sqlite_alone(path / "plain.sqlite", options.tasks, cost.turns)
            report(name, options.tasks, cost, plain)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--hosts", type=int, default=1)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--gather", type=float, default=0.02)
    parser.add_argument("--profile", action="store_true", help="print where the CPU went")
    return parser.parse_args()


def report(name: str, tasks: int, cost: Cost, plain: Cost) -> None:
    print(
        f"{name:<8} {1000 * cost.cpu / tasks:.3f} ms CPU a task, "
        f"{cost.cpu / plain.cpu:.1f} times SQLite alone; "
        f"{tasks / cost.wall:.0f} tasks/s, {tasks / cost.turns:.1f} tasks a turn, "
        f"longest turn {1000 * cost.longest:.0f} ms"
    )


def run_master(path: Path, tasks: int, hosts: Hosts, profiled: bool) -> Cost:
    project = path / "code/v1/project"
    project.mkdir(parents=True)
    (path / "data").mkdir()
    (project / "project.yml").write_text('command: "true"\n')
    (project / "parameters.yml").write_text(f"x: {{range: [0, {tasks}, 1]}}\n")
    (project.parent / "VERSION").write_text("framework=f1\nproject=p1\n")
    (path / "code/current").symlink_to("v1")
    master = Master(Identity("local", "local", "p", "local"), MasterFiles(path / "data"), path / "code")
    profile = cProfile.Profile()
    turns, longest = 0, 0.0
    began, cpu = time.perf_counter(), time.process_time()
    if profiled:
        profile.enable()
    while not master.status().finished:  # asked after each turn, as a local run does
        turn = time.process_time()
        master.turn(hosts)
        longest = max(longest, time.process_time() - turn)
        turns += 1
    profile.disable()
    cost = Cost(time.process_time() - cpu - hosts.cpu, time.perf_counter() - began, turns, longest)
    master.close()
    if profiled:
        pstats.Stats(profile).sort_stats("tottime").print_stats(35)
    return cost


def sqlite_alone(path: Path, tasks: int, turns: int) -> Cost:
    """Write the rows of the journal for so many tasks: each is inserted in one turn, and ends in the next."""
    Journal(path).close()  # the same tables, indices and pragmas
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = FULL")
    names = [f"{number:016x}" for number in range(tasks)]
    size = max(1, -(-tasks // turns))

    def turn(begin: int) -> None:
        sent, ended = range(tasks)[begin : begin + size], range(tasks)[max(0, begin - size) : begin]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "UPDATE attempts SET state = 'done', started = 1, seconds = 1, exit_code = 0 WHERE task = ?",
            [(names[number],) for number in ended],
        )
        connection.executemany(
            """UPDATE tasks SET state = 'done', started = 1, seconds = 1, exit_code = 0, code = 'v1'
            WHERE task = ?""",
            [(names[number],) for number in ended],
        )
        connection.executemany(
            """INSERT INTO tasks (task, number, parameters, state, attempts, host, sent, sweep)
            VALUES (?, ?, '{"x": 1}', 'sent', 1, 'host0', 1, 1)""",
            [(names[number], number) for number in sent],
        )
        connection.executemany(
            "INSERT INTO attempts (task, attempt, host, state, sent) VALUES (?, 1, 'host0', 'sent', 1)",
            [(names[number],) for number in sent],
        )
        connection.execute("COMMIT")

    cpu, wall = _seconds(lambda: [turn(begin) for begin in range(0, tasks + size, size)])
    connection.close()
    return Cost(cpu, wall, turns, 0.0)


def _seconds(run: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.process_time() - cpu, time.perf_counter() - wall


if __name__ == "__main__":
    main()
