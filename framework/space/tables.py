"""Table of a condition on a few axes, as a reduced decision diagram."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Sequence

FAILS, HOLDS = 0, 1  # states after the last axis of a table


class Table:
    """A condition on options, reduced to its states.

    A state stands for all beginnings of choices that leave the same choices open on the later axes of the
    table. Where nothing is chosen on one of its axes, the condition says nothing: it holds.
    """

    def __init__(
        self, axes: Sequence[int], lengths: Sequence[int], holds: Callable[[tuple[int, ...]], bool]
    ) -> None:
        """`axes`: ascending; `lengths`: of options on each. `holds` is called with one option of each."""
        self.axes = tuple(axes)
        self._lengths = tuple(lengths)
        self._holds = holds
        # By state: the first options of its runs, and the state after an option of each run.
        self._runs: list[tuple[tuple[int, ...], tuple[int, ...]]] = [((), ()), ((), ())]
        self._known: dict[tuple[int, tuple[int, ...], tuple[int, ...]], int] = {}
        self.top = self._reduce(())

    def edges(self, state: int) -> tuple[int, ...]:
        """The options at which the next state changes, from 0, on the axis that decides in this state."""
        return self._runs[state][0]

    def after(self, state: int, option: int | None) -> int:
        """The state after `option` on the next axis of the table; None: nothing is chosen there."""
        if option is None or state == HOLDS:
            return HOLDS
        starts, states = self._runs[state]
        return states[bisect.bisect_right(starts, option) - 1]

    def _reduce(self, chosen: tuple[int, ...]) -> int:
        depth = len(chosen)
        if depth == len(self.axes):
            return HOLDS if self._holds(chosen) else FAILS
        each = [self._reduce((*chosen, option)) for option in range(self._lengths[depth])]
        if all(state == HOLDS for state in each):
            return HOLDS
        groups = [(state, sum(1 for _ in group)) for state, group in itertools.groupby(each)]
        starts = tuple(itertools.accumulate((length for _, length in groups[:-1]), initial=0))
        states = tuple(state for state, _ in groups)
        number = self._known.setdefault((depth, starts, states), len(self._runs))
        if number == len(self._runs):
            self._runs.append((starts, states))
        return number
