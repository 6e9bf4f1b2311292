"""Rerun of tasks that have ended: selects them page by page, however many there are."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from itertools import islice

from framework.journal.provenance import Provenance
from framework.journal.records import ENDED
from framework.journal.store import Journal
from framework.messages.requests import Which

log = logging.getLogger(__name__)

PAGE = 1000  # combinations looked up at once
PAGES_PER_TURN = 10

_STATES: Mapping[Which, frozenset[str]] = {
    "failed": frozenset({"failed"}),
    "outdated": frozenset({"done"}),
    "all": ENDED,
}


class Rerun:
    """A rerun that is under way; until it is complete nothing may be sent.

    If the master dies before that, the next one begins with it again, and must not find any of the tasks
    ended once more.
    """

    def __init__(self, key: str, which: Which, journal: Journal, provenance: Provenance) -> None:
        """`key`: the request that it belongs to."""
        self.key = key
        self._which = which
        self._journal = journal
        self._provenance = provenance
        self._pages = self._select()
        self._tasks = 0  # so far

    def advance(self) -> bool:
        """Select more tasks; True once all are selected."""
        with self._journal.batch():
            pages = list(islice(self._pages, PAGES_PER_TURN))
        self._tasks += sum(pages)
        if len(pages) == PAGES_PER_TURN:
            return False
        log.info("%d tasks will run again", self._tasks)
        return True

    def _select(self) -> Iterator[int]:
        """Write for each page of the sweep that its tasks run again; yields how many they are."""
        states = _STATES[self._which]
        for start in range(0, self._journal.last_number() + 1, PAGE):
            if not self._journal.has_any(states):
                return
            members = self._journal.members(range(start, start + PAGE))
            tasks = [member.task for member in members.values() if member.state in states]
            if self._which == "outdated":
                outcomes = self._journal.outcomes(tasks)
                tasks = [task for task in tasks if self._provenance.is_outdated(outcomes[task])]
            yield self._journal.again(tasks)
