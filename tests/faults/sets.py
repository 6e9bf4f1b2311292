"""Sets of tasks that leave a mark for each execution, so that a repeat is seen whatever the tool says."""

from __future__ import annotations

import csv
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from checkout import Checkout, Place, at, options
from testbed import HOME, HOST1, HOST2, HOST3, Bed, BedError, Host, wait_for

MASTER = HOST1
WORKERS: tuple[Host, ...] = (HOST1, HOST2, HOST3)
REMOTE_PATH = "celery tasks"
SLOTS = 2  # of each worker: the hosts have as many cores as this machine, the sets are made for two

PROGRAM = """
import time
open("began", "x").close()
time.sleep({seconds})
print("Done: value=1")
"""

READ_ATTEMPTS = """
import json, sqlite3
journal = sqlite3.connect("file:/data/journal.sqlite?mode=ro", uri=True)
columns = "task, attempt, host, state, sent, started, seconds, reason"
print(json.dumps(journal.execute(f"SELECT {columns} FROM attempts ORDER BY task, attempt").fetchall()))
"""


@dataclass(frozen=True)
class Attempt:
    """What the journal says of an attempt. Times are seconds since the epoch."""

    task: str
    attempt: int
    host: str
    state: str
    sent: float | None
    started: float | None
    seconds: float | None
    reason: str

    @property
    def name(self) -> str:
        """As workers call it."""
        return f"{self.task}.{self.attempt}"


@dataclass(frozen=True)
class Execution:
    """What an execution left on its host's disk."""

    task: str
    attempt: int
    host: str
    began: float  # seconds since the epoch

    @property
    def name(self) -> str:
        """Of the attempt, as workers call it."""
        return f"{self.task}.{self.attempt}"


@dataclass(frozen=True)
class Outcome:
    """What became of a set."""

    rows: list[dict[str, str]]
    executions: Counter[str]  # of each task, as the tasks themselves wrote on the hosts' disks
    seconds: float  # from the fault to the end of the set

    @property
    def repeats(self) -> int:
        """Executions beyond the first one of each task."""
        return sum(self.executions.values()) - len(self.executions)


@pytest.fixture(scope="session")
def infrastructure(checkout: Checkout) -> None:
    """Workers on all hosts; each test brings a set of its own to it."""
    project = checkout.project("first", "n: 1", {"run.py": ""})
    chosen = options(checkout.bed, ["-a", "host1,host2,host3", "-w", "1-3", "-d", str(project)])
    checkout.run("infrainit.sh", *chosen, seconds=600)
    config = checkout.path / "config.sh"
    config.write_text(config.read_text() + f"\nSLOTS={SLOTS}\n")


class TaskSet:
    """One set on the infrastructure that runs."""

    def __init__(
        self, checkout: Checkout, name: str, tasks: int, seconds: float | str, settings: str = ""
    ) -> None:
        """`seconds`: how long a task takes; or a program of its own.

        Unless `settings` say otherwise no task is copied: what runs twice does because of the fault.
        """
        self.checkout = checkout
        self.bed: Bed = checkout.bed
        self.name = f"{name} {time.strftime('%H%M%S')}"  # the test bed may have seen this set before
        self.tasks = tasks
        self.master: Place = MASTER
        program = seconds if isinstance(seconds, str) else PROGRAM.replace("{seconds}", str(seconds))
        self.path = checkout.project(
            self.name,
            f"n: {{range: [0, {tasks}, 1]}}",
            {"run.py": program},
            settings if "copies:" in settings else f"copies: false\n{settings}",
        )

    def bring_up(self) -> None:
        """Have infrainit.sh run it."""
        self.checkout.run("infrainit.sh", "-f", "-y", "-m", "1", "-d", str(self.path))

    def start(self) -> None:
        """Bring it up, and wait until every worker runs something."""
        self.bring_up()
        self.wait("every worker runs something", lambda status: all(
            host["running"] for host in status["hosts"].values()
        ) and len(status["hosts"]) == len(WORKERS), 60)  # fmt: skip

    def role(self, role: str) -> str:
        """The name of a container."""
        return f"{self.checkout.identity}-{role}"

    def data(self, role: str) -> str:
        """Where the containers of a role keep what is the set's, on each host."""
        return f"{HOME}/{REMOTE_PATH}/{role}/{self.name}"

    def status(self) -> dict[str, Any]:
        """What the master says."""
        said = at(self.bed, self.master, "exec", self.role("master"), "framework", "status", "--json")
        return dict(json.loads(said))

    def wait(self, what: str, test: Callable[[dict[str, Any]], bool], seconds: float) -> None:
        """Poll the master's status; it may be out of reach in between."""

        def holds() -> bool:
            try:
                return test(self.status())
            except BedError:
                return False

        wait_for(what, holds, seconds, every=1)

    def finish(self, seconds: float = 240) -> Outcome:
        """Wait for the end of the set, and look at what there is."""
        began = time.monotonic()
        self.wait(f"{self.name} is finished", lambda status: status["finished"], seconds)
        elapsed = time.monotonic() - began
        text = at(self.bed, self.master, "exec", self.role("master"), "cat", "/data/results.csv")
        return Outcome(list(csv.DictReader(text.splitlines())), self.executions(), elapsed)

    def executions(self) -> Counter[str]:
        """How often each task was executed, on all hosts."""
        return Counter(mark.task for mark in self.marks())

    def marks(self) -> list[Execution]:
        """What executions have left, on all hosts."""
        found = []
        for place in WORKERS:
            # None if no task of this set has come to this host.
            find = "find", f"{self.data('worker')}/tasks", "-name", "began", "-printf", "%P %T@\\n"
            listing = self.bed.inside(place, *find, check=False)
            for line in listing.stdout.splitlines():
                name, _, began = line.partition(" ")
                task, attempt, *_ = name.split("/")
                found.append(Execution(task, int(attempt), place.name, float(began)))
        return found

    def rabbitmqctl(self, *arguments: str) -> str:
        """What the broker's own command line says."""
        return at(self.bed, MASTER, "exec", self.role("broker"), "rabbitmqctl", "--quiet", *arguments)

    def python(self, host: Host, role: str, script: str) -> str:
        """What a Python program prints that runs in a container, with all that is the container's own."""
        inside = "docker", "exec", "--interactive", self.role(role), "python", "-", role
        return self.bed.inside(host, *inside, stdin=script).stdout

    def queues(self, column: str) -> dict[str, int]:
        """What the broker counts in each queue."""
        columns = "--vhost", "tasks", "--no-table-headers", "name", column
        lines = self.rabbitmqctl("list_queues", *columns).splitlines()
        return {name: int(count) for name, count in (line.split("\t") for line in lines)}

    def attempts(self) -> list[Attempt]:
        """What the master's journal says of all attempts."""
        said = at(self.bed, self.master, "exec", self.role("master"), "python", "-c", READ_ATTEMPTS)
        return [Attempt(*row) for row in json.loads(said)]

    def until_rerun(self, host: Host, when: float) -> list[float]:
        """Seconds from `when`, at which a worker ended, until each task that it ran ran again."""
        attempts = {attempt.name: attempt for attempt in self.attempts()}
        found = []
        for attempt in attempts.values():
            following = attempts.get(f"{attempt.task}.{attempt.attempt + 1}")
            if attempt.host == host.name and following is not None and following.started is not None:
                assert attempt.started is None or attempt.started < when < following.started
                found.append(following.started - when)
        return found

    def until_more(self, when: float) -> list[float]:
        """Seconds from `when`, when something was mended, until a task ran that was sent later, if any."""
        starts = [
            attempt.started - when
            for attempt in self.attempts()
            if attempt.started is not None and attempt.sent is not None and attempt.sent > when
        ]
        return [min(starts)] if starts else []

    def check(self, outcome: Outcome, repeats: int) -> None:
        """Demand one row for each combination, all done, and at most so many repeats."""
        self.check_rows(outcome)
        assert len(outcome.executions) == self.tasks
        assert outcome.repeats <= repeats, f"{outcome.repeats} repeats: {outcome.executions.most_common(5)}"

    def check_rows(self, outcome: Outcome) -> None:
        """Demand one row for each combination, all done."""
        assert [row["n"] for row in outcome.rows] == [str(n) for n in range(self.tasks)]
        assert {row["state"] for row in outcome.rows} == {"done"}, outcome.rows

    def first_process(self, place: Place, role: str) -> str:
        """The number of a container's first process, on its host."""
        return at(self.bed, place, "inspect", "--format", "{{.State.Pid}}", self.role(role)).strip()
