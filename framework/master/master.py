"""Master: one turn after the other until it is stopped; restarts itself for new code.

The journal is the truth. Whatever the broker loses, repeats or delays, a task ends with one terminal record:
results are written to the journal before they are acknowledged, and what no worker has held for a lease is
sent again as the next attempt.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from framework.configuration.load import load_project
from framework.errors import BrokerBlocked, JournalError, ProjectError
from framework.files import Code, MasterFiles
from framework.journal.provenance import Origins, note_program, program_version
from framework.journal.store import Journal
from framework.master.control import act_on_requests, answer
from framework.master.incoming import Intake
from framework.master.publisher import ON_HOSTS, Advice, Bulletin
from framework.master.quarantine import SetAside
from framework.messages.assignment import Assignment
from framework.messages.identity import Identity
from framework.messages.status import Status
from framework.scheduler.hosts import Sent
from framework.scheduler.queue import Waiting
from framework.scheduler.retry_policy import Judgement
from framework.scheduler.sweep_state import RunningSet

log = logging.getLogger(__name__)

RECEIVE_SECONDS = 0.5
SHORT_TASK_SECONDS = 2.0  # of shorter ones a host is sent more than it runs: it never waits for the master
LONGEST_PAUSE_SECONDS = 15.0
QUESTION_SECONDS = 5.0  # between two questions whether the broker is there, well below a lease


class Messenger(Protocol):
    """What the master needs to take messages in and send some."""

    def receive(self, timeout: float) -> list[Any]: ...
    def send(self, host: str, assignment: Assignment, /) -> None: ...
    def waiting_for(self, host: str, /) -> int: ...
    def purge(self, host: str, /) -> int: ...
    def stop(self, host: str, attempts: Sequence[str], /) -> None: ...
    def close(self) -> None: ...


class Connection(Messenger, Protocol):
    """A messenger that has to be opened, and is given up after any of `errors`; Link is one."""

    errors: tuple[type[Exception], ...]

    def open(self) -> None: ...


class Master:
    """One project's set, its journal, and the hosts that run it."""

    def __init__(self, identity: Identity, files: MasterFiles, code: Path, advice: Advice = ON_HOSTS) -> None:
        self._identity = identity
        self._files = files
        self._code_root = code
        self._code = Code.current(code)
        project = load_project(self._code.project_path, identity.project)
        self._journal = Journal(files.journal)
        program = program_version(project.path)
        note_program(self._journal, self._code.version, program)
        origins = Origins(self._journal, program, identity.image, code)
        self._set = RunningSet(project, self._journal, origins, files.stopped)
        self._judgement = Judgement(self._set)
        set_aside = SetAside(files.set_aside)
        self._intake = Intake(identity, self._set, self._judgement, set_aside)
        self._bulletin = Bulletin(self._set, self._judgement, set_aside, files, self._code.version, advice)
        self._stopping = False
        self._listened = time.monotonic()  # when what the workers had to say was taken last
        self._question_due = 0.0

    def presume_lost(self) -> list[Sent]:
        """No worker of before is left: what was under way is lost, unless its result comes in this turn."""
        for sent in self._set.fleet:
            sent.lost_at = time.monotonic()
        return list(self._set.fleet)

    def close(self) -> None:
        self._journal.close()

    def status(self) -> Status:
        return self._bulletin.status()

    def run(self, connect: Callable[[], Connection]) -> None:
        """Until stopped by a signal; starts itself anew when new code has been pushed."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        total, under_way = self._set.backlog.census.total, len(list(self._set.fleet))
        log.info(
            "project %s, code %s: %d combinations; %d tasks were under way",
            self._identity.project, self._code.version, total, under_way,
        )  # fmt: skip
        pause, notices = 1.0, self._bulletin.notices
        while not self._stopping:
            link = connect()
            try:
                self._set.load()  # a batch that failed has left what is in memory out of step
                self._journal.check_room()  # results must not go back and forth while they cannot be written
                link.open()
                log.info("connected to the broker at %s", self._identity.broker)
                pause = 1.0
                notices.pop("trouble", None)
                while not self._stopping:
                    self.turn(link)
            except JournalError as error:
                notices["trouble"] = f"{error}; nothing is lost, the master waits for room"
            except BrokerBlocked as error:
                notices["trouble"] = f"{error}; nothing is lost, the master waits"
                log.warning("%s", notices["trouble"])
                while not self._stopping and error.lasts():
                    self._wait(RECEIVE_SECONDS)
            except link.errors as error:
                notices["trouble"] = f"the broker does not answer ({error!r}); the master tries again"
            finally:
                link.close()
            if not self._stopping:
                log.warning("%s in %.0f s", notices["trouble"], pause)
                self._wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        self.close()

    def _wait(self, seconds: float) -> None:
        """Between two connections: what people ask for is done all the same."""
        until = time.monotonic() + seconds
        while not self._stopping and time.monotonic() < until:
            try:
                taken = act_on_requests(self._files.requests, self._set)
                self._set.backlog.go_on_counting()
            except JournalError as error:
                log.warning("%s", error)
                taken = []
            self._bulletin.publish()
            answer(taken)
            time.sleep(RECEIVE_SECONDS)

    def _on_signal(self, *_: Any) -> None:
        self._stopping = True

    def turn(self, link: Messenger) -> None:
        """Take what has come in, send what there is room for, publish the status. Raises `link`'s errors."""
        taken = act_on_requests(self._files.requests, self._set)
        with self._journal.batch():
            self._set.backlog.go_on_counting()
            self._set.look_ahead()
        idle = self._set.backlog.ready and not self._set.again
        messages = link.receive(RECEIVE_SECONDS if idle else 0.001)
        with self._journal.batch():
            for message in messages:
                self._intake.take(message)
            self._set.prune()
        for message in messages:
            message.ack()
        self._ask_broker(link)
        now = time.monotonic()
        if now - self._listened > self._set.fleet.lease / 2:
            # This process or the broker was held up (a paused container, a slow disk): the silence was ours.
            self._set.fleet.renew(now)
        self._listened = now
        self._end_leases(link)
        self._judgement.review(time.monotonic())
        self._set.stop_if_too_many_failed()
        self._send_stops(link)
        self._send(link)
        self._bulletin.publish()
        answer(taken)
        self._take_up_new_code(link)

    # What goes out.

    def _send_stops(self, link: Messenger) -> None:
        """Told again as long as beats name it, so that it does no harm when it gets lost."""
        while self._set.to_stop:
            host, names = self._set.to_stop.popitem()
            log.info("worker host %s is to stop %s", host, ", ".join(sorted(names)))
            link.stop(host, sorted(names))

    def _ask_broker(self, link: Messenger) -> None:
        """From time to time: one that hangs does not answer, and so holds this turn up until it goes on."""
        if self._set.fleet.hosts and time.monotonic() >= self._question_due:
            link.waiting_for(next(iter(self._set.fleet.hosts)))
            self._question_due = time.monotonic() + QUESTION_SECONDS

    def _end_leases(self, link: Messenger) -> None:
        fleet, now = self._set.fleet, time.monotonic()
        by_host: dict[str, list[Sent]] = {}
        for sent in fleet.expired(now):
            by_host.setdefault(sent.host, []).append(sent)
        for host, lost in by_host.items():
            alive = fleet.is_alive(fleet.hosts[host], now)
            if not alive:
                link.purge(host)  # what nobody took there is sent elsewhere
            elif link.waiting_for(host) > 0:
                lost = [sent for sent in lost if sent.lost_at is not None]
            why = (
                f"its worker on {host} holds it no longer"
                if alive
                else f"no sign of its worker on {host} for {fleet.lease:.0f} s"
            )
            with self._journal.batch():
                for sent in lost:
                    self._set.lose(sent, why)

    def _send(self, link: Messenger) -> None:
        if self._set.stopped or self._set.again:
            return
        now = time.monotonic()
        # For tasks of hours nothing may wait at one host while another is free.
        mean = self._set.mean_seconds
        spare = sys.maxsize if mean is not None and mean < SHORT_TASK_SECONDS else 0
        identity = self._identity
        limits = self._judgement.limits(now)
        outgoing: list[tuple[str, Assignment]] = []
        later: list[Waiting] = []
        with self._journal.batch():
            while self._set.fleet.choose(now, spare, limits=limits) is not None:
                self._set.look_ahead()
                waiting = self._set.backlog.take()
                if waiting is None:
                    break
                host = self._judgement.choose_host(waiting, now, spare, limits)
                if host is None:
                    later.append(waiting)
                    continue
                attempt = self._set.assign(waiting, host, now)
                assignment = Assignment(
                    identity.infrastructure, identity.project, waiting.task, attempt, waiting.parameters
                )
                outgoing.append((host, assignment))
        for waiting in later:
            self._set.backlog.put_back(waiting)
        # Only now that the journal has them: what is lost from here on is sent again when its lease ends.
        for host, assignment in outgoing:
            link.send(host, assignment)

    def _take_up_new_code(self, link: Messenger) -> None:
        """Start this process anew from the code that was pushed: it goes on from the journal."""
        code = Code.current(self._code_root)
        if code.version in (self._code.version, self._bulletin.refused_version):
            return
        try:
            load_project(code.project_path, self._set.project.name)
        except ProjectError as error:
            self._bulletin.refused_version = code.version
            notice = f"code {code.version} was pushed but not taken up: {error}"
            self._bulletin.notices["code"] = notice
            log.error("%s", notice)
            return
        log.info("code %s was pushed: taking it up", code.version)
        link.close()
        self._journal.close()
        os.environ["PYTHONPATH"] = str(code.path)
        os.execv(sys.executable, [sys.executable, "-m", "framework", "master"])
