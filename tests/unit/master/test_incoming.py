"""Incoming messages: applied if exactly valid, quarantined if not, never fatal."""

from __future__ import annotations

import json
from typing import Any

import pytest
from master_bench import Bench, Message

from framework.master import incoming


@pytest.mark.parametrize(
    "content",
    [
        b"\xff not JSON",
        b"[]",
        {"infrastructure": "infra-2", "project": "p", "kind": "beat"},
        {"infrastructure": "infra-1", "project": "q", "kind": "beat"},
        {"infrastructure": "infra-1", "project": "p", "kind": "nonsense"},
        {"infrastructure": "infra-1", "project": "p", "kind": "beat", "host": "a"},
        {"infrastructure": "infra-1", "project": "p", "task": "0123456789abcdef"},
    ],
)
@pytest.mark.parametrize("routing_key", ["results", "reports"])
def test_a_malformed_or_foreign_message_is_quarantined(bench: Bench, routing_key: str, content: Any) -> None:
    message = Message(routing_key, content)
    bench.messenger.incoming.append(message)
    bench.messenger.beat("a", slots=4)
    assert len(bench.turn()) == 4
    assert message.acknowledged
    assert bench.status().quarantined == 1
    (line,) = bench.files.quarantine.read_text().splitlines()
    assert json.loads(line)["queue"] == routing_key


def test_events_of_workers_of_another_project_are_ignored(bench: Bench) -> None:
    bench.messenger.beat("a")
    bench.messenger.incoming[0].body = bench.messenger.incoming[0].body.replace(b'"p"', b'"q"')
    assert bench.turn() == []
    assert (bench.status().quarantined, bench.status().hosts) == (0, {})


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"5", b"[" * 100_000, b"\0" * 10, b"9" * 10_000, b"NaN",
        b" " * (incoming.LONGEST_MESSAGE + 1), None, 5,
    ],
    ids=lambda body: repr(body)[:20],
)  # fmt: skip
def test_no_garbage_is_fatal(bench: Bench, body: Any) -> None:
    for routing_key in ("results", "reports", "dead", "elsewhere"):
        message = Message(routing_key, {})
        message.body = body
        bench.messenger.incoming.append(message)
    bench.turn()
    assert bench.status().quarantined == 4


@pytest.mark.parametrize(
    "change",
    [{"started": 1e300}, {"seconds": 2**80}, {"attempt": 2**31}, {"exit_code": 300}, {"task": "0" * 16}],
    ids=str,
)
def test_a_result_that_the_journal_could_not_hold_changes_nothing(
    bench: Bench, change: dict[str, Any]
) -> None:
    bench.messenger.beat("a")
    ((host, assignment),) = bench.turn()
    content = bench.messenger.result(host, assignment)
    bench.messenger.incoming = [Message("results", {**content, **change})]
    bench.turn()
    assert bench.status().quarantined == 1
    assert bench.attempts(assignment.task) == ["sent"]


def test_dead_letters_are_quarantined_but_a_result_among_them_counts(bench: Bench) -> None:
    bench.messenger.beat("a")
    ((host, assignment),) = bench.turn()
    content = bench.messenger.result(host, assignment)
    bench.messenger.incoming = [Message("dead", content), Message("dead", b"x"), Message("dead", content)]
    bench.messenger.incoming[0].headers = {"x-first-death-queue": "results"}
    bench.messenger.incoming[1].headers = {"x-first-death-queue": "results"}
    bench.messenger.incoming[2].headers = {"x-first-death-queue": "tasks.a"}
    bench.turn()
    assert (bench.status().done, bench.status().quarantined) == (1, 2)
    last = json.loads(bench.files.quarantine.read_text().splitlines()[-1])
    assert (last["queue"], last["reason"]) == ("dead", "a dead letter of the queue tasks.a")


def test_a_message_that_a_worker_refused_is_quarantined(bench: Bench) -> None:
    bench.messenger.event("refused", "a", reason="not exactly right", message="{}")
    bench.turn()
    assert bench.status().quarantined == 1
    assert "refused by the worker on a" in bench.files.quarantine.read_text()
