"""Retry policy: failures that end a task, and the host for its next attempt.

Who is at fault, blame.py knows; here that meets what the journal and the project say.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from framework.messages.assignment import AttemptResult
from framework.project.resources import why_nowhere
from framework.scheduler.host_health import Blame
from framework.scheduler.queue import Waiting
from framework.scheduler.sweep_state import RunningSet

log = logging.getLogger(__name__)

UNFIT_SECONDS = 30.0  # how long no host can run a task until that is final: others may be about to come up


class Judgement:
    """Of the hosts that run a set, and of the failures there; `now` as in Fleet and Blame."""

    def __init__(self, running: RunningSet) -> None:
        self._set = running
        self._blame = Blame()
        self._unfit_since: float | None = None  # since when the set can run nowhere

    def is_final(self, result: AttemptResult, now: float) -> bool:
        """Is this, a new result, the end of its task? It counts for or against its host, too."""
        if result.state == "done":
            self._blame.succeeded(result.host, now)
        if result.state not in ("failed", "timeout"):
            return result.state == "done"
        journal, fleet = self._set.journal, self._set.fleet
        failed_on = journal.failed_on(result.task)
        self._blame.failed(result.task, result.host, failed_on, now)
        sent = fleet.get(result.task)
        if sent is not None and sent.attempt != result.attempt:
            return False  # another attempt, which is under way, decides
        allowed = 1 + self._set.project.retries
        if self._blame.excuses(result.host, failed_on, fleet.usable(now), now):
            allowed += 1
        return 1 + journal.attempts_ended(result.task, ("failed", "timeout")) >= allowed

    def review(self, now: float) -> None:
        """Put hosts aside and take them back."""
        if not self._set.fleet.is_unfit():
            self._unfit_since = None
        elif self._unfit_since is None:
            self._unfit_since = now
        for said in self._blame.review(self._set.fleet.usable(now), now):
            log.warning("%s", said)

    def limits(self, now: float) -> Mapping[str, int]:
        """How many tasks the hosts that are put aside may have."""
        return self._blame.limits(self._set.fleet.usable(now), now)

    def choose_host(self, waiting: Waiting, now: float, spare: int, limits: Mapping[str, int]) -> str | None:
        """The host to send a task to, if possible one on which it has not failed; None to wait for another.

        It waits only while the one that has room may be at fault. `spare` and `limits` as in Fleet.choose.
        """
        fleet = self._set.fleet
        if not waiting.avoid:
            return fleet.choose(now, spare, limits=limits)
        failed_on = self._set.journal.failed_on(waiting.task)
        host = fleet.choose(now, spare, failed_on | {waiting.avoid}, limits)
        if host in failed_on and self._blame.distrusts(host):
            others = self._blame.others(host, fleet.usable(now), now)
            return None if others - failed_on else host
        return host

    def why_nowhere(self, now: float) -> str:
        """Why no host can run the set, if that has been so for long enough; else empty."""
        if self._unfit_since is None or now - self._unfit_since <= UNFIT_SECONDS:
            return ""
        lacking = {host.name: host.notice for host in self._set.fleet.hosts.values()}
        return why_nowhere(self._set.project.name, lacking)

    def notices(self, now: float) -> list[str]:
        """What a person should know of hosts that are put aside."""
        return self._blame.notices(now)
