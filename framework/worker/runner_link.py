"""Link of a worker to the runner in the other container of its host.

The worker listens; the directory of the socket is read-only for the runner and its tasks. These run as the
same user, so a task may connect as well: the worker talks to one connection only, that of the runner that
shows the key. A runner that has just started has none yet, and as long as it has none it has no tasks. So the
first connection without a key is believed, but only when no runner can be alive that has the key: it has had
time to come back, and did not.
"""

from __future__ import annotations

import hmac
import logging
import os
import secrets
import selectors
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from framework.files import WorkerFiles, write_atomically
from framework.worker.connection import RunnerConnection
from framework.worker.runner_events import is_hello
from framework.worker.worker import Worker

log = logging.getLogger(__name__)

RETURN_SECONDS = 2.0  # after the end of its connection, for a runner that lives to come back
START_SECONDS = 10.0  # after the start of this worker, for a runner that has outlived another one
HELLO_SECONDS = 5.0  # for whoever connects to say hello
TICK_SECONDS = 1.0
REFUSAL_SECONDS = 60.0  # between two lines about the same reason: a task can connect as often as it likes
MOST_PENDING = 16  # connections that have not been told apart yet


@dataclass(eq=False)
class _Pending:
    """A connection that may be the runner's."""

    connection: RunnerConnection
    deadline: float  # value of time.monotonic() by which it has to say hello
    hello: Mapping[str, Any] | None = None


class Refusals:
    """Log of connections that were refused: says each reason at most once a minute, and how often it was."""

    def __init__(self) -> None:
        self._unsaid: dict[str, int] = {}
        self._say_at: dict[str, float] = {}  # value of time.monotonic() from which a reason is said again

    def note(self, reason: str) -> None:
        self._unsaid[reason] = self._unsaid.get(reason, 0) + 1
        self.say()

    def say(self) -> None:
        """Say what is due."""
        now = time.monotonic()
        for reason in [each for each in self._unsaid if now >= self._say_at.get(each, now)]:
            self._say_at[reason] = now + REFUSAL_SECONDS
            count = self._unsaid.pop(reason)
            times = "" if count == 1 else f" {count} times"
            log.error("a process on this host that claims to be the runner was refused%s: %s", times, reason)


class RunnerLink(threading.Thread):
    """Thread that listens for the runner, hands its events to the worker, and has the worker tick."""

    def __init__(self, worker: Worker, files: WorkerFiles) -> None:
        super().__init__(name="runner", daemon=True)
        self._worker = worker
        self._files = files
        self._selector = selectors.DefaultSelector()
        self._pending: list[_Pending] = []
        self._runner: RunnerConnection | None = None
        self._refusals = Refusals()
        self._unknown_since: float | None = None  # when one with a wrong key came, while there was no runner
        has_key = files.runner_key.exists()
        self._key = files.runner_key.read_text() if has_key else self._make_key()
        # Until then, only a runner that has the key is believed.
        self._open_at = time.monotonic() + (START_SECONDS if has_key else 0.0)
        self._listener = self._listen()
        self._selector.register(self._listener, selectors.EVENT_READ)

    def _make_key(self) -> str:
        key = secrets.token_hex(32)
        write_atomically(self._files.runner_key, key, fsync=True, mode=0o600)
        return key

    def _listen(self) -> socket.socket:
        path = self._files.link
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        os.chmod(path, 0o600)
        listener.listen()
        listener.setblocking(False)
        return listener

    def run(self) -> None:
        tick_at = time.monotonic()
        while True:
            wait = max(0.0, tick_at - time.monotonic())
            try:
                for key, _ in self._selector.select(wait):
                    self._on_readable(key.fileobj)
                if time.monotonic() >= tick_at:
                    tick_at = time.monotonic() + TICK_SECONDS
                    self._judge_pending()
                    self._report_refusals()
                    self._worker.tick()
            except Exception:
                # Without this thread the worker would run on, and give its runner nothing.
                log.exception("unexpected error in the link to the runner; it goes on")
                time.sleep(TICK_SECONDS)

    def _on_readable(self, what: Any) -> None:
        if what is self._listener:
            self._accept()
        elif what is self._runner:
            self._receive()
        else:  # or of a connection that was closed a moment ago
            for pending in [each for each in self._pending if each.connection is what]:
                self._hear(pending)

    def _accept(self) -> None:
        sock, _ = self._listener.accept()
        sock.setblocking(True)
        if len(self._pending) >= MOST_PENDING:
            self._drop(self._pending[0])  # the runner says hello at once
        pending = _Pending(RunnerConnection(sock), time.monotonic() + HELLO_SECONDS)
        self._pending.append(pending)
        self._selector.register(pending.connection, selectors.EVENT_READ)

    def _hear(self, pending: _Pending) -> None:
        messages = pending.connection.receive()
        if messages:
            pending.hello = messages[0]
            self._judge(pending)
        elif messages is None:
            self._drop(pending)

    def _judge_pending(self) -> None:
        for pending in list(self._pending):
            if pending in self._pending:
                self._judge(pending)

    def _judge(self, pending: _Pending) -> None:
        """Decide on a connection, as far as that can be done now."""
        now = time.monotonic()
        if pending.hello is None:
            if now >= pending.deadline:
                self._drop(pending)
            return
        shown = pending.hello.get("key")
        if shown is not None:
            if self._is_key(shown):
                self._connect(pending, pending.hello)
            else:
                if self._runner is None and self._unknown_since is None:
                    self._unknown_since = now
                self._refuse(pending, "it shows a wrong key")
        elif self._runner is not None:
            self._refuse(pending, "the runner is connected already")
        elif now >= self._open_at:
            self._connect(pending, pending.hello)

    def _is_key(self, shown: object) -> bool:
        return isinstance(shown, str) and hmac.compare_digest(
            shown.encode(errors="replace"), self._key.encode()
        )

    def _refuse(self, pending: _Pending, reason: str) -> None:
        self._refusals.note(reason)
        self._drop(pending)

    def _report_refusals(self) -> None:
        self._refusals.say()
        if self._unknown_since is not None and time.monotonic() - self._unknown_since >= START_SECONDS:
            self._worker.on_refused()  # this worker's key was lost, or its runner's is another one

    def _drop(self, pending: _Pending) -> None:
        self._pending.remove(pending)
        self._selector.unregister(pending.connection)
        pending.connection.close()

    def _connect(self, pending: _Pending, hello: Mapping[str, Any]) -> None:
        if not is_hello(hello):
            self._refuse(pending, "it does not say what it has to")
            return
        if self._runner is not None:
            self._disconnect()
        self._pending.remove(pending)
        self._runner = pending.connection
        self._unknown_since = None
        self._runner.trust()
        log.info("connected to the runner (image %s)", hello.get("image") or "unknown")
        self._worker.on_connected(self._runner, hello)
        self._runner.send(do="welcome", key=self._key)

    def _receive(self) -> None:
        assert self._runner is not None
        messages = self._runner.receive()
        if messages is None:
            log.warning("the connection to the runner has ended")
            self._disconnect()
            return
        for message in messages:
            try:
                self._worker.on_event(message)
            except Exception:  # those that follow count all the same
                log.exception("an event of the runner cannot be taken: %.200r", message)

    def _disconnect(self) -> None:
        assert self._runner is not None
        self._selector.unregister(self._runner)
        self._runner.close()
        self._runner = None
        self._open_at = time.monotonic() + RETURN_SECONDS
        self._worker.on_disconnected()
