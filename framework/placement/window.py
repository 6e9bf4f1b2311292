"""Window: attempts that a slot of a host is sent, with those that wait there.

Of tasks of seconds or more none may wait at one host while another is free: a slot is sent one at a time. Of
shorter ones one more waits there, so that the slot does not wait for the master; of tasks of milliseconds as
many as it runs in half a second, as the master is busy with others meanwhile.

An attempt that waits at a host cannot run elsewhere. So the window shrinks at the end of a sweep; and a host
whose last task was not done, or that has finished none yet, gets no more than one to wait for each slot.
"""

from __future__ import annotations

SHORT_TASK_SECONDS = 2.0  # a task may wait at a host for tasks that are shorter
SECONDS_AHEAD = 0.5  # of work for each slot
MOST_FOR_A_SLOT = 100
MOST_FOR_ALL = 20_000  # attempts under way: each of them is named in heartbeats
NO_SPARE, ONE_SPARE = 1, 2  # windows

_TAIL = 4  # a slot is sent no more than this part of its share of what is left
_RECENT = 20  # tasks whose durations count for the mean


class RecentMean:
    """Mean of the latest durations; older ones count less and less."""

    def __init__(self) -> None:
        self.seconds: float | None = None
        self._count = 0

    def add(self, seconds: float) -> None:
        self._count = min(self._count + 1, _RECENT)
        before = self.seconds or 0.0
        self.seconds = before + (seconds - before) / self._count


def window(mean: float | None, left: int, live_slots: int) -> int:
    """Attempts that a slot may be sent.

    `mean`: seconds of a task; None if nothing is known. `left`: tasks of the sweep that have not ended.
    """
    if mean is None or mean >= SHORT_TASK_SECONDS:
        return NO_SPARE
    ahead = SECONDS_AHEAD / mean if mean * MOST_FOR_A_SLOT > SECONDS_AHEAD else MOST_FOR_A_SLOT
    slots = max(1, live_slots)
    return max(ONE_SPARE, min(int(ahead), left // (_TAIL * slots), MOST_FOR_ALL // slots))
