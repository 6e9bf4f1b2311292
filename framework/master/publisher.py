"""Publisher of the status, the notices and results.csv."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from framework.errors import JournalError
from framework.files import MasterFiles
from framework.journal.results_csv import write_results
from framework.master.quarantine import SetAside
from framework.messages.status import HostStatus, Status, outdated_results
from framework.scheduler.hosts import Host
from framework.scheduler.retry_policy import Judgement
from framework.scheduler.sweep_state import RunningSet

log = logging.getLogger(__name__)

RESULTS_SECONDS = 5.0  # between two results.csv on the way, at the least


@dataclass(frozen=True)
class Advice:
    """What people are told to do."""

    go_on: str  # with a set that is stopped
    renew: str  # results of other files of the project, or of another image


ON_HOSTS = Advice(
    go_on="./infrainit.sh -f, or 'framework resume' in the master's container",
    renew="'./infrainit.sh -f --outdated' runs these again, --fresh runs all again",
)


class Bulletin:
    """Written anew in every turn of the master."""

    def __init__(
        self,
        running: RunningSet,
        judgement: Judgement,
        set_aside: SetAside,
        files: MasterFiles,
        version: str,
        advice: Advice,
    ) -> None:
        self.notices: dict[str, str] = {}  # by what they are about, until what they say is over
        self.refused_version = ""  # of code that was pushed and is not valid
        self._set = running
        self._judgement = judgement
        self._set_aside = set_aside
        self._files = files
        self._version = version
        self._advice = advice
        self._results_due = 0.0

    def publish(self) -> None:
        """Write what has changed; what cannot be written is said and tried again."""
        try:
            self._write_results()
            self._set_aside.save()
            self.notices.pop("files", None)
        except (OSError, JournalError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            notice = f"the master cannot write its files ({why}): it tries again"
            if self.notices.get("files") != notice:
                log.error("%s", notice)
            self.notices["files"] = notice
        try:
            self.status().write(self._files.status)
        except OSError as error:
            log.error("cannot write the status: %s", error)

    def status(self) -> Status:
        now = time.monotonic()
        fleet, backlog, census = self._set.fleet, self._set.backlog, self._set.backlog.census
        left = census.total - census.ended
        stopped = self._why_stopped(left, now)
        slots, mean = min(fleet.live_slots(now), left), self._set.mean_seconds
        hosts = {host.name: self._host_status(host, now) for host in fleet.hosts.values()}
        return Status(
            updated=time.time(),
            project=self._set.project.name,
            version=self._version,
            total=census.total,
            done=census.done,
            failed=census.failed,
            running=sum(sent.started and backlog.is_open(sent.task) for sent in fleet),
            finished=backlog.finished and not self._set.results_stale and not self._set.again,
            seconds_left=mean * left / slots if mean and slots else None,
            refused_version=self.refused_version,
            notices=self._all_notices(stopped, now),
            cancelled=census.cancelled,
            pruned=census.pruned,
            outdated=census.outdated,
            stopped=stopped,
            set_aside=self._set_aside.count,
            hosts=hosts,
        )

    def _why_stopped(self, left: int, now: float) -> str:
        """Why nothing more is sent, although `left` tasks have not ended, and what to do; empty if it is."""
        if self._set.stopped:
            return f"the set is stopped: {self._set.stopped}; to go on: {self._advice.go_on}"
        nowhere = self._judgement.why_nowhere(now) if left else ""
        return f"{nowhere}; then it goes on by itself" if nowhere else ""

    def _all_notices(self, stopped: str, now: float) -> list[str]:
        census = self._set.backlog.census
        notices = [*self.notices.values(), *([stopped] if stopped else []), *self._judgement.notices(now)]
        if census.outdated:
            notices.append(f"{outdated_results(census.outdated, census.done)}: {self._advice.renew}")
        for host in self._set.fleet.hosts.values():
            if host.unfit and not stopped:
                notices.append(f"{host.name} {host.notice}: it gets no tasks")
            elif host.notice and not host.unfit and self._set.fleet.is_alive(host, now):
                notices.append(f"{host.name}: {host.notice}")
        return notices

    def _host_status(self, host: Host, now: float) -> HostStatus:
        running = sum(sent.started for sent in host.sent.values())
        return HostStatus(
            slots=host.slots,
            running=running,
            reserved=len(host.sent) - running,
            seconds_since_beat=now - host.last_beat,
            alive=self._set.fleet.is_alive(host, now),
        )

    def _write_results(self) -> None:
        """When the set is finished, and on the way as often as costs little."""
        began = time.monotonic()
        if self._set.results_stale and (self._set.backlog.finished or began >= self._results_due):
            write_results(self._set.project, self._set.journal, self._files.results)
            self._set.results_stale = False
            ended = time.monotonic()
            self._results_due = ended + max(RESULTS_SECONDS, 50 * (ended - began))
