"""Runner: executes the attempts that its worker gives it, and keeps their outcomes."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from framework.errors import FrameworkError
from framework.files import Code
from framework.messages.metrics import Metric
from framework.runner.attempt import Attempt
from framework.runner.children import Children
from framework.runner.environment import given_environment
from framework.runner.functions import Functions
from framework.runner.job import Job
from framework.runner.log import Entry, RunnerLog
from framework.runner.orphans import adopt_orphans, kill_orphans
from framework.runner.protocol import LEAVE_SECONDS, VERSION, Lines, encode
from framework.runner.user_values import UserValues
from framework.version_use import version_in_use

log = logging.getLogger(__name__)

GATHER_SECONDS = 0.02  # outcomes of this time are written to the disk together
RETRY_SECONDS = 1.0  # between two tries to write to a disk that is full
CONNECT_SECONDS = 0.2  # between two tries to reach the worker
CODE_SECONDS = 2.0  # between two looks at the version of the framework
SIGNAL_SECONDS = 0.25  # between two looks at signals
FAREWELL_SECONDS = 15.0  # longest wait, when the runner ends, for the worker to keep the last outcomes
LONELY_SECONDS = 2.0  # the same while there is no worker


@dataclass(frozen=True)
class Options:
    """How a runner reaches its worker, and where its files are."""

    log: Path
    tasks: Path  # directory of all attempts
    link: Path | None = None  # socket of the worker
    connection: int | None = None  # or the descriptor of a connected one: the runner ends with it
    code: Path | None = None  # versions of the code: an idle runner ends for a new framework
    values: Path | None = None  # see UserValues


class Runner:
    """Event loop of a runner; `run` returns its exit code."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._incarnation = uuid.uuid4().hex
        # In a local run, all of the environment is the user's.
        is_local = options.connection is not None
        self._given = dict(os.environ) if is_local else given_environment(os.environ)
        self._image = "" if is_local else os.environ.get("IMAGE", "")
        self._values = UserValues(options.values)
        self._mounts = None if is_local else os.environ.get("INFRAINIT_MOUNTS")
        self._log: RunnerLog | None = None
        self._key: str | None = None
        self._running: dict[str, Attempt] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._unsaid: list[dict[str, Any]] = []  # events that wait for the disk
        self._is_flush_due = False
        self._link: _Link | None = None
        self._left_at: float | None = None  # when the worker said that it leaves
        self._is_ending = False
        self._ended = asyncio.Event()
        self._framework = self._framework_version()

    async def run(self) -> int:
        is_init = os.getpid() == 1
        self._children = Children(adopts=is_init or adopt_orphans())
        self._functions = Functions(self._children)
        # A task may send signals to this process; SIGTERM counts only if it comes from outside the container.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Python's own handler would end it
        background = [self._watch_signals(is_init), self._watch_code(), self._watch_worker(), self._connect()]
        watchers = [asyncio.ensure_future(each) for each in background]
        await self._ended.wait()
        for watcher in watchers:
            watcher.cancel()
        await self._functions.close()
        self._children.close()
        return 0

    # Connection to the worker.

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._ended.is_set():
            link = _Link(self)
            try:
                if self._options.connection is not None:
                    sock = socket.socket(fileno=self._options.connection)
                    await loop.create_connection(lambda: link, sock=sock)  # noqa: B023
                else:
                    await loop.create_unix_connection(lambda: link, str(self._options.link))  # noqa: B023
            except OSError as error:
                log.debug("%s: %s", self._options.link, error)
            else:
                await link.closed.wait()
                if self._options.connection is not None:
                    await self._end(kill=True)
                    return  # the number may be that of another file by now
            await asyncio.sleep(CONNECT_SECONDS)

    def on_connection(self, link: _Link) -> None:
        link.send(
            event="hello",
            version=VERSION,
            incarnation=self._incarnation,
            key=self._key,
            environment=self._given,
            image=self._image,
            mounts=self._mounts,
            process=os.getpid(),
        )

    def on_message(self, link: _Link, message: dict[str, Any]) -> None:
        what = message.get("do")
        if what == "welcome":
            self._welcome(link, message["key"])
        elif link is not self._link:
            log.warning("a message before the worker's welcome is ignored: %.100r", message)
        elif what == "run":
            for job in message["jobs"]:
                try:
                    self._begin(Job.from_message(job))
                except (TypeError, ValueError) as error:
                    reason = f"the runner cannot read its job: {error}"
                    self._say(event="refused", attempt=job.get("attempt"), reason=reason)
        elif what == "stop":
            for attempt in message["attempts"]:
                if attempt in self._running:
                    self._running[attempt].stop()
        elif what == "forget":
            self._forget(message["attempts"])
        elif what == "leave":
            self._left_at = time.monotonic()

    def on_closed(self, link: _Link) -> None:
        if link is self._link:
            self._link = None

    def _welcome(self, link: _Link, key: str) -> None:
        if self._log is None:
            self._key = key
            self._options.tasks.mkdir(parents=True, exist_ok=True)
            self._kill_orphans()
            self._log = RunnerLog(self._options.log, key.encode())
        self._link = link
        self._left_at = None
        for attempt, entry in self._log.entries.items():
            self._say_held(attempt, entry)
        self._say(event="synced")

    def _say_held(self, attempt: str, entry: Entry) -> None:
        """Say what the disk holds of an attempt; the rest is said when the disk has it."""
        unsaid = [event["event"] for event in self._unsaid if event["attempt"] == attempt]
        if "taken" in unsaid:
            return
        ended: Any = "lost" if entry.ended is None else entry.ended
        if attempt in self._running or "ended" in unsaid:
            ended = "running"
        self._say(event="held", attempt=attempt, context=entry.context, started=entry.started, ended=ended)

    def _say(self, **event: Any) -> None:
        """Send an event if there is a worker; one that comes learns what counts from the log."""
        if self._link is not None:
            self._link.send(**event)

    # Attempts.

    @property
    def _records(self) -> RunnerLog:
        assert self._log is not None
        return self._log

    def _begin(self, job: Job) -> None:
        name = job.attempt
        if name in self._records.entries:
            self._say_held(name, self._records.entries[name])
            return
        if self._is_ending:
            self._say(event="refused", attempt=name, reason="the runner of this host ends")
            return
        attempt = self._running[name] = self._attempt(job)
        self._records.give(name, job.context)
        self._say_when_durable(event="taken", attempt=name)
        task = asyncio.ensure_future(self._execute(job, attempt))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _attempt(self, job: Job) -> Attempt:
        name = job.attempt

        def on_started() -> None:
            when = time.time()
            self._records.start(name, when)
            self._say(event="started", attempt=name, when=when)

        def on_metrics(metrics: dict[str, Metric], reports: list[tuple[int, Metric]]) -> None:
            self._say(event="metrics", attempt=name, metrics=metrics, reports=reports)

        return Attempt(
            job, self._given, self._children, self._functions, on_metrics, on_started, self._values
        )

    async def _execute(self, job: Job, attempt: Attempt) -> None:
        name = job.attempt
        try:
            with version_in_use(Path(job.project_path).parent):
                execution = (await attempt.run()).to_message()
        except FrameworkError as error:
            self._records.forget(name)
            self._unsaid = [event for event in self._unsaid if event["attempt"] != name]
            self._say(event="refused", attempt=name, reason=str(error))
            return
        except Exception as error:
            log.exception("unexpected error while attempt %s was run", name)
            reason = f"unexpected error of the runner, see its log: {error!r:.200}"
            execution = {
                "exit_code": None,
                "seconds": 0.0,
                "state": "failed",
                "reason": reason,
                "metrics": {},
            }
        finally:
            del self._running[name]
        self._say(event="exited", attempt=name)
        entry = self._records.entries[name]
        self._records.end(name, execution)
        self._say_when_durable(
            event="ended", attempt=name, context=entry.context, started=entry.started, execution=execution
        )

    def _forget(self, attempts: Iterable[str]) -> None:
        for attempt in attempts:
            if attempt not in self._running:
                self._records.forget(attempt)
        self._flush_soon()

    # Durability.

    def _say_when_durable(self, **event: Any) -> None:
        self._unsaid.append(event)
        self._flush_soon()

    def _flush_soon(self, seconds: float = GATHER_SECONDS) -> None:
        if not self._is_flush_due:
            self._is_flush_due = True
            asyncio.get_running_loop().call_later(seconds, self._flush)

    def _flush(self) -> None:
        self._is_flush_due = False
        try:
            self._records.sync()
        except OSError as error:
            log.error("%s: %s; outcomes wait for room", self._options.log, error.strerror)
            self._flush_soon(RETRY_SECONDS)
            return
        events, self._unsaid = self._unsaid, []
        for event in events:
            self._say(**event)

    # The runner's own end.

    async def _watch_signals(self, is_init: bool) -> None:
        while True:
            await asyncio.sleep(SIGNAL_SECONDS)
            arrived = signal.sigtimedwait([signal.SIGTERM], 0)
            # A process outside the namespace of this one has no number here.
            if arrived is not None and (not is_init or arrived.si_pid == 0):
                log.warning("told to end: running tasks are stopped, and handed back")
                await self._end()

    async def _watch_code(self) -> None:
        """End for a new framework once nothing is held; Docker's restart policy starts the runner again."""
        while self._options.code is not None:
            await asyncio.sleep(CODE_SECONDS)
            is_idle = self._log is not None and not self._log.entries and not self._unsaid
            if is_idle and self._framework_version() not in ("", self._framework):
                log.warning("new framework files: the runner restarts to use them")
                self._is_ending = True  # what the worker gives it from now on is refused, and given again
                self._ended.set()

    def _framework_version(self) -> str:
        """Return the version of the framework that new processes use; "" if it is unknown."""
        try:
            return Code.current(self._options.code).framework_version if self._options.code else ""
        except FrameworkError as error:
            log.error("%s", error)
            return ""

    async def _watch_worker(self) -> None:
        """Stop what runs if the worker has left and does not come back: its tasks run elsewhere then."""
        while True:
            await asyncio.sleep(1.0)
            if self._left_at is not None and time.monotonic() - self._left_at > LEAVE_SECONDS:
                self._left_at = None
                if self._running:
                    log.warning("the worker has left and is not back: running tasks are stopped")
                self._stop_all()

    def _kill_orphans(self) -> None:
        for directory in (self._options.tasks, self._options.tasks.with_name("setup")):
            kill_orphans(directory)

    def _stop_all(self) -> None:
        for attempt in self._running.values():
            attempt.stop()

    async def _end(self, kill: bool = False) -> None:
        """Stop all attempts, and wait until the worker has kept their outcomes, but not for ever."""
        if self._is_ending:
            return
        self._is_ending = True
        if kill:
            self._kill_orphans()
        while self._tasks:
            self._stop_all()
            await asyncio.wait(self._tasks, timeout=1.0)
        deadline = time.monotonic() + (0.0 if kill else FAREWELL_SECONDS)
        while self._log is not None and (self._log.entries or self._unsaid) and time.monotonic() < deadline:
            if self._link is None:  # it may be about to come back
                deadline = min(deadline, time.monotonic() + LONELY_SECONDS)
            await asyncio.sleep(GATHER_SECONDS)
        if self._log is not None:
            self._flush()
        self._ended.set()


class _Link(asyncio.Protocol):
    """One connection to a worker."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._lines = Lines()
        self.closed = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._runner.on_connection(self)

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._lines.take(data):
                self._runner.on_message(self, message)
        except Exception:
            log.exception("the worker's message cannot be executed; the connection begins anew")
            self._transport.abort()

    def connection_lost(self, _: Exception | None) -> None:
        self._runner.on_closed(self)
        self.closed.set()

    def send(self, **event: Any) -> None:
        if not self._transport.is_closing():
            self._transport.write(encode(event))
