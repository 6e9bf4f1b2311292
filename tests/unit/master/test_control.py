"""Control requests: executed once, acknowledged when the status shows it."""

from __future__ import annotations

from master_bench import Bench

from framework.journal.store import Journal
from framework.messages.assignment import AttemptResult


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
