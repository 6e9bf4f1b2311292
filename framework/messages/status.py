"""Status of a sweep: published every second, rendered for people."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from framework.errors import FrameworkError
from framework.files import read_regular, write_atomically
from framework.messages.events import Event
from framework.messages.host_use import UNKNOWN_USE, HostUse

STALE_SECONDS = 15.0
FEW_KNOWN = 8  # durations, below which an estimate is a guess
LONGEST_STATUS = 64 * 2**20  # bytes
EVENTS_IN_SUMMARY = 5


@dataclass(frozen=True)
class Estimate:
    """Expected duration of the rest of a sweep, in seconds."""

    seconds: float
    least: float  # nine times out of ten it is more
    most: float  # nine times out of ten it is less
    known: int  # tasks from whose durations it was made
    like: str = ""  # the host of which two more would save something; empty: nothing, or not known
    saved: float = 0.0


@dataclass(frozen=True)
class HostStatus:
    """One worker host."""

    slots: int
    running: int
    reserved: int
    seconds_since_beat: float
    alive: bool
    drained: bool = False  # it is sent nothing more
    use: HostUse = UNKNOWN_USE
    lost: int = 0  # attempts that it has lost since the master began

    @property
    def is_usable(self) -> bool:
        return self.alive and not self.drained


@dataclass(frozen=True)
class Status:
    """The sweep and its hosts at one moment."""

    updated: float  # Unix time
    project: str
    version: str  # version of the code that the master has taken up
    total: int  # combinations of the sweep
    done: int
    failed: int
    running: int
    finished: bool  # every combination has a terminal record and results.csv is written
    seconds_left: float | None  # as in `estimate`
    refused_version: str = ""  # version of code that was pushed and is not valid
    cancelled: int = 0
    outdated: int = 0  # done by other code, or in another image, than the current one
    pruned: int = 0  # ended early, worse than others
    paused: str = ""  # the reason, and how to resume; empty if the sweep is not paused
    metric: str = ""  # the project's; empty if it names none
    best: float | None = None  # the best value of it when results were published last
    quarantined: int = 0  # malformed, foreign or unexpected messages
    notices: list[str] = field(default_factory=list)  # what a person should know or do
    hosts: dict[str, HostStatus] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)  # the last ones, the latest one last
    estimate: Estimate | None = None  # None if nothing is known yet
    rate: float | None = None  # tasks that end in a minute, lately; None if nothing is known yet

    @property
    def waiting(self) -> int:
        return self.total - self.ended - self.running

    @property
    def ended(self) -> int:
        return self.done + self.failed + self.cancelled + self.pruned

    @property
    def succeeded(self) -> int:
        """The number of tasks that ended as they should: a pruned one has served its purpose."""
        return self.done + self.pruned

    @property
    def idle(self) -> bool:
        """True if no host has anything to run."""
        return not any(host.running or host.reserved for host in self.hosts.values())

    def write(self, path: Path) -> None:
        write_atomically(path, json.dumps(asdict(self)), fsync=False)


def read_status(path: Path, stale: float = STALE_SECONDS) -> Status:
    """The latest status; raises FrameworkError if the master has written none for `stale` seconds."""
    try:
        status = status_of(json.loads(read_regular(path, LONGEST_STATUS)))
        age = time.time() - status.updated
    except FileNotFoundError:
        raise FrameworkError("the master has not started yet: it has written no status") from None
    except (ArithmeticError, AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise FrameworkError(f"{path}: it is no status ({error!r:.200})") from error
    if age > stale:
        raise FrameworkError(f"the master has written no status for {age:.0f} s: see its log (docker logs)")
    return status


def status_of(content: Mapping[str, Any]) -> Status:
    """The status in what write() has written, or in a document that says more; raises KeyError, TypeError."""
    known = {each.name for each in fields(Status)}
    hosts = {name: _host_status(host) for name, host in content["hosts"].items()}
    rest = content.get("estimate")
    estimate = None if rest is None else Estimate(**rest)
    events = [Event(**event) for event in content.get("events", [])]
    others = {name: value for name, value in content.items() if name in known}
    return Status(**others | {"hosts": hosts, "estimate": estimate, "events": events})


def _host_status(content: dict[str, Any]) -> HostStatus:
    return HostStatus(**content | {"use": HostUse.from_status(content.get("use") or asdict(UNKNOWN_USE))})


def summary(status: Status) -> str:
    """The status in a few lines of text."""
    lines = [
        f"{status.project}: {status.total} combinations: {status.done} done, {status.running} running, "
        f"{status.waiting} waiting, {status.failed} failed"
        + (f", {status.cancelled} cancelled" if status.cancelled else "")
        + (f", {status.pruned} pruned" if status.pruned else "")
        + remaining(status)
    ]
    if status.estimate is not None and not status.finished and not status.paused:
        lines.append(expectation(status.estimate))
    if status.hosts:
        width = max(len("host"), *(len(name) for name in status.hosts))
        lines.append(f"{'host':<{width}}  slots  running  last heard of")
        for name, host in sorted(status.hosts.items()):
            heard = f"{host.seconds_since_beat:.0f} s ago" + ("" if host.alive else "  (out of reach)")
            heard += "  (drained: it is sent nothing more)" if host.drained else ""
            lines.append(f"{name:<{width}}  {host.slots:>5}  {host.running:>7}  {heard}")
    if status.quarantined:
        lines.append(f"{status.quarantined} malformed or foreign messages: see quarantine.jsonl")
    lines.extend(status.notices)
    for event in status.events[-EVENTS_IN_SUMMARY:]:
        lines.append(f"{duration(max(0.0, status.updated - event.time))} ago: {event.text}")
    return "\n".join(lines)


def progress(status: Status, columns: int) -> str:
    """The status as a progress bar in one line of at most `columns` characters."""
    text = f" {status.ended}/{status.total} tasks, {status.running} running"
    text += f", {status.failed} failed" if status.failed else ""
    text += ", paused" if status.paused else remaining(status)
    width = max(10, min(40, columns - len(text) - 3))
    filled = width if not status.total else width * status.ended // status.total
    return ("[" + "#" * filled + "-" * (width - filled) + "]" + text)[: max(columns, 1)]


def outdated_results(outdated: int, done: int, renew: str) -> str:
    """A notice that results are outdated; `renew` says what to type to renew them."""
    made = f"{outdated} of {done} results were made with other files of the project, or in another image"
    return f"{made}: {renew}"


def remaining(status: Status) -> str:
    if status.finished or status.seconds_left is None:
        return ""
    return f", about {duration(status.seconds_left)} left"


def expectation(estimate: Estimate) -> str:
    """The expected duration as people can act on it: its range, and what more hosts would save."""
    text = f"about {duration(estimate.seconds)}"
    if estimate.known < FEW_KNOWN:
        return f"{text}, a guess from {estimate.known} task{'s' if estimate.known > 1 else ''}"
    least, most = duration(estimate.least), duration(estimate.most)
    text += f" ({least} to {most})" if least != most else ""
    if estimate.like:
        text += f" on these hosts; 2 more like {estimate.like}: {duration(estimate.saved)} less"
    return text


def duration(seconds: float) -> str:
    """A rounded duration with its units."""
    if round(seconds) < 100:
        return f"{round(seconds)} s"
    minutes = round(seconds) // 60
    if minutes < 100:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // (24 * 60)} d {minutes // 60 % 24} h"
