"""Notifier: tells those whom `notify:` names what has happened, in a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from framework.files import read_regular, write_atomically
from framework.master.delivery import DeliveryError, call_webhook, run_command
from framework.messages.events import Event
from framework.project.notify import Notify
from framework.project.project import Project

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 5.0  # before a second try; each further pause is twice as long
LONGEST_PAUSE_SECONDS = 300.0
GIVE_UP_SECONDS = 3600.0  # after the event
_MOST_WAITING = 100
_TOLD = ("ended", "paused", "metric", "suspended")  # and the first failure

Content = dict[str, Any]


class Notifier:
    """Sends each event that people want to be told of, also one from before a restart of the master."""

    def __init__(
        self, project: Project, values: Mapping[str, str], file: Path, events: Sequence[Event]
    ) -> None:
        """`values`: those that `notify:` wants. `file`: has the number of the event that was handled last.

        `events`: those that are known; if there is no file, nobody is told of them.
        """
        self._notify = project.notify
        self._project = project
        wanted = () if project.notify is None else project.notify.wanted
        self._values = {each.name: values[each.name] for each in wanted if each.name in values}
        self._file = file
        self._waiting: deque[tuple[Event, Content]] = deque(maxlen=_MOST_WAITING)
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._queued = self._read_last(events)  # number of the last event that was looked at
        self.problem = ""  # what a person should know: nobody can be told

    def _read_last(self, events: Sequence[Event]) -> int:
        last = events[-1].number if events else 0
        try:  # a killed master may have told of events that are not in its file: their numbers come again
            return min(last, int(read_regular(self._file, 100)))
        except (OSError, ValueError):
            return last

    def look(self, events: Sequence[Event], describe: Callable[[Event], Content]) -> None:
        """Queue those of the last events that are new and wanted; describe() is called for each."""
        if self._notify is None or not events or events[-1].number <= self._queued:
            return
        news = [event for event in _told(events) if event.number > self._queued]
        self._queued = events[-1].number
        if not news:
            return
        with self._changed:
            self._waiting.extend((event, describe(event)) for event in news)
            self._changed.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="notifier", daemon=True)
            self._thread.start()

    @property
    def is_idle(self) -> bool:
        """True if nothing waits to be sent."""
        with self._changed:
            return not self._waiting

    def _run(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                event, content = self._waiting[0]
            problem, is_over = self._try(event, content)
            if problem and problem != self.problem:
                log.info("%s", problem)  # it is a notice, too
            self.problem = problem
            if not is_over:
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
                continue
            pause = FIRST_PAUSE_SECONDS
            self._note(event)
            with self._changed:
                if self._waiting[0][0] is event:  # no others have taken its place
                    self._waiting.popleft()

    def _try(self, event: Event, content: Content) -> tuple[str, bool]:
        """Tell of one event; returns the problem, and whether that was the last try."""
        try:
            self._deliver(content)
        except DeliveryError as error:
            is_over = error.is_final or time.time() > event.time + GIVE_UP_SECONDS
            return f"notify: {error}; {'given up' if is_over else 'it is tried again'}", is_over
        except Exception as error:  # the thread stays
            log.exception("a notification")
            return f"notify: {type(error).__name__}; given up", True
        return "", True

    def _deliver(self, content: Content) -> None:
        notify = self._notify or Notify()
        missing = [each.name for each in notify.wanted if each.name not in self._values]
        if missing:
            names = " and ".join(missing)
            raise DeliveryError(
                f"{names} is not known to the master: ./infrainit.sh -f sends it", is_final=True
            )
        if notify.command:
            directory = self._project.path / self._project.workdir
            run_command(notify.command, content, directory, {**dict(notify.values), **self._values})
        else:
            call_webhook(notify.address(self._values), content)

    def _note(self, event: Event) -> None:
        try:
            write_atomically(self._file, f"{event.number}\n", fsync=False)
        except OSError as error:
            log.warning("%s cannot be written: %s", self._file, error.strerror)


def read_values(file: Path) -> dict[str, str]:
    """The values that infrainit.sh has sent: NAME=value, each ended by a NUL; none without the file."""
    try:
        lines = read_regular(file, 2**20).decode(errors="surrogateescape").split("\0")
    except (OSError, ValueError):
        return {}
    return {name: value for name, equals, value in (line.partition("=") for line in lines) if equals}


def _told(events: Iterable[Event]) -> list[Event]:
    """Those that people want to be told of: of failures the first, since a sweep has ended or runs again."""
    told, has_failed = [], False
    for event in events:
        if event.kind in ("ended", "request"):
            has_failed = False
        if event.kind in _TOLD or (event.kind == "failed" and not has_failed):
            told.append(event)
        has_failed |= event.kind == "failed"
    return told


def content_of(
    event: Event, project: str, sweep: Mapping[str, Any], best: Mapping[str, Any] | None
) -> Content:
    """The JSON of an event. Chat programs read marks in angle brackets, which no task may write."""
    text = f"{project}: {event.text}".replace("<", "[").replace(">", "]")
    return {
        "text": text, "event": event.kind, "project": project, "time": event.time,
        "sweep": dict(sweep), "best": best,
    }  # fmt: skip
