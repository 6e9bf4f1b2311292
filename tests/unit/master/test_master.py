"""The master with a messenger that delivers at once, repeats, or loses: one terminal record for each task."""

from __future__ import annotations

import json
import random
import shutil
import threading
from typing import Any

import pytest
from master_bench import Bench, Clock, Message, Messenger

from framework.cli import locations
from framework.cli import main as cli
from framework.errors import BrokerBlocked, FrameworkError
from framework.journal.store import Journal
from framework.master import incoming as intake
from framework.messages import requests
from framework.messages.assignment import Assignment, AttemptResult
from framework.messages.status import Status, read_status
from framework.messages.task_ids import task_id
from framework.scheduler import rerun
from framework.scheduler import retry_policy as judgement


def test_every_combination_is_sent_once_and_no_more_than_there_are_slots(bench: Bench) -> None:
    bench.messenger.beat("a", slots=2)
    bench.messenger.beat("b", slots=1)
    first = bench.turn()
    assert sorted(host for host, _ in first) == ["a", "a", "b"]
    assert bench.turn() == []
    for host, assignment in first:
        bench.messenger.result(host, assignment)
    (last,) = bench.turn()
    bench.messenger.result(*last)
    bench.turn()
    assert [row["x"] for row in bench.rows()] == ["1", "2", "3", "4"]
    assert {row["state"] for row in bench.rows()} == {"done"}
    status = read_status(bench.files.status)
    assert (status.finished, status.done, status.failed, status.waiting) == (True, 4, 0, 0)


def test_without_workers_a_set_that_has_all_its_results_is_finished(bench: Bench) -> None:
    bench.messenger.beat("a", slots=4)
    for host, assignment in bench.turn():
        bench.messenger.result(host, assignment)
    bench.turn()
    bench.master = bench.start()
    assert bench.turn() == []
    assert read_status(bench.files.status).finished


def test_a_result_that_comes_again_changes_nothing(bench: Bench) -> None:
    bench.write_project(x="[1, 2]", retries=1)
    bench.master = bench.start()
    bench.messenger.beat("a", slots=2)
    (host, assignment), _ = bench.turn()
    bench.messenger.result(host, assignment, "failed")
    bench.messenger.result(host, assignment, "failed")
    ((_, again),) = bench.turn()
    assert (again.task, again.attempt) == (assignment.task, 2)
    bench.messenger.result(host, assignment, "failed")
    assert bench.turn() == []
    bench.messenger.result(host, again)
    bench.messenger.result(host, again, "failed")
    bench.turn()
    with Journal(bench.files.journal, read_only=True) as journal:
        record = journal.get(assignment.task)
        assert record is not None
        assert (record.state, record.attempts) == ("done", 2)


def test_a_failed_task_is_tried_again_elsewhere_as_often_as_the_project_says(bench: Bench) -> None:
    bench.write_project(x="1", retries=1)
    bench.master = bench.start()
    bench.messenger.beat("a")
    bench.messenger.beat("b")
    ((first_host, first),) = bench.turn()
    bench.messenger.result(first_host, first, "failed")
    ((second_host, second),) = bench.turn()
    assert second_host != first_host
    assert second.attempt == 2
    bench.messenger.result(second_host, second, "timeout")
    assert bench.turn() == []
    assert [(row["state"], row["attempts"]) for row in bench.rows()] == [("failed", "2")]
    assert read_status(bench.files.status).finished


def test_a_stopped_attempt_is_no_failure(bench: Bench) -> None:
    bench.write_project(x="1")
    bench.master = bench.start()
    bench.messenger.beat("a")
    ((host, assignment),) = bench.turn()
    bench.messenger.result(host, assignment, "stopped")
    ((_, again),) = bench.turn()
    assert again.attempt == 2


def test_what_a_silent_worker_held_is_sent_to_another(bench: Bench, clock: Clock) -> None:
    bench.write_project(x="1")
    bench.master = bench.start()
    bench.messenger.beat("a")
    ((host, assignment),) = bench.turn()
    bench.messenger.started(host, assignment)
    bench.turn()
    for _ in range(4):
        clock.now += 10
        bench.messenger.beat("b")
        sent = bench.turn()
    ((host, again),) = sent
    assert (host, again.task, again.attempt) == ("b", assignment.task, 2)
    assert bench.messenger.purged == ["a"]
    # The lost one was alive after all, and is first: its result stays.
    bench.messenger.result("a", assignment)
    bench.turn()
    bench.messenger.result("b", again, "failed")
    bench.turn()
    assert [(row["state"], row["host"]) for row in bench.rows()] == [("done", "a")]


def test_a_task_that_loses_five_workers_has_failed(bench: Bench, clock: Clock) -> None:
    bench.write_project(x="1")
    bench.master = bench.start()
    attempts = []
    for incarnation in range(20):
        bench.messenger.beat("a", incarnation=str(incarnation))
        for host, assignment in bench.turn():
            attempts.append(assignment.attempt)
            bench.messenger.started(host, assignment)
        clock.now += 4
    assert attempts == [1, 2, 3, 4, 5]
    (row,) = bench.rows()
    assert (row["state"], row["attempts"]) == ("failed", "5")


def test_a_paused_master_does_not_take_its_own_silence_for_that_of_the_workers(
    bench: Bench, clock: Clock
) -> None:
    bench.messenger.beat("a", slots=4)
    assert len(bench.turn()) == 4
    receive = bench.messenger.receive

    def paused(timeout: float) -> list[Message]:
        clock.now += 300
        return receive(timeout)

    bench.messenger.receive = paused  # type: ignore[method-assign]
    assert bench.turn() == []


def test_a_broker_that_hangs_does_not_cost_the_workers_their_leases(bench: Bench, clock: Clock) -> None:
    bench.messenger.beat("a", slots=4)
    assert len(bench.turn()) == 4

    def hang(host: str) -> int:
        clock.now += 40
        return 0

    bench.messenger.waiting_for = hang  # type: ignore[method-assign]
    clock.now += 10
    assert bench.turn() == []
    assert bench.messenger.purged == []


def test_a_new_master_goes_on_where_the_old_one_ended(bench: Bench) -> None:
    bench.messenger.beat("a", slots=2)
    (host, one), (_, two) = bench.turn()
    bench.messenger.result(host, one)
    bench.turn()
    bench.master = bench.start()
    bench.messenger.beat("a", slots=2, running=[f"{two.task}.1"])
    assert bench.turn() == [], "one is done, two and its successor were sent by the old master"
    bench.messenger.result(host, two)
    assert len(bench.turn()) == 1
    assert read_status(bench.files.status).done == 2


def test_a_task_of_an_older_set_is_not_counted_in_the_new_one(bench: Bench) -> None:
    bench.messenger.beat("a", slots=1)
    ((host, old),) = bench.turn()
    bench.write_project(x="[7, 8]")
    bench.master = bench.start()
    bench.messenger.beat("a", slots=2, running=[f"{old.task}.1"])
    bench.turn()
    bench.messenger.result(host, old)
    bench.turn()
    status = read_status(bench.files.status)
    assert (status.total, status.done) == (2, 0)


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
def test_a_message_that_makes_no_sense_is_quarantined(bench: Bench, routing_key: str, content: Any) -> None:
    message = Message(routing_key, content)
    bench.messenger.incoming.append(message)
    bench.messenger.beat("a", slots=4)
    assert len(bench.turn()) == 4
    assert message.acknowledged
    assert bench.status().quarantined == 1
    (line,) = bench.files.quarantine.read_text().splitlines()
    assert json.loads(line)["queue"] == routing_key


def test_the_last_words_of_workers_of_another_project_are_no_nonsense(bench: Bench) -> None:
    bench.messenger.beat("a")
    bench.messenger.incoming[0].body = bench.messenger.incoming[0].body.replace(b'"p"', b'"q"')
    assert bench.turn() == []
    assert (bench.status().quarantined, bench.status().hosts) == (0, {})


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"5", b"[" * 100_000, b"\0" * 10, b"9" * 10_000, b"NaN",
        b" " * (intake.LONGEST_MESSAGE + 1), None, 5,
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
    assert attempts(bench, assignment.task) == ["sent"]


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


def test_what_a_worker_refused_is_counted(bench: Bench) -> None:
    bench.messenger._news("refused", "a", reason="not exactly right", message="{}")
    bench.turn()
    assert bench.status().quarantined == 1
    assert "refused by the worker on a" in bench.files.quarantine.read_text()


def test_cancelled_tasks_end_wherever_they_are(bench: Bench) -> None:
    bench.messenger.beat("a", slots=1)
    ((host, first),) = bench.turn()
    bench.messenger.started(host, first)
    bench.turn()
    bench.ask("cancel", 0, 1, 3, 77)  # runs, is looked ahead at, was not looked at, is not in the set
    bench.messenger.beat("a", running=[f"{first.task}.1"])
    ((_, third),) = bench.turn()
    assert third.parameters == {"x": 3}
    assert bench.messenger.stopped == [("a", f"{first.task}.1")]
    assert list(bench.files.requests.iterdir()) == []
    assert bench.status().cancelled == 3
    bench.messenger.result("a", first)
    bench.messenger.result("a", third)
    bench.turn()
    assert [(row["x"], row["state"], row["attempts"]) for row in bench.rows()] == [
        ("1", "cancelled", "1"), ("2", "cancelled", "0"), ("3", "done", "1"), ("4", "cancelled", "0"),
    ]  # fmt: skip
    status = bench.status()
    assert (status.finished, status.done, status.failed, status.cancelled) == (True, 1, 0, 3)
    bench.master = bench.start()
    bench.messenger.beat("a", slots=4)
    assert bench.turn() == []
    assert bench.status().cancelled == 3


def test_a_stopped_set_stops_what_runs_and_goes_on_when_asked_to(bench: Bench) -> None:
    bench.messenger.beat("a", slots=2)
    (host, one), (_, two) = bench.turn()
    bench.messenger.started(host, one)
    bench.turn()
    bench.ask("pause")
    assert bench.turn() == []
    assert sorted(bench.messenger.stopped) == sorted([("a", f"{one.task}.1"), ("a", f"{two.task}.1")])
    bench.messenger.stopped.clear()
    for _ in range(2):
        bench.messenger.beat("a", slots=2, running=[f"{one.task}.1"], reserved=[f"{two.task}.1"])
        assert bench.turn() == []
    assert len(bench.messenger.stopped) == 2, "told again as long as beats name them"
    status = bench.status()
    assert "the sweep is paused" in status.paused
    assert status.paused in status.notices
    assert not status.idle
    bench.messenger.result("a", one, "stopped")
    bench.messenger.result("a", two, "stopped")
    bench.messenger.beat("a", slots=2)
    assert bench.turn() == []
    assert (bench.status().waiting, bench.status().idle) == (4, True)
    bench.master = bench.start()
    bench.messenger.beat("a", slots=2)
    assert bench.turn() == [], "it stays stopped"
    assert bench.status().paused
    bench.ask("resume")
    assert sorted(assignment.attempt for _, assignment in bench.turn()) == [2, 2]
    assert not bench.status().paused
    assert not bench.files.pause.exists()


def test_too_many_failures_stop_the_set(bench: Bench) -> None:
    bench.write_project(x="[1, 2, 3, 4, 5]", more="max_failures: 2\n")
    bench.master = bench.start()
    bench.messenger.beat("a")
    for number in range(2):
        ((host, assignment),) = bench.turn()
        assert number == bench.status().failed
        bench.messenger.result(host, assignment, "failed")
    assert bench.turn() == []
    assert "2 tasks have failed, with max_failures: 2" in bench.status().paused
    bench.ask("resume")
    ((host, assignment),) = bench.turn()
    bench.messenger.result(host, assignment)
    ((host, assignment),) = bench.turn()
    bench.messenger.result(host, assignment, "failed")
    assert bench.turn() == []
    assert bench.status().paused


def test_a_host_that_fails_everything_eats_no_tasks(bench: Bench, clock: Clock) -> None:
    """Tasks of hours, no retries, and one host of three on which each fails at once."""
    count = 12
    bench.write_project(x=str(list(range(1, count + 1))))
    bench.master = bench.start()
    under_way: list[tuple[float, str, Assignment]] = []
    on_bad = 0
    for _ in range(20_000):
        clock.now += 10
        for due, host, assignment in [each for each in under_way if each[0] <= clock.now]:
            under_way.remove((due, host, assignment))
            bench.messenger.result(host, assignment, "failed" if host == "bad" else "done", 3600)
        for host in ("good1", "good2", "bad"):
            held = [f"{each.task}.{each.attempt}" for _, where, each in under_way if where == host]
            bench.messenger.beat(host, 1, held)
        for host, assignment in bench.turn():
            on_bad += host == "bad"
            under_way.append((clock.now + (10 if host == "bad" else 3600), host, assignment))
        if bench.status().finished:
            break
    assert {row["state"] for row in bench.rows()} == {"done"}
    assert len(bench.rows()) == count
    assert 3 <= on_bad <= 3 + 10, "three, and probes"
    assert any("bad is suspended" in notice for notice in bench.status().notices)


def test_a_set_in_which_every_task_fails_ends(bench: Bench, clock: Clock) -> None:
    bench.write_project(x=str(list(range(20))), retries=1)
    bench.master = bench.start()
    for _ in range(2000):
        clock.now += 1
        bench.messenger.beat("a", 2)
        bench.messenger.beat("b", 2)
        for host, assignment in bench.turn():
            bench.messenger.result(host, assignment, "failed", 1)
        if bench.status().finished:
            break
    assert bench.status().failed == 20
    assert max(int(row["attempts"]) for row in bench.rows()) <= 3


def test_a_retry_waits_for_another_host_only_while_its_own_is_suspect(bench: Bench) -> None:
    bench.write_project(x="[1, 2, 3, 4, 5]", retries=1)
    bench.master = bench.start()
    bench.messenger.beat("a")
    ((_, first),) = bench.turn()
    bench.messenger.beat("b")
    ((_, second),) = bench.turn()
    bench.messenger.result("a", first, "failed")
    ((host, third),) = bench.turn()
    assert (host, third.parameters) == ("a", {"x": 3}), "the first waits for host b, which is busy"
    bench.messenger.result("a", third)
    ((host, again),) = bench.turn()
    assert (host, again.task, again.attempt) == ("a", first.task, 2), "a has proven itself since"
    bench.messenger.result("b", second)
    bench.turn()


def test_a_worker_without_room_gets_nothing_and_says_so(bench: Bench) -> None:
    content = {"slots": 0, "running": [], "reserved": [], "incarnation": "x", "notice": "only 5 MiB are free"}
    bench.messenger._news("beat", "a", **content)
    assert bench.turn() == []
    assert bench.status().notices == ["a: only 5 MiB are free"]
    bench.messenger.beat("a", slots=4)
    assert len(bench.turn()) == 4
    assert bench.status().notices == []


def test_the_master_waits_for_room_and_goes_on(
    bench: Bench, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = bench.master._journal
    bench.messenger.beat("a", slots=4)
    assigned = bench.turn()
    pages = journal._value("PRAGMA page_count")
    journal._connection.execute(f"PRAGMA max_page_count = {pages}")
    events: list[str] = []

    class Link(Messenger):
        errors: tuple[type[Exception], ...] = (OSError,)

        def __init__(self, *_: object) -> None:
            super().__init__()

        def open(self) -> None:
            events.append("open")
            for host, assignment in assigned:
                self.result(host, assignment)

        def receive(self, timeout: float) -> list[Message]:
            bench.master._stopping = not self.incoming
            return super().receive(timeout)

    def sleep(seconds: float) -> None:
        clock.now += seconds
        if clock.now > 1060:
            journal._connection.execute("PRAGMA max_page_count = 1000000")
            events.append("room")
        elif clock.now > 1030:
            events.append(" ".join(bench.status().notices))

    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(clock, "sleep", sleep, raising=False)
    bench.master.run(Link)
    assert events[-1] == "open"
    assert "room" in events
    assert "the master waits for room" in events[0]
    assert events.count("open") == 1, "results are not fetched before they can be written"
    assert bench.status().done == 4


def test_a_broker_that_takes_no_messages_is_waited_for_and_costs_no_attempt(
    bench: Bench, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.messenger.beat("a", slots=4)
    assigned = bench.turn()
    links: list[Messenger] = []
    said: list[list[str]] = []

    def lasts() -> bool:
        clock.now += 60  # the workers cannot be heard for as long
        said.append(bench.status().notices)
        return len(said) < 3

    class Link(Messenger):
        errors: tuple[type[Exception], ...] = (OSError,)

        def __init__(self, *_: object) -> None:
            super().__init__()
            links.append(self)

        def open(self) -> None:
            if len(links) > 1:
                self.beat("a", slots=4, running=[f"{sent.task}.{sent.attempt}" for _, sent in assigned])

        def receive(self, timeout: float) -> list[Message]:
            if len(links) == 1:
                raise BrokerBlocked(lasts)
            bench.master._stopping = not self.incoming
            return super().receive(timeout)

    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(
        clock, "sleep", lambda seconds: setattr(clock, "now", clock.now + seconds), raising=False
    )
    bench.master.run(Link)
    assert "its memory or its disk is running out" in said[1][0]
    assert (len(links), links[0].sent, links[1].sent) == (2, [], [])
    assert {state for _, sent in assigned for state in attempts(bench, sent.task)} <= {"sent", "running"}
    assert bench.status().notices == []


def test_the_command_line_asks_and_waits(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(locations, "DATA", bench.files.path)
    monkeypatch.setattr(locations, "CODE", bench.path / "code")
    bench.turn()
    ended = threading.Event()

    def serve() -> None:
        while not ended.wait(0.02):
            bench.turn()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert cli.main(["cancel", "2", "9"]) == 2
        assert "'9': no such task" in capsys.readouterr().err
        assert cli.main(["cancel", "2"]) == 0
        assert capsys.readouterr().out == f"task 2, {task_id(('train',), {'x': 2})}: cancelled\n"
        assert cli.main(["cancel"]) == 2
        assert "name tasks; to pause the whole sweep: framework pause" in capsys.readouterr().err
        assert cli.main(["pause"]) == 0
        assert bench.status().paused
        assert cli.main(["watch"]) == 1
        assert "the sweep is paused: somebody asked for it" in capsys.readouterr().err
        capsys.readouterr()
        assert cli.main(["resume"]) == 0
        assert capsys.readouterr().out == "the sweep is resumed\n0 done, 0 failed, 1 cancelled; 3 to run\n"
        assert not bench.status().paused
        assert cli.main(["again", "2"]) == 0
        assert capsys.readouterr().out == f"task 2, {task_id(('train',), {'x': 2})}: waiting\n"
        assert cli.main(["again", "--failed"]) == 0
        assert capsys.readouterr().out == "0 done, 0 failed; 4 to run\n"
        assert cli.main(["again"]) == 2
        assert cli.main(["again", "--fresh", "2"]) == 2
        assert "give one of --failed, --outdated and --fresh" in capsys.readouterr().err
        assert cli.main(["results", "--all"]) == 0
        assert bench.files.all_results.exists()
        bench.write_project(x="[", version="v2")
        assert cli.main(["again", "--fresh"]) == 1
        assert "code v2 was pushed but not taken up" in capsys.readouterr().err
    finally:
        ended.set()
        thread.join()


UNFIT: dict[str, Any] = {"slots": 0, "unfit": True, "notice": "has 0 GPUs (a task needs 1)"}


def test_a_set_that_no_host_can_run_is_stopped_with_the_reasons_until_one_can(
    bench: Bench, clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(locations, "DATA", bench.files.path)
    monkeypatch.setattr(locations, "CODE", bench.path / "code")

    def turn_with(*unfit: str) -> Status:
        for host in unfit:
            bench.messenger.beat(host, **UNFIT)
        assert bench.turn() == []
        return bench.status()

    status = turn_with("a", "b")
    assert not status.paused, "others may be about to come up"
    assert status.notices == [f"{host} has 0 GPUs (a task needs 1): it gets no tasks" for host in "ab"]
    clock.now += judgement.UNFIT_SECONDS + 1
    status = turn_with("a", "b")
    assert status.paused.startswith(
        "p can run on no worker host: a has 0 GPUs (a task needs 1); b has 0 GPUs (a task needs 1); change"
    )
    assert status.notices == [status.paused]
    assert cli.main(["watch"]) == 1
    assert "a has 0 GPUs (a task needs 1); b has" in capsys.readouterr().err
    bench.messenger.beat("c")
    ((host, assignment),) = bench.turn()
    assert (host, bench.status().paused) == ("c", "")
    bench.messenger.result(host, assignment)
    assert len(bench.turn()) == 1


def test_hosts_that_are_only_busy_or_silent_stop_no_set(bench: Bench, clock: Clock) -> None:
    bench.messenger.beat("a", **UNFIT)
    bench.messenger.beat("b", slots=0, notice="GPU 0 (A100) is left alone")
    bench.turn()
    clock.now += 1000
    bench.turn()
    assert not bench.status().paused


def test_what_still_runs_on_a_host_that_is_unfit_by_now_may_end(bench: Bench, clock: Clock) -> None:
    bench.messenger.beat("a")
    ((host, assignment),) = bench.turn()
    for _ in range(10):
        bench.messenger.beat("a", running=[f"{assignment.task}.1"], **UNFIT)
        clock.now += 10
        bench.turn()
    assert not bench.status().paused
    bench.messenger.result(host, assignment)
    bench.turn()
    assert bench.status().done == 1


def test_a_set_that_is_finished_needs_no_host(bench: Bench, clock: Clock) -> None:
    bench.messenger.beat("a", slots=4)
    for host, assignment in bench.turn():
        bench.messenger.result(host, assignment)
    bench.messenger.beat("a", **UNFIT)
    bench.turn()
    clock.now += 1000
    bench.turn()
    assert (bench.status().finished, bench.status().paused) == (True, "")


def test_a_request_that_nobody_takes_is_taken_back(bench: Bench) -> None:
    with pytest.raises(FrameworkError, match="not answered"):
        requests.ask(bench.files.requests, requests.ControlRequest("pause"), timeout=0.2)
    assert list(bench.files.requests.iterdir()) == []
    bench.turn()
    assert not bench.status().paused


def test_files_that_are_no_requests_are_removed(bench: Bench) -> None:
    bench.files.requests.mkdir()
    for name, text in {"a.json": "{", "b.json": "[]", "c.json": '{"action": "explode", "tasks": []}'}.items():
        (bench.files.requests / name).write_text(text)
    bench.turn()
    assert list(bench.files.requests.iterdir()) == []


def test_recovered_results_are_taken_up_by_a_running_master(bench: Bench) -> None:
    bench.messenger.beat("a")
    ((host, assignment),) = bench.turn()
    content = bench.messenger.result(host, assignment)
    bench.messenger.incoming.clear()
    with Journal(bench.files.journal) as journal:
        journal.finish(AttemptResult.from_message(dict(content)), final=True)
    bench.ask("reload")
    bench.turn()
    assert bench.status().done == 1


def lose(bench: Bench, clock: Clock) -> Assignment:
    """Send the one task to host a, which falls silent for longer than a lease."""
    bench.write_project(x="1")
    bench.master = bench.start()
    bench.messenger.beat("a")
    ((_, assignment),) = bench.turn()
    bench.messenger.started("a", assignment)
    let_lease_end(bench, clock)
    return assignment


def let_lease_end(bench: Bench, clock: Clock) -> None:
    """No worker says anything, and the master listens all the time."""
    for _ in range(3):
        bench.turn()
        clock.now += 10.5


def attempts(bench: Bench, task: str) -> list[str]:
    with Journal(bench.files.journal, read_only=True) as journal:
        return [attempt.state for attempt in journal.attempts(task)]


def test_a_worker_that_returns_with_its_task_keeps_it_and_the_younger_attempt_is_stopped(
    bench: Bench, clock: Clock
) -> None:
    first = lose(bench, clock)
    bench.messenger.beat("b")
    ((_, second),) = bench.turn()
    bench.messenger.started("b", second)
    name, younger = f"{first.task}.1", f"{first.task}.2"
    for _ in range(2):
        clock.now += 3
        bench.messenger.beat("a", running=[name])
        bench.messenger.beat("b", running=[younger])
        assert bench.turn() == []
    assert bench.messenger.stopped == [("b", younger)]
    assert attempts(bench, first.task) == ["running", "stopped"]
    bench.messenger.result("b", second, "stopped")
    assert bench.turn() == []
    # The new owner is an owner like any other: its lease counts, and another attempt follows.
    let_lease_end(bench, clock)
    bench.messenger.beat("b")
    ((_, third),) = bench.turn()
    assert third.attempt == 3
    bench.messenger.result("b", third)
    bench.turn()
    assert [(row["state"], row["attempts"]) for row in bench.rows()] == [("done", "3")]


def test_a_worker_that_returns_before_the_task_was_sent_again_keeps_it(bench: Bench, clock: Clock) -> None:
    first = lose(bench, clock)
    assert bench.turn() == []
    bench.messenger.beat("a", running=[f"{first.task}.1"])
    bench.messenger.beat("b")
    assert bench.turn() == []
    bench.messenger.result("a", first)
    bench.turn()
    assert [(row["state"], row["attempts"]) for row in bench.rows()] == [("done", "1")]


def test_what_a_returned_worker_only_reserved_is_not_run_there(bench: Bench, clock: Clock) -> None:
    first = lose(bench, clock)
    bench.messenger.beat("b")
    assert len(bench.turn()) == 1
    for _ in range(2):
        bench.messenger.beat("a", reserved=[f"{first.task}.1"])
        bench.messenger.beat("b", running=[f"{first.task}.2"])
        bench.turn()
    assert bench.messenger.stopped == [("a", f"{first.task}.1")]
    assert attempts(bench, first.task) == ["lost", "sent"]


def test_an_attempt_of_a_task_that_has_ended_is_stopped_until_beats_name_it_no_more(
    bench: Bench, clock: Clock
) -> None:
    first = lose(bench, clock)
    bench.messenger.beat("b")
    ((_, second),) = bench.turn()
    bench.messenger.result("b", second)
    for _ in range(3):
        bench.messenger.beat("a", running=[f"{first.task}.1"])
        bench.turn()
    assert bench.messenger.stopped == [("a", f"{first.task}.1")] * 2
    bench.messenger.beat("a")
    bench.messenger.beat("a", running=[f"{first.task}.1"])
    bench.turn()
    assert len(bench.messenger.stopped) == 2, "one beat may be older than the result"


def test_a_restarted_master_knows_which_attempt_is_under_way(bench: Bench, clock: Clock) -> None:
    first = lose(bench, clock)
    bench.messenger.beat("b")
    bench.turn()
    bench.messenger.beat("a", running=[f"{first.task}.1"])
    bench.turn()
    bench.master = bench.start()
    bench.messenger.beat("a", running=[f"{first.task}.1"])
    bench.messenger.beat("b")
    assert bench.turn() == []
    assert attempts(bench, first.task) == ["running", "stopped"]


def test_the_same_set_again_runs_nothing_and_a_new_value_only_what_is_new(bench: Bench) -> None:
    assert bench.run_to_the_end() == [1, 2, 3, 4]
    bench.master = bench.start()
    assert bench.run_to_the_end() == []
    bench.write_project(x="[0, 1, 5, 2, 3, 4]", version="v2")
    bench.master = bench.start()
    assert bench.run_to_the_end() == [0, 5]
    assert bench.status().outdated == 0, "no file but the sets' own has changed"
    bench.write_project(x="[5, 1]", version="v3")
    bench.master = bench.start()
    assert bench.run_to_the_end() == []
    assert [row["x"] for row in bench.rows()] == ["5", "1"]


def test_failed_tasks_run_again_with_all_their_retries_when_asked_for(bench: Bench) -> None:
    bench.write_project(x="[1, 2, 3, 4]", retries=1)
    bench.master = bench.start()
    assert sorted(bench.run_to_the_end({2: "failed", 4: "timeout"})) == [1, 2, 2, 3, 4, 4]
    bench.ask("cancel", 0)
    bench.ask("again", which="failed")
    assert sorted(bench.run_to_the_end({4: "failed"})) == [2, 4, 4]
    assert [(row["x"], row["state"], row["attempts"]) for row in bench.rows()] == [
        ("1", "done", "1"), ("2", "done", "3"), ("3", "done", "1"), ("4", "failed", "4"),
    ]  # fmt: skip
    assert (bench.status().done, bench.status().failed) == (3, 1)


def test_all_tasks_run_again_and_a_late_result_of_before_counts_no_more(bench: Bench) -> None:
    bench.write_project(x="[1, 2]")
    bench.master = bench.start()
    bench.messenger.beat("a", slots=2)
    (host, first), _ = bench.turn()
    bench.ask("cancel", 0, 1)
    bench.turn()
    bench.ask("again", which="all")
    again = bench.turn()
    assert [(assignment.attempt, assignment.parameters) for _, assignment in again] == [
        (2, {"x": 1}), (2, {"x": 2}),
    ]  # fmt: skip
    bench.messenger.result(host, first)
    assert bench.turn() == []
    assert bench.status().done == 0
    for _ in range(2):
        bench.messenger.beat("a", slots=2, running=[f"{first.task}.1", f"{first.task}.2"])
        bench.turn()
    assert set(bench.messenger.stopped) >= {("a", f"{first.task}.1")}
    assert ("a", f"{first.task}.2") not in bench.messenger.stopped
    for host, assignment in again:
        bench.messenger.result(host, assignment)
    bench.turn()
    assert [(row["state"], row["attempts"]) for row in bench.rows()] == [("done", "2")] * 2


def test_tasks_run_again_by_name(bench: Bench) -> None:
    bench.run_to_the_end()
    bench.ask("again", 1, 77)
    assert bench.run_to_the_end() == [2]
    assert bench.status().done == 4


def test_results_of_another_program_or_image_are_counted_and_kept(bench: Bench) -> None:
    bench.run_to_the_end({4: "failed"})
    assert bench.status().outdated == 0
    bench.write_project(x="[1, 2, 3, 4, 5]", version="v2")
    (bench.path / "code/v2/project/train.py").write_text("print('better')")
    bench.master = bench.start()
    assert bench.run_to_the_end(code="v2") == [5]
    assert (bench.status().outdated, bench.status().done) == (3, 4)
    assert any("3 of 4 results were made with other files" in notice for notice in bench.status().notices)
    bench.ask("again", which="outdated")
    assert bench.run_to_the_end(code="v2") == [1, 2, 3]
    assert bench.status().outdated == 0
    # Its files are gone where a master begins anew; the journal knows what was in them.
    shutil.rmtree(bench.path / "code/v2")
    bench.write_project(x="[1, 2, 3, 4, 5]", version="v1")
    bench.master = bench.start()
    bench.turn()
    assert bench.status().outdated == 4
    bench.write_project(x="[1, 2, 3, 4, 5]", version="v3")
    (bench.path / "code/v3/project/train.py").write_text("print('better')")
    bench.master = bench.start(image="another")
    bench.turn()
    assert bench.status().outdated == 4


def test_a_large_set_runs_again_page_by_page_and_nothing_is_sent_meanwhile(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.run_to_the_end()
    monkeypatch.setattr(rerun, "PAGE", 1)
    monkeypatch.setattr(rerun, "PAGES_PER_TURN", 1)
    bench.ask("again", which="all")
    bench.messenger.beat("a", slots=4)
    assert [bench.turn(), bench.turn()] == [[], []]
    assert not bench.status().finished
    assert len(list(bench.files.requests.iterdir())) == 1
    bench.master = bench.start()  # it died half-way
    bench.messenger.beat("a", slots=4)
    sent = [assignment for _ in range(6) for _, assignment in bench.turn()]
    assert [(assignment.attempt, assignment.parameters["x"]) for assignment in sent] == [
        (2, 1), (2, 2), (2, 3), (2, 4),
    ]  # fmt: skip
    assert list(bench.files.requests.iterdir()) == []


def test_a_request_that_is_taken_back_half_way_holds_nothing_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.run_to_the_end()
    monkeypatch.setattr(rerun, "PAGE", 1)
    monkeypatch.setattr(rerun, "PAGES_PER_TURN", 1)
    bench.ask("again", which="all")
    bench.messenger.beat("a", slots=4)
    assert [bench.turn(), bench.turn()] == [[], []]
    (bench.files.requests / "1.json").unlink()
    assert bench.run_to_the_end() == [1, 2]


def test_what_has_ended_is_counted_before_the_search_comes_to_it(bench: Bench) -> None:
    assert bench.run_to_the_end({3: "failed"}) == [1, 2, 3, 4]
    bench.write_project(x="[20, 21, 22, 23, 1, 2, 3, 4, 5, 10]")
    bench.master = bench.start()
    bench.messenger.beat("a", slots=1)
    ((host, assignment),) = bench.turn()
    assert assignment.parameters == {"x": 20}
    status = bench.status()
    assert (status.done, status.failed, status.waiting) == (3, 1, 6)
    bench.ask("cancel", 9)
    bench.turn()
    assert bench.status().cancelled == 1
    bench.messenger.result(host, assignment)
    assert bench.run_to_the_end() == [21, 22, 23, 5]


def test_a_task_that_ends_before_the_search_has_met_it_is_counted_once(bench: Bench) -> None:
    bench.messenger.beat("a", slots=4)
    sent = bench.turn()
    bench.write_project(x="[7, 8, 4, 3, 2, 1]")
    bench.master = bench.start()
    bench.turn()
    for host, assignment in sent:
        bench.messenger.result(host, assignment)
    bench.turn()
    assert (bench.status().done, bench.status().waiting) == (4, 2)
    assert bench.run_to_the_end() == [7, 8]


@pytest.mark.parametrize("seed", range(5))
def test_whatever_happens_each_task_ends_with_one_record(bench: Bench, clock: Clock, seed: int) -> None:
    """Results lost, repeated and late; workers silent, back, and restarted; masters killed; tasks
    cancelled, and the set stopped."""
    rng = random.Random(seed)
    count = 60
    bench.write_project(x=str(list(range(1, count + 1))), retries=2)
    bench.master = bench.start()
    held: dict[str, list[Assignment]] = {"a": [], "b": [], "c": []}
    incarnations = dict.fromkeys(held, 0)
    cancelled: set[int] = set()
    silent = dict.fromkeys(held, 0.0)  # out of reach until then: their tasks run on
    for turn in range(4000):
        clock.now += rng.choice([0.5, 1, 3])
        for host, assignments in held.items():
            event = rng.random()
            if event < 0.05:
                incarnations[host] += 1
                assignments.clear()
            elif event < 0.06:
                silent[host] = clock.now + rng.choice([5, 40, 100])
            elif silent[host] > clock.now:
                continue
            elif event < 0.4 and assignments:
                assignment = assignments.pop(rng.randrange(len(assignments)))
                for _ in range(rng.choice([1, 1, 1, 2])):
                    bench.messenger.result(
                        host, assignment, rng.choice(["done", "done", "failed", "stopped"])
                    )
            if rng.random() < 0.8:
                running = [f"{each.task}.{each.attempt}" for each in assignments]
                bench.messenger.beat(host, 3, running, str(incarnations[host]))
        if rng.random() < 0.02:
            bench.master = bench.start()
        match rng.random():
            case chance if chance < 0.01:
                number = rng.randrange(count)
                bench.ask("cancel", number)
                cancelled.add(number + 1)
            case chance if chance < 0.02:
                bench.ask("pause")
            case chance if chance < 0.1 and bench.files.pause.exists():
                bench.ask("resume")
            case chance if chance > 0.97 and turn < 200:
                bench.ask("again", which=rng.choice(["failed", "outdated", "failed", "all"]))
        for host, assignment in bench.turn():
            if rng.random() < 0.95:
                held[host].append(assignment)
        for host, name in bench.messenger.stopped:
            for assignment in [each for each in held[host] if f"{each.task}.{each.attempt}" == name]:
                if rng.random() < 0.9:
                    held[host].remove(assignment)
                    bench.messenger.result(host, assignment, rng.choice(["stopped", "stopped", "done"]))
        bench.messenger.stopped.clear()
        if read_status(bench.files.status).finished:
            break
    rows = bench.rows()
    assert [int(row["x"]) for row in rows] == list(range(1, count + 1))
    assert len({row["task"] for row in rows}) == count
    assert {int(row["x"]) for row in rows if row["state"] == "cancelled"} <= cancelled
    status = bench.status()
    assert status.ended == count
