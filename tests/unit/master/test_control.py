"""Control requests: executed once, acknowledged when the status shows it."""

from __future__ import annotations

from pathlib import Path

import pytest
from master_bench import Bench

from framework.journal.store import Journal
from framework.messages import requests
from framework.messages.assignment import AttemptResult
from framework.messages.task_ids import task_id
from framework.scheduler import pause, rerun


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


def test_a_pause_stops_running_attempts_and_outlives_the_master_until_resumed(bench: Bench) -> None:
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


def hand_in(bench: Bench, *asked: requests.ControlRequest) -> list[Path]:
    return [requests.hand_in(bench.files.requests, request) for request in asked]


def test_a_request_is_acknowledged_only_when_the_status_shows_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file,) = hand_in(bench, requests.ControlRequest("pause"))
    publish = bench.master._publisher.publish
    seen: list[bool] = []

    def publish_and_look(**options: bool) -> None:
        publish(**options)
        assert bench.status().paused
        seen.append(file.exists())

    monkeypatch.setattr(bench.master._publisher, "publish", publish_and_look)
    bench.turn()
    assert seen == [True]
    assert not file.exists()


def test_requests_are_executed_in_the_order_in_which_they_were_handed_in(bench: Bench) -> None:
    hand_in(bench, requests.ControlRequest("pause"), requests.ControlRequest("resume"))
    bench.turn()
    assert bench.status().paused == ""
    hand_in(bench, requests.ControlRequest("resume"), requests.ControlRequest("pause"))
    bench.turn()
    assert bench.status().paused
    assert list(bench.files.requests.iterdir()) == []


def test_a_request_waits_until_a_rerun_before_it_is_complete(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.run_to_the_end()
    monkeypatch.setattr(rerun, "PAGE", 1)
    monkeypatch.setattr(rerun, "PAGES_PER_TURN", 1)
    first, second = hand_in(
        bench, requests.ControlRequest("again", which="all"), requests.ControlRequest("pause")
    )
    bench.turn()
    assert (first.exists(), second.exists(), bench.status().paused) == (True, True, "")
    for _ in range(5):
        bench.turn()
    assert (first.exists(), second.exists()) == (False, False)
    assert (bench.status().paused != "", bench.status().done) == (True, 0)


def test_a_request_that_cannot_be_executed_now_is_tried_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file,) = hand_in(bench, requests.ControlRequest("pause"))

    def fail(*_: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(pause, "write_atomically", fail)
        bench.turn()
    assert (file.exists(), bench.status().paused) == (True, "")
    bench.turn()
    assert not file.exists()
    assert bench.status().paused


def test_a_request_that_cannot_be_removed_harms_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_id(("train",), {"x": 1})
    (file,) = hand_in(bench, requests.ControlRequest("cancel", ((0, task),)))

    def fail(*_: object, **__: object) -> None:
        raise OSError("read-only")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", fail)
        for _ in range(3):
            bench.turn()
    assert file.exists()
    assert bench.status().cancelled == 1
