"""The master: sends every combination that has no result to a host with a free slot, until each has one.

The journal is the truth. Whatever the broker loses, repeats or delays, a task ends with one terminal record:
results are written to the journal before they are acknowledged, and what no worker has held for a lease is
sent again as the next attempt.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from framework.backlog import Backlog
from framework.broker import BROKER_ERRORS, RESULTS_QUEUE, Identity, make_app
from framework.errors import FrameworkError, JournalError, ProjectError
from framework.files import Code, MasterFiles
from framework.fleet import Fleet, Sent
from framework.journal import Journal
from framework.link import Link
from framework.project import load_project
from framework.results import write_results
from framework.status import HostStatus, Status
from framework.task import Assignment, AttemptResult

log = logging.getLogger(__name__)

RECEIVE_SECONDS = 0.5
LOST_ATTEMPTS_LIMIT = 5
SHORT_TASK_SECONDS = 2.0  # of shorter ones a host is sent more than it runs: it never waits for the master
LONGEST_PAUSE_SECONDS = 15.0
RESULTS_SECONDS = 5.0  # between two results.csv on the way, at the least


class Messenger(Protocol):
    """What the master needs of its connection; Link has it."""

    def receive(self, timeout: float) -> list[Any]: ...
    def send(self, host: str, assignment: Assignment) -> None: ...
    def waiting_for(self, host: str) -> int: ...
    def purge(self, host: str) -> int: ...
    def stop(self, host: str, attempts: Sequence[str]) -> None: ...
    def close(self) -> None: ...


class Master:
    """One project's set, its journal, and the hosts that run it."""

    def __init__(self, identity: Identity, files: MasterFiles, code: Path) -> None:
        self._identity = identity
        self._files = files
        self._code_root = code
        self._code = Code.current(code)
        self._refused_version = ""
        self._project = load_project(self._code.project_path, identity.project)
        self._journal = Journal(files.journal)
        self._load()
        self._stopping = False
        self._unwanted: dict[str, set[str]] = {}  # by host: what its last beat named and is not to run
        self._to_stop: dict[str, set[str]] = {}  # by host: what it is to be told to stop
        self._notices: dict[str, str] = {}  # by what they are about
        self._done_seconds = 0.0  # of all tasks done in this process's life, for the time that is left
        self._done_count = 0
        self._results_stale = True
        self._results_due = 0.0

    def _load(self) -> None:
        """Begin with what the journal says."""
        self._backlog = Backlog(self._project, self._journal)
        self._fleet = Fleet()
        now = time.monotonic()
        for attempt in self._journal.under_way():
            started = attempt.state == "running"
            self._fleet.add(Sent(attempt.task, attempt.attempt, attempt.host, now, started))

    def run(self) -> None:
        """Until stopped by a signal; starts itself anew when new code has been pushed."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        log.info(
            "project %s, code %s: %d combinations; %d tasks were under way",
            self._project.name, self._code.version, self._backlog.total, len(list(self._fleet)),
        )  # fmt: skip
        app = make_app(self._identity)
        pause = 1.0
        while not self._stopping:
            link = Link(self._identity, app)
            try:
                self._load()  # a batch that failed has left what is in memory out of step
                link.open()
                log.info("connected to the broker at %s", self._identity.broker)
                pause = 1.0
                self._notices.pop("trouble", None)
                while not self._stopping:
                    self.turn(link)
            except JournalError as error:
                self._notices["trouble"] = f"{error}; nothing is lost, the master waits for room"
            except BROKER_ERRORS as error:
                self._notices["trouble"] = f"the broker does not answer ({error!r}); the master tries again"
            finally:
                link.close()
            if not self._stopping:
                log.warning("%s in %.0f s", self._notices["trouble"], pause)
                self._publish_status()
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        self._journal.close()

    def _on_signal(self, *_: Any) -> None:
        self._stopping = True

    def turn(self, link: Messenger) -> None:
        """Take what has come in, send what there is room for, publish the status. Raises BROKER_ERRORS."""
        began = time.monotonic()
        with self._journal.batch():
            self._backlog.look_ahead(self._is_sent)
        messages = link.receive(RECEIVE_SECONDS if self._backlog.ready else 0.001)
        with self._journal.batch():
            for message in messages:
                self._take(message)
        for message in messages:
            message.ack()
        if time.monotonic() - began > self._fleet.lease / 2:
            # This process was held up (a paused container, a slow disk): the silence was ours.
            self._fleet.renew(time.monotonic())
        self._end_leases(link)
        self._send_stops(link)
        self._send(link)
        self._publish_status()
        self._take_up_new_code(link)

    # What comes in.

    def _take(self, message: Any) -> None:
        try:
            content = json.loads(message.body)
            if content["infrastructure"] != self._identity.infrastructure:
                raise FrameworkError("it belongs to another infrastructure")
            if content["project"] != self._project.name:
                raise FrameworkError(f"it belongs to project {content['project']!r}")
            if message.delivery_info["routing_key"] == RESULTS_QUEUE.routing_key:
                self._take_result(AttemptResult.from_message(content))
            else:
                self._take_news(content)
        except (FrameworkError, ValueError, KeyError, TypeError) as error:
            log.warning("a message was set aside: %r", error)

    def _take_news(self, news: Mapping[str, Any]) -> None:
        match news["kind"]:
            case "beat":
                self._take_beat(news)
            case "started":
                sent = self._fleet.get(news["task"])
                if sent and sent.attempt == news["attempt"]:
                    sent.started, sent.seen = True, time.monotonic()
                    self._journal.start(news["task"], news["attempt"], news["host"], news["started"])
            case "metrics":
                self._journal.metrics(news["task"], news["attempt"], news["metrics"])
            case kind:
                raise FrameworkError(f"its kind is {kind!r}")

    def _take_beat(self, beat: Mapping[str, Any]) -> None:
        host, running, reserved = beat["host"], set(beat["running"]), set(beat["reserved"])
        if host not in self._fleet.hosts:
            log.info("worker host %s has %d slots", host, beat["slots"])
        self._fleet.beat(host, beat["incarnation"], int(beat["slots"]), running, reserved, time.monotonic())
        unwanted = {name for name in running | reserved if not self._is_wanted(name, host, name in running)}
        # What is named once may have ended since the beat was written: its result came in another queue.
        stop = unwanted & self._unwanted.get(host, set())
        self._unwanted[host] = unwanted
        if stop:
            self._to_stop.setdefault(host, set()).update(stop)

    def _is_wanted(self, name: str, host: str, runs: bool) -> bool:
        """Is an attempt that `host` holds to go on? One thought lost that runs takes its place again."""
        task, _, number = name.rpartition(".")
        attempt = int(number)
        sent = self._fleet.get(task)
        if sent is not None and sent.attempt == attempt:
            return True
        record = self._journal.get(task)
        if record is None:
            return True  # of a journal that is gone: it does no harm, and its result can be recovered
        younger = sent is not None and attempt > sent.attempt
        if not runs or younger or not self._journal.reinstate(task, attempt, host):
            return False
        log.info("task %s, attempt %d: its worker on %s is back with it", task, attempt, host)
        self._fleet.remove(task)
        self._fleet.add(Sent(task, attempt, host, time.monotonic(), started=True))
        self._backlog.withdraw(task)
        return True

    def _take_result(self, result: AttemptResult) -> None:
        record = self._journal.get(result.task)
        if record is None:
            raise FrameworkError(f"a result of task {result.task}, which this journal does not know")
        sent = self._fleet.get(result.task)
        if result.state in ("failed", "timeout"):
            failures = 1 + self._journal.attempts_ended(result.task, ("failed", "timeout"))
            # Another attempt that is under way decides in place of one that was thought lost.
            another = sent is not None and sent.attempt != result.attempt
            final = failures > self._project.retries and not another
        else:
            final = result.state == "done"
        ended_the_task = self._journal.finish(result, final)
        if sent is not None and (ended_the_task or sent.attempt == result.attempt):
            self._fleet.remove(result.task)
        if ended_the_task:
            self._results_stale = True
            self._backlog.count(result.task, result.state)
            if result.state == "done":
                self._done_seconds += result.seconds
                self._done_count += 1
            else:
                log.warning("task %s failed on %s: %s", result.task, result.host, result.reason)
        else:
            self._send_again(result.task)

    # What goes out.

    def _is_sent(self, task: str) -> bool:
        return self._fleet.get(task) is not None

    def _send_again(self, task: str) -> None:
        if self._backlog.send_again(task) and (record := self._journal.get(task)):
            log.info("task %s, attempt %d, %s: %s; again", task, record.attempts, record.host, record.reason)

    def _send_stops(self, link: Messenger) -> None:
        """Told again as long as beats name it, so that it does no harm when it gets lost."""
        while self._to_stop:
            host, names = self._to_stop.popitem()
            log.info("worker host %s is to stop %s", host, ", ".join(sorted(names)))
            link.stop(host, sorted(names))

    def _end_leases(self, link: Messenger) -> None:
        now = time.monotonic()
        by_host: dict[str, list[Sent]] = {}
        for sent in self._fleet.expired(now):
            by_host.setdefault(sent.host, []).append(sent)
        for host, lost in by_host.items():
            alive = self._fleet.is_alive(self._fleet.hosts[host], now)
            if not alive:
                link.purge(host)  # what nobody took there is sent elsewhere
            elif link.waiting_for(host) > 0:
                lost = [sent for sent in lost if sent.lost_at is not None]
            with self._journal.batch():
                for sent in lost:
                    self._lose(sent, alive)

    def _lose(self, sent: Sent, alive: bool) -> None:
        reason = (
            f"its worker on {sent.host} holds it no longer"
            if alive
            else f"no sign of its worker on {sent.host} for {self._fleet.lease:.0f} s"
        )
        lost = 1 + self._journal.attempts_ended(sent.task, ("lost",))
        final = lost >= LOST_ATTEMPTS_LIMIT
        if final:
            reason = f"lost {lost} times; the last time: {reason}"
        self._fleet.remove(sent.task)
        if self._journal.lost(sent.task, sent.attempt, reason, final):
            log.warning("task %s failed: %s", sent.task, reason)
            self._results_stale = True
            self._backlog.count(sent.task, "failed")
        else:
            self._send_again(sent.task)

    def _send(self, link: Messenger) -> None:
        now = time.monotonic()
        # For tasks of hours nothing may wait at one host while another is free.
        short = self._done_count > 0 and self._done_seconds / self._done_count < SHORT_TASK_SECONDS
        spare = sys.maxsize if short else 0
        identity = self._identity
        outgoing: list[tuple[str, Assignment]] = []
        with self._journal.batch():
            while self._fleet.choose(now, spare) is not None:
                self._backlog.look_ahead(self._is_sent)
                waiting = self._backlog.take()
                if waiting is None:
                    break
                host = self._fleet.choose(now, spare, waiting.avoid)
                assert host is not None, "the same hosts have room as above"
                parameters = self._project.space.combination(waiting.number)
                attempt = self._journal.assign(waiting.task, waiting.number, parameters, host, time.time())
                self._fleet.add(Sent(waiting.task, attempt, host, now))
                assignment = Assignment(
                    identity.infrastructure, identity.project, waiting.task, attempt, parameters
                )
                outgoing.append((host, assignment))
        # Only now that the journal has them: what is lost from here on is sent again when its lease ends.
        for host, assignment in outgoing:
            link.send(host, assignment)

    # What people see.

    def _publish_status(self) -> None:
        try:
            self._write_results()
            self._status().write(self._files.status)
        except (OSError, JournalError) as error:
            log.error("cannot write status and results: %s", error)

    def _status(self) -> Status:
        now = time.monotonic()
        backlog = self._backlog
        left = backlog.total - backlog.done - backlog.failed
        slots = min(self._fleet.live_slots(now), left)
        mean = self._done_seconds / self._done_count if self._done_count else None
        hosts = {}
        for host in self._fleet.hosts.values():
            running = sum(sent.started for sent in host.sent.values())
            hosts[host.name] = HostStatus(
                slots=host.slots,
                running=running,
                reserved=len(host.sent) - running,
                seconds_since_beat=now - host.last_beat,
                alive=self._fleet.is_alive(host, now),
            )
        return Status(
            updated=time.time(),
            project=self._project.name,
            version=self._code.version,
            total=backlog.total,
            done=backlog.done,
            failed=backlog.failed,
            running=sum(sent.started and backlog.is_open(sent.task) for sent in self._fleet),
            finished=backlog.finished and not self._results_stale,
            seconds_left=mean * left / slots if mean and slots else None,
            refused_version=self._refused_version,
            notices=list(self._notices.values()),
            hosts=hosts,
        )

    def _write_results(self) -> None:
        """When the set is finished, and on the way as often as costs little."""
        began = time.monotonic()
        if self._results_stale and (self._backlog.finished or began >= self._results_due):
            write_results(self._project, self._journal, self._files.results)
            self._results_stale = False
            ended = time.monotonic()
            self._results_due = ended + max(RESULTS_SECONDS, 50 * (ended - began))

    def _take_up_new_code(self, link: Messenger) -> None:
        """Start this process anew from the code that was pushed: it goes on from the journal."""
        code = Code.current(self._code_root)
        if code.version in (self._code.version, self._refused_version):
            return
        try:
            load_project(code.project_path, self._project.name)
        except ProjectError as error:
            self._refused_version = code.version
            self._notices["code"] = f"code {code.version} was pushed but not taken up: {error}"
            log.error("%s", self._notices["code"])
            return
        log.info("code %s was pushed: taking it up", code.version)
        link.close()
        self._journal.close()
        os.environ["PYTHONPATH"] = str(code.path)
        os.execv(sys.executable, [sys.executable, "-m", "framework", "master"])
