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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from framework import queues, requests
from framework.adaptive import AdaptiveSet, so_far
from framework.backlog import Backlog, Waiting
from framework.blame import Blame
from framework.census import Which, again
from framework.errors import BrokerBlocked, FrameworkError, JournalError, MessageError, ProjectError
from framework.files import Code, MasterFiles, write_atomically
from framework.fleet import Fleet, Sent
from framework.identity import Identity
from framework.journal import Journal
from framework.metrics import as_number
from framework.news import check_news
from framework.origins import Origins, note_program, program_version
from framework.project import load_project
from framework.resources import why_nowhere
from framework.results import write_results
from framework.set_aside import SetAside
from framework.status import HostStatus, Status, outdated_results
from framework.task import Assignment, AttemptResult

if TYPE_CHECKING:
    from framework.study import Study

log = logging.getLogger(__name__)

RECEIVE_SECONDS = 0.5
LOST_ATTEMPTS_LIMIT = 5
SHORT_TASK_SECONDS = 2.0  # of shorter ones a host is sent more than it runs: it never waits for the master
LONGEST_PAUSE_SECONDS = 15.0
UNFIT_SECONDS = 30.0  # how long no host can run a task until that is final: others may be about to come up
LONGEST_MESSAGE = 4 * 2**20  # bytes; no right one is as long
AGAIN_PAGES = 10  # looked through in one turn for tasks to run again
QUESTION_SECONDS = 5.0  # between two questions whether the broker is there, well below a lease
RESULTS_SECONDS = 5.0  # between two results.csv on the way, at the least


@dataclass(frozen=True)
class Advice:
    """What people are told to do."""

    go_on: str = "./infrainit.sh -f, or 'framework resume' in the master's container"
    renew: str = "'./infrainit.sh -f --outdated' runs these again, --fresh runs all again"


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


@dataclass
class _Again:
    """A request to run tasks of the set again, half done."""

    file: Path
    pages: Iterator[int]
    tasks: int = 0  # so far


class Master:
    """One project's set, its journal, and the hosts that run it."""

    def __init__(self, identity: Identity, files: MasterFiles, code: Path, advice: Advice = Advice()) -> None:
        self._identity = identity
        self._files = files
        self._code_root = code
        self._advice = advice
        self._code = Code.current(code)
        self._refused_version = ""
        self._project = load_project(self._code.project_path, identity.project)
        self._journal = Journal(files.journal)
        program = program_version(self._project.path)
        note_program(self._journal, self._code.version, program)
        self._origins = Origins(self._journal, program, identity.image, code)
        self._load()
        self._stopping = False
        self._unwanted: dict[str, set[str]] = {}  # by host: what its last beat named and is not to run
        self._to_stop: dict[str, set[str]] = {}  # by host: what it is to be told to stop
        self._notices: dict[str, str] = {}  # by what they are about
        self._set_aside = SetAside(files.set_aside)
        self._stopped = self._read_stopped()
        self._failed_now = False  # has a task failed for good in this turn?
        self._unfit_since: float | None = None  # since when the set can run nowhere
        self._blame = Blame()
        self._done_seconds = 0.0  # of all tasks done in this process's life, for the time that is left
        self._done_count = 0
        self._results_due = 0.0
        self._listened = time.monotonic()  # when what the workers had to say was taken last
        self._question_due = 0.0

    def _begin_anew(self) -> None:
        """Go through the set from its beginning: what the journal says of it has changed."""
        self._again: _Again | None = None
        self._study = self._load_study()
        self._backlog: Backlog | AdaptiveSet
        if self._study and self._project.method.is_adaptive:
            self._backlog = AdaptiveSet(self._project, self._journal, self._origins, self._study)
        else:
            self._backlog = Backlog(self._project, self._journal, self._origins)
        self._results_stale = True

    def _load_study(self) -> Study | None:
        if not self._project.needs_study:
            return None
        from framework.study import Study  # with Optuna, which only such projects need

        return Study.of_journal(self._project, self._journal)

    def _load(self) -> None:
        """Begin with what the journal says."""
        self._begin_anew()
        self._bad: dict[str, str] = {}  # tasks under way that the study wants ended, and why
        self._fleet = Fleet()
        now = time.monotonic()
        for attempt in self._journal.under_way():
            started = attempt.state == "running"
            self._fleet.add(Sent(attempt.task, attempt.attempt, attempt.host, now, started))

    def presume_lost(self) -> list[Sent]:
        """No worker of before is left: what was under way is lost, unless its result comes in this turn."""
        for sent in self._fleet:
            sent.lost_at = time.monotonic()
        return list(self._fleet)

    def close(self) -> None:
        self._journal.close()

    def run(self, connect: Callable[[], Connection]) -> None:
        """Until stopped by a signal; starts itself anew when new code has been pushed."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        log.info(
            "project %s, code %s: %d combinations; %d tasks were under way",
            self._project.name, self._code.version, self._backlog.census.total, len(list(self._fleet)),
        )  # fmt: skip
        pause = 1.0
        while not self._stopping:
            link = connect()
            try:
                self._load()  # a batch that failed has left what is in memory out of step
                self._journal.check_room()  # results must not go back and forth while they cannot be written
                link.open()
                log.info("connected to the broker at %s", self._identity.broker)
                pause = 1.0
                self._notices.pop("trouble", None)
                while not self._stopping:
                    self.turn(link)
            except JournalError as error:
                self._notices["trouble"] = f"{error}; nothing is lost, the master waits for room"
            except BrokerBlocked as error:
                self._notices["trouble"] = f"{error}; nothing is lost, the master waits"
                log.warning("%s", self._notices["trouble"])
                while not self._stopping and error.lasts():
                    self._wait(RECEIVE_SECONDS)
            except link.errors as error:
                self._notices["trouble"] = f"the broker does not answer ({error!r}); the master tries again"
            finally:
                link.close()
            if not self._stopping:
                log.warning("%s in %.0f s", self._notices["trouble"], pause)
                self._wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        self.close()

    def _wait(self, seconds: float) -> None:
        """Between two connections: what people ask for is done all the same."""
        until = time.monotonic() + seconds
        while not self._stopping and time.monotonic() < until:
            try:
                taken = self._take_requests()
                self._backlog.go_on_counting()
            except JournalError as error:
                log.warning("%s", error)
                taken = []
            self._publish_status()
            self._answer(taken)
            time.sleep(RECEIVE_SECONDS)

    def _on_signal(self, *_: Any) -> None:
        self._stopping = True

    def turn(self, link: Messenger) -> None:
        """Take what has come in, send what there is room for, publish the status. Raises `link`'s errors."""
        taken = self._take_requests()
        with self._journal.batch():
            self._backlog.go_on_counting()
            self._backlog.look_ahead(self._is_sent)
        idle = self._backlog.ready and not self._again
        messages = link.receive(RECEIVE_SECONDS if idle else 0.001)
        with self._journal.batch():
            for message in messages:
                self._take(message)
            self._prune()
        for message in messages:
            message.ack()
        self._ask_broker(link)
        now = time.monotonic()
        if now - self._listened > self._fleet.lease / 2:
            # This process or the broker was held up (a paused container, a slow disk): the silence was ours.
            self._fleet.renew(now)
        self._listened = now
        self._end_leases(link)
        self._judge()
        self._send_stops(link)
        self._send(link)
        self._publish_status()
        self._answer(taken)
        self._take_up_new_code(link)

    # What comes in.

    def _take(self, message: Any) -> None:
        """Take a message for what it is; set it aside if it is not exactly right. Nothing in it is fatal."""
        queue = str(message.delivery_info.get("routing_key", ""))
        dead = queue == queues.DEAD
        try:
            if dead:
                queue = str((message.headers or {}).get("x-first-death-queue", ""))
            if dead and queue != queues.RESULTS:
                raise MessageError(f"a dead letter of the queue {queue}")
            content = self._read(message.body, queue)
            if queue == queues.RESULTS:
                self._take_result(AttemptResult.from_message(content))
            else:
                self._take_news(check_news(content))
        except JournalError:
            raise
        except Exception as error:
            if not isinstance(error, FrameworkError | ValueError):
                log.exception("nobody thought of such a message")
            self._set_aside.add(queues.DEAD if dead else queue, message.body, str(error))

    def _read(self, body: Any, queue: str) -> object:
        if len(body) > LONGEST_MESSAGE:
            raise MessageError(f"a message of {len(body)} bytes")
        content = json.loads(body if isinstance(body, str) else bytes(body))
        if not isinstance(content, dict):
            raise MessageError("a message that is no object")
        ours = {"infrastructure": self._identity.infrastructure}
        if queue == queues.RESULTS:
            ours["project"] = self._project.name
        for field, expected in ours.items():
            if content.get(field) != expected:
                raise MessageError(f"a message of another {field}: {content.get(field)!r:.100}")
        return content

    def _take_news(self, news: Mapping[str, Any]) -> None:
        if news["project"] != self._project.name:
            return  # the last words of workers that ran another project before
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
                self._take_reports(news["task"], news["attempt"], news["reports"])
            case "refused":
                reason = f"refused by the worker on {news['host']}: {news['reason']}"
                self._set_aside.add(queues.tasks_of(news["host"]), news["message"], reason)

    def _take_reports(self, task: str, attempt: int, reports: Sequence[tuple[int, Any]]) -> None:
        """Tell the study how a task does. Whether it is ended is seen when all that has come in was taken."""
        sent = self._fleet.get(task)
        if self._study is None or sent is None or sent.attempt != attempt:
            return
        for step, value in reports:
            number = as_number(value)
            if number is not None and self._study.is_news(task, step):
                self._journal.report(task, attempt, step, number)
                if self._study.report(task, step, number):
                    self._bad[task] = f"pruned at report {step}: {self._project.metric}={value}"

    def _prune(self) -> None:
        """End early what does badly and has not ended in the meantime."""
        for task, reason in self._bad.items():
            if self._journal.prune(task, reason):
                log.info("task %s is %s", task, reason)
                self._tell_to_stop(self._fleet.remove(task))
                self._end(task)
        self._bad = {}

    def _end(self, task: str) -> None:
        """A task has got its terminal record."""
        record = self._journal.get(task)
        if record is not None:
            self._results_stale = True
            self._backlog.count(task)
            if self._study is not None:
                self._study.end(record)

    def _take_beat(self, beat: Mapping[str, Any]) -> None:
        host, running, reserved = beat["host"], set(beat["running"]), set(beat["reserved"])
        if host not in self._fleet.hosts:
            log.info("worker host %s has %d slots", host, beat["slots"])
        now = time.monotonic()
        self._fleet.beat(
            host, beat["incarnation"], beat["slots"], running, reserved, now, beat["notice"], beat["unfit"]
        )
        unwanted = {name for name in running | reserved if not self._is_wanted(name, host, name in running)}
        # What is named once may have ended since the beat was written: its result came in another queue.
        stop = unwanted & self._unwanted.get(host, set())
        self._unwanted[host] = unwanted
        if stop:
            self._to_stop.setdefault(host, set()).update(stop)

    def _is_wanted(self, name: str, host: str, runs: bool) -> bool:
        """Is an attempt that `host` holds to go on? One thought lost that runs takes its place again."""
        if self._stopped:
            return False
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
        final = self._journal.is_new(result) and self._judge_result(result, sent)
        ended_the_task = self._journal.finish(result, final)
        if sent is not None and (ended_the_task or sent.attempt == result.attempt):
            self._fleet.remove(result.task)
        if ended_the_task:
            self._end(result.task)
            if result.state == "done":
                self._done_seconds += result.seconds
                self._done_count += 1
            else:
                self._failed_now = True
                log.warning("task %s failed on %s: %s", result.task, result.host, result.reason)
        elif record.state == "pruned":
            self._results_stale = True  # it is known now how long it ran
        else:
            self._send_again(result.task)

    def _judge_result(self, result: AttemptResult, sent: Sent | None) -> bool:
        """Is this the end of its task? And what does it say of its host?"""
        now = time.monotonic()
        if result.state == "done":
            self._blame.succeeded(result.host, now)
        if result.state not in ("failed", "timeout"):
            return result.state == "done"
        failed_on = self._journal.failed_on(result.task)
        self._blame.failed(result.task, result.host, failed_on, now)
        if sent is not None and sent.attempt != result.attempt:
            return False  # another attempt, which is under way, decides
        allowed = 1 + self._project.retries
        if self._blame.excuses(result.host, failed_on, self._fleet.usable(now), now):
            allowed += 1
        return 1 + self._journal.attempts_ended(result.task, ("failed", "timeout")) >= allowed

    def _judge(self) -> None:
        """Put hosts aside and take them back; stop the set if too much of it has failed."""
        now = time.monotonic()
        if not self._fleet.is_unfit():
            self._unfit_since = None
        elif self._unfit_since is None:
            self._unfit_since = now
        for said in self._blame.review(self._fleet.usable(now), now):
            log.warning("%s", said)
        limit, failed = self._project.max_failures, self._backlog.census.failed
        if self._failed_now and limit is not None and failed >= limit and not self._stopped:
            try:
                self._stop_set(f"{failed} tasks have failed, with max_failures: {limit} in project.yml")
            except OSError as error:
                log.error("cannot stop the set yet: %s", error)
                return
        self._failed_now = False

    # What people ask for.

    def _take_requests(self) -> list[Path]:
        """Act on what the command line asks for; the files that are to be removed once it shows."""
        taken = []
        try:
            waiting = requests.pending(self._files.requests)
            if self._again and self._again.file not in (file for file, _ in waiting):
                self._begin_anew()  # it was taken back
            for file, request in waiting:
                if self._again is None or self._again.file != file:
                    tasks = [task for _, task in request.tasks]
                    log.info("asked to %s %s", request.action, " ".join(tasks) or request.which or "")
                match request.action:
                    case "again" if request.which:
                        if not self._go_on_again(file, request.which):
                            break
                    case "again":
                        self._journal.again([task for _, task in self._of_the_set(request.tasks)])
                        self._begin_anew()
                    case "cancel":
                        self._cancel(request.tasks)
                    case "stop":
                        self._stop_set("it was cancelled")
                    case "resume":
                        self._files.stopped.unlink(missing_ok=True)
                        self._stopped = ""
                    case "reload":
                        self._load()
                taken.append(file)
        except OSError as error:
            log.error("cannot do what was asked for: %s", error)
        return taken

    def _answer(self, taken: Sequence[Path]) -> None:
        for file in taken:
            with suppress(OSError):  # it will be done again, which does no harm
                file.unlink(missing_ok=True)

    def _of_the_set(self, tasks: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
        """Those of `tasks`, each with the number of its combination, that are in the set as it is now."""
        space, known = so_far(self._project, self._journal).space, []
        for number, task in tasks:
            if 0 <= number < space.count and self._project.task_id(space.combination(number)) == task:
                known.append((number, task))
            else:
                log.warning("task %s is not in the set any more", task)
        return known

    def _cancel(self, tasks: Sequence[tuple[int, str]]) -> None:
        space = so_far(self._project, self._journal).space
        with self._journal.batch():
            for number, task in self._of_the_set(tasks):
                parameters = space.combination(number)
                if self._journal.cancel(task, number, parameters, time.time()):
                    self._tell_to_stop(self._fleet.remove(task))
                    self._end(task)

    def _go_on_again(self, file: Path, which: Which) -> bool:
        """Have the next tasks run again that are asked for; True once that was all of them.

        Until then nothing is sent: if this process dies, the next one begins with it again, and must not find
        any of them ended once more.
        """
        begun, self._again = self._again, None
        if begun is None or begun.file != file:
            project = so_far(self._project, self._journal)
            begun = _Again(file, again(project, self._journal, self._origins, which))
        with self._journal.batch():
            pages = list(islice(begun.pages, AGAIN_PAGES))
        begun.tasks += sum(pages)
        if len(pages) == AGAIN_PAGES:
            self._again = begun
            return False
        log.info("%d tasks are to be run again", begun.tasks)
        self._begin_anew()
        return True

    def _stop_set(self, why: str) -> None:
        """Send nothing more, until asked to go on, and stop what runs. Raises OSError."""
        write_atomically(self._files.stopped, why)
        self._stopped = why
        log.warning("the set is stopped: %s", why)
        for sent in self._fleet:
            self._tell_to_stop(sent)

    def _read_stopped(self) -> str:
        try:
            return self._files.stopped.read_text() or "nobody knows why"
        except FileNotFoundError:
            return ""

    def _tell_to_stop(self, sent: Sent | None) -> None:
        if sent is not None:
            self._to_stop.setdefault(sent.host, set()).add(sent.name)

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

    def _ask_broker(self, link: Messenger) -> None:
        """From time to time: one that hangs does not answer, and so holds this turn up until it goes on."""
        if self._fleet.hosts and time.monotonic() >= self._question_due:
            link.waiting_for(next(iter(self._fleet.hosts)))
            self._question_due = time.monotonic() + QUESTION_SECONDS

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
            self._failed_now = True
            self._end(sent.task)
        else:
            self._send_again(sent.task)

    def _send(self, link: Messenger) -> None:
        if self._stopped or self._again:
            return
        now = time.monotonic()
        # For tasks of hours nothing may wait at one host while another is free.
        short = self._done_count > 0 and self._done_seconds / self._done_count < SHORT_TASK_SECONDS
        spare = sys.maxsize if short else 0
        identity = self._identity
        limits = self._blame.limits(self._fleet.usable(now), now)
        outgoing: list[tuple[str, Assignment]] = []
        later: list[Waiting] = []
        with self._journal.batch():
            while self._fleet.choose(now, spare, limits=limits) is not None:
                self._backlog.look_ahead(self._is_sent)
                waiting = self._backlog.take()
                if waiting is None:
                    break
                host = self._choose_host(waiting, now, spare, limits)
                if host is None:
                    later.append(waiting)
                    continue
                attempt = self._journal.assign(
                    waiting.task, waiting.number, waiting.parameters, host, time.time()
                )
                self._fleet.add(Sent(waiting.task, attempt, host, now))
                assignment = Assignment(
                    identity.infrastructure, identity.project, waiting.task, attempt, waiting.parameters
                )
                outgoing.append((host, assignment))
        for waiting in later:
            self._backlog.put_back(waiting)
        # Only now that the journal has them: what is lost from here on is sent again when its lease ends.
        for host, assignment in outgoing:
            link.send(host, assignment)

    def _choose_host(self, waiting: Waiting, now: float, spare: int, limits: Mapping[str, int]) -> str | None:
        """The host to send a task to, if possible one on which it has not failed; None to wait for another.

        It waits only while the one that has room may be at fault.
        """
        if not waiting.avoid:
            return self._fleet.choose(now, spare, limits=limits)
        failed_on = self._journal.failed_on(waiting.task)
        host = self._fleet.choose(now, spare, failed_on | {waiting.avoid}, limits)
        if host in failed_on and self._blame.distrusts(host):
            others = self._blame.others(host, self._fleet.usable(now), now)
            return None if others - failed_on else host
        return host

    # What people see.

    def _publish_status(self) -> None:
        try:
            self._write_results()
            self._set_aside.save()
            self._notices.pop("files", None)
        except (OSError, JournalError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            notice = f"the master cannot write its files ({why}): it tries again"
            if self._notices.get("files") != notice:
                log.error("%s", notice)
            self._notices["files"] = notice
        try:
            self.status().write(self._files.status)
        except OSError as error:
            log.error("cannot write the status: %s", error)

    def status(self) -> Status:
        now = time.monotonic()
        backlog, census = self._backlog, self._backlog.census
        left = census.total - census.ended
        notices = list(self._notices.values())
        stopped = ""
        if self._stopped:
            stopped = f"the set is stopped: {self._stopped}; to go on: {self._advice.go_on}"
            notices.append(stopped)
        elif self._unfit_since is not None and now - self._unfit_since > UNFIT_SECONDS and left:
            lacking = {host.name: host.notice for host in self._fleet.hosts.values()}
            stopped = f"{why_nowhere(self._project.name, lacking)}; then it goes on by itself"
            notices.append(stopped)
        notices += self._blame.notices(now)
        if census.outdated:
            notices.append(f"{outdated_results(census.outdated, census.done)}: {self._advice.renew}")
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
            if host.unfit and not stopped:
                notices.append(f"{host.name} {host.notice}: it gets no tasks")
            elif host.notice and not host.unfit and hosts[host.name].alive:
                notices.append(f"{host.name}: {host.notice}")
        return Status(
            updated=time.time(),
            project=self._project.name,
            version=self._code.version,
            total=census.total,
            done=census.done,
            failed=census.failed,
            running=sum(sent.started and backlog.is_open(sent.task) for sent in self._fleet),
            finished=backlog.finished and not self._results_stale and not self._again,
            seconds_left=mean * left / slots if mean and slots else None,
            refused_version=self._refused_version,
            notices=notices,
            cancelled=census.cancelled,
            pruned=census.pruned,
            outdated=census.outdated,
            stopped=stopped,
            set_aside=self._set_aside.count,
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
