"""Incoming messages: applied if exactly valid, quarantined if not, never fatal."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from master_bench import Bench, Clock, Message

from framework.errors import JournalError
from framework.journal.store import Journal
from framework.messages.queues import LONGEST_MESSAGE, MALFORMED

BEAT: dict[str, Any] = {
    "kind": "beat", "infrastructure": "infra-1", "project": "p", "host": "b", "incarnation": "x", "slots": 1,
    "running": [], "reserved": [], "notice": "", "unfit": False,
}  # fmt: skip


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
def test_a_malformed_message_is_quarantined(bench: Bench, routing_key: str, content: Any) -> None:
    message = Message(routing_key, content)
    bench.messenger.incoming.append(message)
    bench.messenger.beat("a", slots=4)
    assert len(bench.turn()) == 4
    assert message.acknowledged
    assert bench.status().quarantined == 1
    (line,) = bench.files.quarantine.read_text().splitlines()
    assert json.loads(line)["queue"] == routing_key


def test_an_event_of_another_infrastructure_is_quarantined_although_it_is_complete(bench: Bench) -> None:
    bench.messenger.incoming = [Message("reports", BEAT | {"infrastructure": "infra-2"})]
    bench.turn()
    assert (bench.status().quarantined, bench.status().hosts) == (1, {})
    (line,) = bench.files.quarantine.read_text().splitlines()
    assert json.loads(line)["reason"] == "a message of another infrastructure: 'infra-2'"
    bench.messenger.incoming = [Message("reports", BEAT)]
    bench.turn()
    assert (bench.status().quarantined, list(bench.status().hosts)) == (1, ["b"])


@pytest.mark.parametrize("field", ["infrastructure", "project"])
def test_a_result_of_another_infrastructure_or_project_is_quarantined_although_it_is_complete(
    bench: Bench, field: str
) -> None:
    bench.messenger.beat("a")
    ((host, assignment),) = bench.turn()
    content = bench.messenger.result(host, assignment)
    bench.messenger.incoming = [Message("results", {**content, field: "another"})]
    bench.turn()
    assert (bench.status().quarantined, bench.status().done) == (1, 0)
    assert f"a message of another {field}: 'another'" in bench.files.quarantine.read_text()
    bench.messenger.incoming = [Message("results", content)]
    bench.turn()
    assert (bench.status().quarantined, bench.status().done) == (1, 1)


@pytest.mark.parametrize("user", ["worker@b", "worker@", "a", "master", "", None])
def test_a_message_counts_only_with_the_credentials_of_its_host(bench: Bench, user: str | None) -> None:
    bench.messenger.beat("a")
    ((host, assignment),) = bench.turn()
    bench.messenger.result(host, assignment)
    bench.messenger.started(host, assignment)
    bench.messenger.beat("a", slots=9)
    forged = list(bench.messenger.incoming)
    for message in forged:
        message.properties = {} if user is None else {"user_id": user}
    bench.turn()
    assert (bench.status().quarantined, bench.status().done) == (3, 0)
    assert bench.attempts(assignment.task) == ["sent"]
    assert bench.status().hosts["a"].slots == 1
    reason = f"a message of a, sent with the credentials of {user!r}"
    assert [json.loads(line)["reason"] for line in bench.files.quarantine.read_text().splitlines()] == [
        reason
    ] * 3
    bench.messenger.result(host, assignment)
    bench.turn()
    assert bench.status().done == 1


def test_what_comes_through_no_broker_needs_no_credentials(bench: Bench) -> None:
    identity = dataclasses.replace(bench.master._identity, broker="")
    bench.master._incoming._identity = identity
    bench.messenger.beat("a")
    del bench.messenger.incoming[0].properties
    assert len(bench.turn()) == 1


@pytest.mark.parametrize("state", ["done", "failed", "stopped", "lost"])
@pytest.mark.parametrize("number", [1, 2, 2**31 - 1])
def test_a_result_counts_only_for_an_attempt_that_its_host_was_sent(
    bench: Bench, state: str, number: int
) -> None:
    bench.messenger.beat("a")
    bench.messenger.beat("b", slots=0)
    ((host, assignment),) = bench.turn()
    attempt = dataclasses.replace(assignment, attempt=number)
    bench.messenger.result("b" if number == 1 else "a", attempt, state)
    bench.turn()
    assert (bench.status().quarantined, bench.status().done) == (1, 0)
    assert f"about attempt {attempt.id}, which was not sent to" in bench.files.quarantine.read_text()
    assert bench.attempts(assignment.task) == ["sent"]
    bench.messenger.result(host, assignment, "failed")
    bench.turn()
    assert bench.record(assignment.task).attempts == 1


def test_events_count_only_for_an_attempt_that_their_host_was_sent(bench: Bench) -> None:
    bench.messenger.beat("a")
    bench.messenger.beat("b", slots=0)
    ((_, assignment),) = bench.turn()
    attempt = {"task": assignment.task, "attempt": assignment.attempt}
    bench.messenger.started("b", assignment)
    bench.messenger.event("metrics", "b", metrics={"loss": 9}, reports=[], **attempt)
    bench.turn()
    assert bench.status().quarantined == 2
    record = bench.record(assignment.task)
    assert (record.state, record.host, record.metrics) == ("sent", "a", {})


def test_the_result_of_an_attempt_that_was_lost_counts_and_so_do_its_late_events(
    bench: Bench, clock: Clock
) -> None:
    first = bench.lose(clock)
    bench.messenger.beat("b", slots=1)
    ((host, second),) = bench.turn()
    assert (host, second.task, second.attempt) == ("b", first.task, 2)
    bench.messenger.started("a", first)
    bench.turn()
    bench.messenger.result("a", first)
    bench.turn()
    assert (bench.status().quarantined, bench.status().done) == (0, 1)
    assert bench.record(first.task).host == "a"


def test_a_host_cannot_take_an_attempt_over_that_another_has_lost(bench: Bench, clock: Clock) -> None:
    lost = bench.lose(clock)
    name = str(lost.id)
    for _ in range(2):
        bench.messenger.beat("b", slots=0, running=[name])
        bench.turn()
    assert bench.attempts(lost.task) == ["lost"]
    assert bench.messenger.stopped == [("b", name)]
    bench.messenger.beat("a", running=[name])
    bench.turn()
    assert bench.attempts(lost.task) == ["running"]


def test_an_attempt_that_was_sent_to_another_host_is_stopped(bench: Bench) -> None:
    bench.messenger.beat("a")
    ((_, assignment),) = bench.turn()
    for _ in range(2):
        bench.messenger.beat("a", running=[str(assignment.id)])
        bench.messenger.beat("b", slots=0, running=[str(assignment.id)])
        bench.turn()
    assert bench.messenger.stopped == [("b", str(assignment.id))]


def test_a_forged_end_does_not_hide_a_start(bench: Bench) -> None:
    bench.messenger.beat("a")
    ((_, assignment),) = bench.turn()
    bench.messenger.result("b", assignment)
    bench.messenger.started("a", assignment)
    bench.turn()
    assert (bench.record(assignment.task).state, bench.status().quarantined) == ("running", 1)


@pytest.mark.parametrize(("more", "done"), [(0, 1), (1, 0)])
def test_a_valid_message_that_is_too_long_is_quarantined(bench: Bench, more: int, done: int) -> None:
    bench.messenger.beat("a")
    ((host, assignment),) = bench.turn()
    bench.messenger.result(host, assignment)
    (message,) = bench.messenger.incoming
    message.body = message.body.ljust(LONGEST_MESSAGE + more)
    bench.turn()
    assert (bench.status().done, bench.status().quarantined) == (done, 1 - done)


@pytest.mark.parametrize("form", [bytes, bytearray, memoryview, lambda body: body.decode()])
def test_a_message_is_taken_in_any_form_that_a_broker_gives_it(bench: Bench, form: Any) -> None:
    message = Message("reports", BEAT)
    message.body = form(message.body)
    bench.messenger.incoming = [message]
    bench.turn()
    assert list(bench.status().hosts) == ["b"]


def test_a_failure_of_the_journal_is_not_the_fault_of_the_message(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise JournalError("disk full")

    monkeypatch.setattr(bench.master._sweep, "take_heartbeat", fail)
    message = Message("reports", BEAT)
    bench.messenger.incoming = [message]
    with pytest.raises(JournalError):
        bench.turn()
    assert not message.acknowledged
    monkeypatch.undo()
    assert not bench.files.quarantine.exists()


def test_a_result_of_a_task_that_the_journal_does_not_know_is_quarantined(bench: Bench) -> None:
    bench.messenger.beat("a")
    ((host, assignment),) = bench.turn()
    content = bench.messenger.result(host, assignment)
    bench.messenger.incoming = [Message("results", {**content, "task": "0" * 16})]
    bench.turn()
    assert "a result of task 0000000000000000, which this journal" in bench.files.quarantine.read_text()


def test_events_of_workers_of_another_project_are_ignored(bench: Bench) -> None:
    bench.messenger.beat("a")
    bench.messenger.incoming[0].body = bench.messenger.incoming[0].body.replace(b'"p"', b'"q"')
    assert bench.turn() == []
    assert (bench.status().quarantined, bench.status().hosts) == (0, {})


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"5", b"[" * 100_000, b"\0" * 10, b"9" * 10_000, b"NaN",
        b" " * (LONGEST_MESSAGE + 1), None, 5,
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
    [
        {"started": 1e300}, {"started": 2**53 - 1}, {"seconds": 2**80}, {"attempt": 2**31},
        {"exit_code": 300}, {"task": "0" * 16}, {"host": "\x1b[2J"}, {"metrics": {"loss": 10**400}},
        {"metrics": dict.fromkeys(map(str, range(40_000)), 1)},
    ],
    ids=lambda change: str(change)[:40],
)  # fmt: skip
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


@pytest.mark.parametrize("queue", ["results", "reports", "dead"])
def test_a_message_that_the_connection_has_marked_is_quarantined_whatever_it_holds(
    bench: Bench, queue: str
) -> None:
    bench.messenger.beat("a")
    ((host, assignment),) = bench.turn()
    message = Message(queue, bench.messenger.result(host, assignment))
    message.headers = {MALFORMED: "a compressed message", "x-first-death-queue": "results"}
    bench.messenger.incoming = [message]
    bench.turn()
    assert (bench.status().done, bench.status().quarantined) == (0, 1)
    (line,) = bench.files.quarantine.read_text().splitlines()
    assert (json.loads(line)["queue"], json.loads(line)["reason"]) == (queue, "a compressed message")


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


def test_a_start_is_not_written_if_the_end_has_come_with_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.messenger.beat("a", slots=2)
    (host, first), (_, second) = bench.turn()
    started: list[str] = []
    start = Journal.start

    def note(journal: Journal, task: str, *others: Any) -> bool:
        started.append(task)
        return start(journal, task, *others)

    monkeypatch.setattr(Journal, "start", note)
    for assignment in (first, second):
        bench.messenger.started(host, assignment)
    bench.messenger.result(host, first)
    bench.turn()
    assert started == [second.task]
    record = bench.record(first.task)
    assert (record.state, record.started is not None) == ("done", True)
    assert bench.record(second.task).state == "running"


def test_one_message_that_is_not_expected_harms_no_other(bench: Bench) -> None:
    bench.messenger.beat("a", slots=4)
    first, second, third, fourth = bench.turn()
    bench.messenger.result(*first)
    unknown = dict(bench.messenger.result(*second)) | {"task": "f" * 16}
    bench.messenger.incoming[-1] = Message("results", unknown)
    bench.messenger.incoming.append(Message("results", b"{}"))
    bench.messenger.result(*second)
    bench.messenger.result(*third, "failed")
    bench.messenger.result(*second)
    bench.messenger.result(*fourth)
    bench.turn()
    states = [bench.record(assignment.task).state for _, assignment in (first, second, third, fourth)]
    assert states == ["done", "done", "failed", "done"]
    assert bench.status().quarantined == 2
    assert bench.status().done == 3


def test_messages_are_taken_in_their_order(bench: Bench) -> None:
    """A host is suspended for failures in a row: what was done between them counts."""
    bench.write_project(x=str(list(range(1, 31))))
    bench.master = bench.start()
    bench.messenger.beat("a", slots=6)
    bench.messenger.beat("b", slots=1)
    sent = [assignment for host, assignment in bench.turn() if host == "a"]
    for assignment, state in zip(sent, ["failed", "failed", "done", "failed", "failed"], strict=False):
        bench.messenger.result("a", assignment, state)
    bench.turn()
    assert not any("suspended" in notice for notice in bench.status().notices)
    bench.messenger.result("a", sent[5], "failed")
    bench.turn()
    assert any("suspended" in notice for notice in bench.status().notices)
