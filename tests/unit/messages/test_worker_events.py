"""Events of workers: accepted only if they are exactly valid."""

from __future__ import annotations

from typing import Any

import pytest

from framework.errors import MessageError
from framework.messages.task_ids import AttemptId
from framework.messages.worker_events import Heartbeat, Source, parse_event

TASK = "0123456789abcdef"
HEADER = {"infrastructure": "i", "project": "p", "host": "a"}
BEAT: dict[str, Any] = HEADER | {
    "kind": "beat", "incarnation": "x", "slots": 2, "running": [f"{TASK}.1"], "reserved": [], "notice": "",
    "unfit": False, "use": {"load": 0.0, "cpus": 0.0, "gpus": []},
}  # fmt: skip


def test_valid_events_are_parsed_unchanged() -> None:
    assert parse_event(BEAT).to_message() == BEAT
    for news in (
        {"kind": "started", "task": TASK, "attempt": 1, "started": 1.5},
        {"kind": "metrics", "task": TASK, "attempt": 1, "metrics": {"loss": 0.5}, "reports": [[3, 0.5]]},
        {"kind": "refused", "reason": "why", "message": "what"},
    ):
        assert parse_event(HEADER | news).to_message() == HEADER | news


def test_a_worker_of_an_older_framework_has_no_notice_and_is_fit() -> None:
    older = {name: value for name, value in BEAT.items() if name not in ("notice", "unfit", "use")}
    assert parse_event(older).to_message() == BEAT


@pytest.mark.parametrize(
    "use",
    [
        None,
        {"load": 1.0, "cpus": 2.0},
        {"load": -1.0, "cpus": 2.0, "gpus": []},
        {"load": float("nan"), "cpus": 2.0, "gpus": []},
        {"load": 1e9, "cpus": 2.0, "gpus": []},
        {"load": "1", "cpus": 2.0, "gpus": []},
        {"load": 1.0, "cpus": 2.0, "gpus": [[50, 1, 2]] * 65},
        {"load": 1.0, "cpus": 2.0, "gpus": [[101, 1, 2]]},
        {"load": 1.0, "cpus": 2.0, "gpus": [[50, 1.5, 2]]},
        {"load": 1.0, "cpus": 2.0, "gpus": [[50, 1, 2.5]]},
        {"load": 1.0, "cpus": 2.0, "gpus": [[50, 1]]},
        {"load": 1.0, "cpus": 2.0, "gpus": [], "more": 1},
    ],
)
def test_an_impossible_use_of_a_host_is_refused(use: Any) -> None:
    likely = {"load": 3.5, "cpus": 8.0, "gpus": [[None, 0, 0], [50, 30_000, 40_000]]}
    assert parse_event(BEAT | {"use": likely}).to_message()["use"] == likely
    with pytest.raises(MessageError, match="use"):
        parse_event(BEAT | {"use": use})


def test_a_worker_of_an_older_framework_has_no_reports() -> None:
    older = HEADER | {"kind": "metrics", "task": TASK, "attempt": 1, "metrics": {"loss": 0.5}}
    assert parse_event(older).to_message()["reports"] == []


@pytest.mark.parametrize(
    "reports",
    [
        5,
        [3, 0.5],
        [[3]],
        [[0, 0.5]],
        [["3", 0.5]],
        [[3, "good"]],
        [[3, None]],
        [[3, True]],
        [[3, 10**400]],
        [[1, 0.5]] * 101,
    ],
    ids=lambda reports: str(reports)[:40],
)
def test_invalid_reports_are_refused(reports: Any) -> None:
    news = HEADER | {"kind": "metrics", "task": TASK, "attempt": 1, "metrics": {}}
    assert parse_event(news | {"reports": [[3, 0.5], [9, "nan"], [27, 1]]})
    with pytest.raises(MessageError):
        parse_event(news | {"reports": reports})


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "nonsense"}, {"kind": ["beat"]}, {"kind": None}, {"host": 5}, {"host": ""}, {"slots": "2"},
        {"host": "a\x1b[2J"}, {"slots": -1}, {"slots": True}, {"slots": 10**9}, {"slots": float("inf")},
        {"running": "x"}, {"running": [["x"]]}, {"running": [f"{TASK}.x"]}, {"running": [TASK]},
        {"running": [f"{TASK}.0"]}, {"running": [f"{TASK}.\u0661"]}, {"running": [f"{TASK}.01"]},
        {"reserved": [f"../../{TASK}.1"]}, {"reserved": [f"{TASK}.{'9' * 9999}"]},
        {"incarnation": None}, {"notice": "x" * 10_000}, {"unfit": "yes"}, {"extra": 1},
    ],
    ids=lambda change: str(change)[:40],
)  # fmt: skip
def test_an_event_with_an_invalid_field_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(MessageError):
        parse_event(BEAT | change)


@pytest.mark.parametrize("started", [2**53 - 1, 10**400, -1, "now", float("nan")], ids=lambda it: str(it)[:9])
def test_a_start_at_an_impossible_time_is_refused(started: object) -> None:
    news = HEADER | {"kind": "started", "task": TASK, "attempt": 1, "started": started}
    with pytest.raises(MessageError, match="an impossible started"):
        parse_event(news)


@pytest.mark.parametrize(
    "metrics", [{"x": 10**400}, dict.fromkeys(map(str, range(1001)), 0)], ids=[400, 1001]
)
def test_metrics_that_are_too_large_or_too_many_are_refused(metrics: object) -> None:
    news = HEADER | {"kind": "metrics", "task": TASK, "attempt": 1, "metrics": metrics}
    with pytest.raises(MessageError, match="an impossible metrics"):
        parse_event(news)


@pytest.mark.parametrize("content", [None, [], "beat", 5, {}])
def test_content_that_is_no_event_is_refused(content: object) -> None:
    with pytest.raises(MessageError):
        parse_event(content)


def test_the_limits_of_heartbeats_are_accepted() -> None:
    limits = {"slots": 10_000, "running": [f"{TASK}.{2**31 - 1}"], "notice": "x" * 2000}
    assert parse_event(BEAT | limits).to_message() == BEAT | limits
    for beyond in (
        {"slots": 10_001},
        {"running": [f"{TASK}.1"] * 20_001},
        {"running": [f"{TASK}.{2**31}"]},
        {"notice": "x" * 2001},
    ):
        with pytest.raises(MessageError):
            parse_event(BEAT | beyond)


def test_a_heartbeat_names_attempts_in_order() -> None:
    attempts = [AttemptId(TASK, 10), AttemptId(TASK, 2), AttemptId("a" * 16, 1)]
    source = Source("i", "p", "a")
    message = Heartbeat(source, "x", 2, frozenset(attempts), frozenset(attempts[:1])).to_message()
    assert message["running"] == [f"{TASK}.10", f"{TASK}.2", f"{'a' * 16}.1"]
    parsed = parse_event(message)
    assert isinstance(parsed, Heartbeat)
    assert (parsed.running, parsed.reserved) == (frozenset(attempts), frozenset(attempts[:1]))
    assert (parsed.source, parsed.notice, parsed.unfit) == (source, "", False)
