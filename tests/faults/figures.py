"""What the tests of faults have measured: shown when they have ended, whether all is well or not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from statistics import median

import pytest

ROOM = 2  # times as long as its goal may something take where other tests run beside


class Goal(Enum):
    """How soon things are to go on, as a median: what, and within how many seconds."""

    KILLED = "what a killed worker ran runs elsewhere", 45
    RUNNER = "what a killed runner ran runs again", 15
    BROKER = "work goes on after a restart of the broker", 15
    MASTER = "work goes on after a crash of the master", 15


@dataclass
class Figures:
    """Lines for the end of the run."""

    lines: list[str] = field(default_factory=list)
    samples: dict[Goal, list[float]] = field(default_factory=dict)

    def note(self, line: str) -> None:
        """Keep a line."""
        self.lines.append(line)

    def measured(self, goal: Goal, seconds: Iterable[float]) -> None:
        """Keep samples, of which there have to be some; fail if they are far from the goal."""
        samples = list(seconds)
        self.samples.setdefault(goal, []).extend(samples)
        what, most = goal.value
        assert samples, f"{what}: never seen"
        assert median(samples) <= ROOM * most, f"{what}: {samples} s"

    def report(self) -> list[str]:
        """All lines; of samples their median, with the goal beside it."""
        medians = []
        for goal, samples in self.samples.items():
            what, seconds = goal.value
            found = f"median {median(samples):.0f} s, longest {max(samples):.0f} s" if samples else "never"
            medians.append(f"{what}: {found}, of {len(samples)} (goal: {seconds} s)")
        return [*self.lines, *medians]


_KEY = pytest.StashKey[Figures]()


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> Figures:
    """Where tests put what they measure."""
    return pytestconfig.stash.setdefault(_KEY, Figures())


def show_figures(terminal: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what was measured, if anything was."""
    lines = config.stash.get(_KEY, Figures()).report()
    if lines:
        terminal.section("figures")
        for line in lines:
            terminal.write_line(line)
