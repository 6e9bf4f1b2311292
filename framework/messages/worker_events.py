"""Events of workers: heartbeats, starts, metrics and refusals.

An event may be lost: a heartbeat repeats what counts. Every event is checked on arrival, like a result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from framework.errors import MessageError
from framework.messages.checks import (
    Check,
    are_metrics,
    checked,
    is_bool,
    is_count,
    is_host,
    is_in_range,
    is_reason,
    is_text,
    is_time,
)
from framework.messages.host_use import UNKNOWN_USE, HostUse, is_host_use
from framework.messages.metrics import Metric, as_number
from framework.messages.task_ids import AttemptId, is_attempt_number, is_task_id

Message: TypeAlias = Mapping[str, Any]

HEARTBEAT_SECONDS = 3.0  # between two heartbeats of a worker
MAX_PENDING_EVENTS = 10_000  # the oldest is dropped: later events repeat or supersede it

_MOST_HELD = 20_000  # attempts that one worker holds
_MOST_SLOTS = 10_000
_MOST_REPORTS = 100


@dataclass(frozen=True)
class Source:
    """The worker that an event comes from."""

    infrastructure: str
    project: str
    host: str

    def header(self, kind: str) -> dict[str, Any]:
        fields = {"infrastructure": self.infrastructure, "project": self.project, "host": self.host}
        return {"kind": kind, **fields}


@dataclass(frozen=True)
class Heartbeat:
    """The attempts that a worker holds; renews their leases."""

    source: Source
    incarnation: str  # differs after each start of the worker
    slots: int  # attempts that it may run at a time; 0: it is to be sent nothing
    running: frozenset[AttemptId]
    reserved: frozenset[AttemptId]  # received, and not running yet
    notice: str = ""  # what a person should know of this worker; empty if all is well
    unfit: bool = False  # its host can never run a task of this project; the notice gives the reason
    use: HostUse = UNKNOWN_USE

    def to_message(self) -> dict[str, Any]:
        return self.source.header("beat") | {
            "incarnation": self.incarnation,
            "slots": self.slots,
            "running": sorted(map(str, self.running)),
            "reserved": sorted(map(str, self.reserved)),
            "notice": self.notice,
            "unfit": self.unfit,
            "use": self.use.to_message(),
        }


@dataclass(frozen=True)
class Started:
    """An attempt has started."""

    source: Source
    attempt: AttemptId
    started: float  # seconds since the epoch, by the worker's clock

    def to_message(self) -> dict[str, Any]:
        return self.source.header("started") | _attempt_fields(self.attempt) | {"started": self.started}


@dataclass(frozen=True)
class MetricsUpdate:
    """The metrics of a running attempt."""

    source: Source
    attempt: AttemptId
    metrics: Mapping[str, Metric]  # the last value of each
    reports: tuple[tuple[int, Metric], ...] = ()  # for early termination: all so far, as (number, value)

    def to_message(self) -> dict[str, Any]:
        return self.source.header("metrics") | _attempt_fields(self.attempt) | {
            "metrics": dict(self.metrics),
            "reports": [list(report) for report in self.reports],
        }  # fmt: skip


@dataclass(frozen=True)
class Refusal:
    """A message that a worker received and did not execute."""

    source: Source
    reason: str
    message: str  # the beginning of the message, printable

    def to_message(self) -> dict[str, Any]:
        return self.source.header("refused") | {"reason": self.reason, "message": self.message}


WorkerEvent: TypeAlias = Heartbeat | Started | MetricsUpdate | Refusal


def parse_event(content: object) -> WorkerEvent:
    """The event that a message holds; raises MessageError if it is not exactly an event."""
    kind = content.get("kind") if isinstance(content, dict) else None
    if not isinstance(content, dict) or not isinstance(kind, str) or kind not in _KINDS:
        raise MessageError(f"an event of no known kind: {kind!r:.100}")
    fields = checked(_NOT_IN_OLDER_ONES.get(kind, {}) | content, _HEADER | _KINDS[kind])
    source = Source(fields["infrastructure"], fields["project"], fields["host"])
    match kind:
        case "beat":
            return Heartbeat(
                source,
                incarnation=fields["incarnation"],
                slots=fields["slots"],
                running=frozenset(map(AttemptId.parse, fields["running"])),
                reserved=frozenset(map(AttemptId.parse, fields["reserved"])),
                notice=fields["notice"],
                unfit=fields["unfit"],
                use=HostUse.from_message(fields["use"]),
            )
        case "started":
            return Started(source, _attempt(fields), fields["started"])
        case "metrics":
            reports = tuple((number, value) for number, value in fields["reports"])
            return MetricsUpdate(source, _attempt(fields), fields["metrics"], reports)
        case _:
            return Refusal(source, fields["reason"], fields["message"])


def _attempt(fields: Message) -> AttemptId:
    return AttemptId(fields["task"], fields["attempt"])


def _attempt_fields(attempt: AttemptId) -> dict[str, Any]:
    return {"task": attempt.task, "attempt": attempt.number}


def _is_slots(value: object) -> bool:
    return is_count(value, _MOST_SLOTS)


def _are_held(value: object) -> bool:
    """True for a list of attempts; whether each is one is found when it is parsed."""
    return isinstance(value, list) and len(value) <= _MOST_HELD


def are_reports(value: object) -> bool:
    return isinstance(value, list) and len(value) <= _MOST_REPORTS and all(map(_is_report, value))


def _is_report(value: object) -> bool:
    """A report of the project's metric: [its number, its value], as in [9, 0.5] or [27, "nan"]."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and is_attempt_number(value[0])
        and is_in_range(value[1])
        and as_number(value[1]) is not None
    )


_HEADER: dict[str, Check] = {
    "kind": is_text,
    "infrastructure": is_text,
    "project": is_text,
    "host": is_host,
}
_KINDS: dict[str, dict[str, Check]] = {
    "beat": {
        "incarnation": is_text,
        "slots": _is_slots,
        "running": _are_held,
        "reserved": _are_held,
        "notice": is_reason,
        "unfit": is_bool,
        "use": is_host_use,
    },
    "started": {"task": is_task_id, "attempt": is_attempt_number, "started": is_time},
    "metrics": {
        "task": is_task_id,
        "attempt": is_attempt_number,
        "metrics": are_metrics,
        "reports": are_reports,
    },
    "refused": {"reason": is_reason, "message": is_reason},
}
# Fields that workers of an older framework do not send, and the meaning of their absence.
_NOT_IN_OLDER_ONES: dict[str, dict[str, Any]] = {
    "beat": {"notice": "", "unfit": False, "use": UNKNOWN_USE.to_message()},
    "metrics": {"reports": []},
}
