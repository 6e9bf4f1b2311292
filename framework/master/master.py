"""Master: one turn after the other until it is stopped; restarts itself for new code.

The journal is the truth. Whatever the broker loses, repeats or delays, a task ends with one terminal record:
results are written to the journal before they are acknowledged, and an attempt that no worker has held for a
lease is replaced by the next attempt.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from framework.configuration.load import load_code
from framework.errors import BrokerBlocked, JournalError, ProjectError
from framework.files import Code, MasterFiles
from framework.journal.provenance import Provenance, note_program, program_version
from framework.journal.store import Journal
from framework.master.advice import ON_HOSTS, Advice
from framework.master.control import Control
from framework.master.incoming import Incoming
from framework.master.notices import Notices
from framework.master.notifier import Notifier
from framework.master.publisher import StatusPublisher
from framework.master.quarantine import Quarantine
from framework.messages.assignment import Assignment
from framework.messages.identity import Identity
from framework.messages.status import Status
from framework.messages.task_ids import AttemptId
from framework.scheduler.sweep_events import SweepEvents
from framework.scheduler.sweep_state import Sending, Sweep

log = logging.getLogger(__name__)

RECEIVE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0
GATHER_SECONDS = 0.02  # between the beginnings of two turns, while hosts have enough to do
BROKER_CHECK_SECONDS = 5.0  # between two checks that the broker answers, well below a lease


class Messenger(Protocol):
    """Receives the messages of workers, and sends messages to them."""

    def receive(self, timeout: float) -> list[Any]: ...
    def pause(self, seconds: float, /) -> None: ...
    def send(self, host: str, assignment: Assignment, /) -> None: ...
    def waiting_for(self, host: str, /) -> int: ...
    def purge(self, host: str, /) -> int: ...
    def stop(self, host: str, attempts: Sequence[AttemptId], /) -> None: ...
    def hand_back(self, host: str, attempts: Sequence[AttemptId], /) -> None: ...
    def close(self) -> None: ...


class Connection(Messenger, Protocol):
    """A messenger that has to be opened, and is given up after any of `errors`."""

    errors: tuple[type[Exception], ...]

    def open(self) -> None: ...


class Master:
    """One project's sweep, its journal, and the hosts that run it."""

    def __init__(
        self,
        identity: Identity,
        files: MasterFiles,
        code: Path,
        advice: Advice = ON_HOSTS,
        values: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`values`: those of the user's machine that `notify:` of the project needs."""
        self._identity = identity
        self._code_root = code
        self._code = Code.current(code)
        project = load_code(self._code, identity.project)
        self._journal = Journal(files.journal)
        program = program_version(project.path, project.sweep_file, project.ignore, project.workdir)
        note_program(self._journal, self._code.version, program)
        provenance = Provenance(self._journal, program, self._code.image, code)
        self._events = SweepEvents(files.events, advice.log_place)
        self._notifier = Notifier(project, values, files.notified, self._events.latest)
        self._sweep = Sweep(project, self._journal, provenance, files.pause, files.drains, self._events)
        self._notices = Notices()
        self._control = Control(files.requests, self._sweep)
        quarantine = Quarantine(files.quarantine)
        self._incoming = Incoming(identity, self._sweep, quarantine)
        self._publisher = StatusPublisher(
            self._sweep, self._journal, quarantine, self._notices, self._events, self._notifier, files,
            self._code.version, advice,
        )  # fmt: skip
        self._code_current = code / "current"
        self._code_link = ""  # what `current` has named in the last turn
        self._stopping = False
        self._turn_began = 0.0
        self._received = time.monotonic()  # when messages of workers were received last
        self._broker_check_due = 0.0

    def send_again(self, messenger: Messenger) -> None:
        """Send all attempts under way: for a worker that begins each once, and may have died meanwhile."""
        self._send_tasks(messenger, self._sweep.under_way())

    def close(self) -> None:
        self._publisher.close()
        self._journal.close()

    @property
    def has_told(self) -> bool:
        """True if those who want to be told were told of everything until now."""
        return self._notifier.is_idle

    @property
    def notify_problem(self) -> str:
        """The reason why they could not be told of it; empty if they were."""
        return self._notifier.problem

    def status(self) -> Status:
        return self._publisher.status()

    def run(self, connect: Callable[[], Connection]) -> None:
        """Run until a signal stops it; restarts itself when new code has been pushed."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        status = self.status()
        log.info(
            "project %s, code %s: %d combinations; %d tasks were under way",
            self._identity.project, self._code.version, status.total,
            sum(host.running + host.reserved for host in status.hosts.values()),
        )  # fmt: skip
        pause = 1.0
        while not self._stopping:
            connection = connect()
            try:
                self._sweep.load()  # a batch that failed has left the memory behind the journal
                self._journal.check_room()  # results must not go back and forth while they cannot be written
                connection.open()
                log.info("connected to the broker at %s", self._identity.broker)
                pause = 1.0
                self._notices.clear("trouble")
                while not self._stopping:
                    self.turn(connection)
            except JournalError as error:
                self._notices.set("trouble", f"{error}; nothing is lost, the master waits for room")
            except BrokerBlocked as error:
                self._notices.set("trouble", f"{error}; nothing is lost, the master waits")
                log.warning("%s", self._notices.get("trouble"))
                while not self._stopping and error.lasts():
                    self._wait(RECEIVE_SECONDS)
            except connection.errors as error:
                notice = f"the broker does not answer ({error!r}); the master tries again"
                self._notices.set("trouble", notice)
            finally:
                connection.close()
            if not self._stopping:
                log.warning("%s in %.0f s", self._notices.get("trouble"), pause)
                self._wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        self.close()

    def _wait(self, seconds: float) -> None:
        """Wait between two connections; requests of people are executed all the same."""
        until = time.monotonic() + seconds
        while not self._stopping and time.monotonic() < until:
            try:
                executed = self._control.execute()
                self._sweep.count_known()
            except JournalError as error:
                log.warning("%s", error)
                executed = []
            self._publisher.publish(at_once=bool(executed))
            self._control.acknowledge(executed)
            time.sleep(RECEIVE_SECONDS)

    def _on_signal(self, *_: Any) -> None:
        self._stopping = True

    def turn(self, messenger: Messenger) -> None:
        """Take messages, send tasks to hosts with room, publish. Raises the messenger's errors.

        All that a turn writes into the journal is one transaction: nothing is acknowledged, and nothing sent,
        before it is on the disk. What is sent and lost from there on is sent again when its lease ends.
        """
        self._gather(messenger)
        executed = self._control.execute()
        messages = messenger.receive(RECEIVE_SECONDS if self._sweep.is_idle else 0.001)
        self._check_broker(messenger)
        self._renew_leases_after_silence()
        with self._journal.batch():
            self._sweep.count_known()
            self._incoming.take(messages)
            self._sweep.prune_tasks()
            self._end_leases(messenger)
            self._sweep.review_hosts(time.monotonic())
            self._sweep.pause_if_too_many_failed()
            self._sweep.pause_if_metric_is_missing()
            sendings = self._sweep.assign_tasks(time.monotonic())
        for message in messages:
            message.ack()
        self._send_stop_orders(messenger)
        self._send_tasks(messenger, sendings)
        self._publisher.publish(at_once=bool(executed))
        self._control.acknowledge(executed)
        self._take_up_new_code(messenger)

    def _gather(self, messenger: Messenger) -> None:
        """Let the messages of short tasks come together: a turn for many costs little more than for one."""
        due = self._turn_began + GATHER_SECONDS
        if self._sweep.is_far_ahead and (now := time.monotonic()) < due:
            messenger.pause(due - now)
        self._turn_began = time.monotonic()

    def _check_broker(self, messenger: Messenger) -> None:
        """Ask the broker something: if it hangs, it holds this turn up, and no lease ends meanwhile."""
        if time.monotonic() < self._broker_check_due:
            return
        host = next(iter(self._sweep.host_names), None)
        if host is not None:
            messenger.waiting_for(host)
            self._broker_check_due = time.monotonic() + BROKER_CHECK_SECONDS

    def _renew_leases_after_silence(self) -> None:
        """Renew all leases if this process or the broker was held up: a paused container, a slow disk."""
        now = time.monotonic()
        if now - self._received > self._sweep.lease / 2:
            self._sweep.renew_leases(now)
        self._received = now

    def _end_leases(self, messenger: Messenger) -> None:
        now = time.monotonic()
        for host, expired in self._sweep.expired_leases(now).items():
            lost = expired
            if not self._sweep.is_alive(host, now):
                messenger.purge(host)  # these messages are sent to other hosts
            elif messenger.waiting_for(host) > 0:
                lost = [attempt for attempt in expired if attempt.lost_at is not None]
            self._sweep.lose(host, lost, now)

    def _send_stop_orders(self, messenger: Messenger) -> None:
        """Have attempts stopped or handed back; a lost order is repeated after the next heartbeats."""
        for host, attempts in self._sweep.take_stop_orders().items():
            log.info("worker host %s is told to stop %s", host, ", ".join(map(str, attempts)))
            messenger.stop(host, attempts)
        for host, attempts in self._sweep.take_hand_backs().items():
            log.info("worker host %s is told to hand back %s", host, ", ".join(map(str, attempts)))
            messenger.hand_back(host, attempts)

    def _send_tasks(self, messenger: Messenger, sendings: Iterable[Sending]) -> None:
        for sending in sendings:
            assignment = Assignment(
                self._identity.infrastructure,
                self._identity.project,
                sending.id.task,
                sending.id.number,
                sending.task.parameters,
            )
            messenger.send(sending.host, assignment)

    def _take_up_new_code(self, messenger: Messenger) -> None:
        """Restart this process from the code that was pushed; the journal keeps its state."""
        with suppress(OSError):  # Code.current says what is wrong
            before, self._code_link = self._code_link, os.readlink(self._code_current)
            if self._code_link == before:
                return
        code = Code.current(self._code_root)
        if code.version == self._code.version:
            self._publisher.accept_code()
        if code.version in (self._code.version, self._publisher.refused_version):
            return
        try:
            load_code(code, self._identity.project)
        except ProjectError as error:
            self._publisher.refuse_code(code.version, str(error))
            return
        log.info("code %s was pushed: the master restarts to take it up", code.version)
        messenger.close()
        self.close()
        os.environ["PYTHONPATH"] = str(code.path)
        os.execv(sys.executable, [sys.executable, "-m", "framework", "master"])
