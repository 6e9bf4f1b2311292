"""Events of a sweep: what is said of it, and when."""

from __future__ import annotations

from pathlib import Path

import pytest
from master_bench import AdaptiveBench, Bench, Clock, Message

from framework.messages.events import EventKind
from framework.messages.metrics import Metric
from framework.scheduler.sweep_events import EVENTS_KEPT, EVENTS_SHOWN, LONGEST, SweepEvents, described


def events_of(bench: Bench) -> list[tuple[EventKind, str]]:
    return [(event.kind, event.text) for event in bench.status().events]


def fail(bench: Bench, host: str, number: int, reason: str) -> None:
    """The attempt of the last turn, number `number` from 0, fails."""
    content = dict(bench.messenger.result(*bench.messenger.sent[number], "failed")) | {"host": host}
    bench.messenger.incoming[-1] = Message("results", content | {"exit_code": 3, "reason": reason})


def test_a_failed_task_is_named_by_its_metaparameters_with_hosts_reason_and_logs(bench: Bench) -> None:
    bench.write_project(x="[7]", retries=1)
    bench.master = bench.start()
    for _ in "ab":
        bench.messenger.beat("a", slots=2)
        bench.messenger.beat("b", slots=2)
        bench.turn()
        fail(bench, bench.messenger.sent[0][0], 0, f"exit code 3: ValueError: \x1b[2Jbad {'long ' * 200}")
    bench.turn()
    (kind, text), ended = events_of(bench)
    assert kind == "failed"
    assert text.startswith("x=7 failed on a and b: exit code 3: ValueError:  [2Jbad long")
    assert text.endswith("…; logs: ./check_celery_status.sh logs 1")
    assert text.isprintable()
    assert len(text) < 600
    assert ended == ("ended", "the sweep has ended: 0 of 1 done, 1 failed")


def test_a_better_result_is_said_and_a_worse_one_is_not(adaptive_bench: AdaptiveBench) -> None:
    bench = adaptive_bench
    bench.settings(x="[1, 2, 3, 4, 5]", more="goal: minimize\n")
    bench.messenger.beat("a", slots=5)
    sent = bench.turn()
    losses: list[Metric] = [0.5, 0.75, 0.25, "nan", 0.25]
    for (host, assignment), loss in zip(sent, losses, strict=True):
        bench.ends(host, assignment, loss)
        bench.turn()
        if loss == 0.25:
            bench.master = bench.start()  # it knows the best of its journal
    assert [text for kind, text in events_of(bench) if kind == "best"] == [
        "loss 0.5 is the best so far (x=1)",
        "loss 0.25 is the best so far (x=3)",
        "loss 0.25 is the best so far (x=5)",
    ]


def test_a_silent_host_with_tasks_is_named_and_so_is_its_return(bench: Bench, clock: Clock) -> None:
    bench.lose(clock)
    bench.turn()
    silent = "a has been silent for 30 s: its task will run again when a host can be reached"
    assert events_of(bench) == [("silent", silent)]
    bench.messenger.beat("a")
    bench.turn()
    assert events_of(bench)[-1] == ("back", "a is back")


def test_the_tasks_of_a_silent_host_go_to_others(bench: Bench, clock: Clock) -> None:
    bench.messenger.beat("a", slots=2)
    bench.turn()
    for _ in range(4):
        clock.now += 10.5
        bench.messenger.beat("b", slots=2)
        bench.turn()
    silent = "a has been silent for 30 s: its 2 tasks will run again elsewhere"
    assert events_of(bench) == [("silent", silent)]


def test_a_suspended_host_is_an_event(bench: Bench) -> None:
    bench.write_project(x=str(list(range(1, 31))))
    bench.master = bench.start()
    bench.messenger.beat("a", slots=6)
    bench.messenger.beat("b", slots=1)
    for host, assignment in [each for each in bench.turn() if each[0] == "a"][:3]:
        bench.messenger.result(host, assignment, "failed")
    bench.turn()
    assert ["a is suspended: 3" in text for kind, text in events_of(bench) if kind == "suspended"] == [True]


def test_that_no_task_reports_the_metric_is_said_once(bench: Bench, clock: Clock) -> None:
    bench.messenger.beat("a", slots=2)
    for host, assignment in bench.turn():
        bench.messenger.result(host, assignment, metrics={"los": 1.0})
    for _ in range(3):
        clock.now += 10
        bench.turn()
    assert [text for kind, text in events_of(bench) if kind == "metric"] == [
        "no task has reported loss; reported: los"
    ]


def test_the_end_is_said_once_although_the_master_restarts(bench: Bench) -> None:
    bench.run_to_the_end({2: "failed"})
    bench.master._events.add("back", "b is back")
    bench.turn()
    bench.master = bench.start()
    bench.turn()
    ended = [text for kind, text in events_of(bench) if kind == "ended"]
    assert ended == ["the sweep has ended: 3 of 4 done, 1 failed; best loss 0.5 (x=1)"]
    bench.ask("again", 1)
    bench.run_to_the_end()
    assert [text for kind, text in events_of(bench) if kind in ("request", "ended")] == [
        *ended, "as requested, tasks run again: 1", "the sweep has ended: 4 of 4 done; best loss 0.5 (x=1)",
    ]  # fmt: skip


def test_a_pause_is_an_event_that_says_who_wanted_it(bench: Bench) -> None:
    bench.ask("pause")
    bench.turn()
    assert events_of(bench) == [("request", "the sweep is paused: on request")]
    bench.ask("resume")
    bench.turn()
    bench.write_project(x="[1, 2, 3]", more="max_failures: 1\n")
    bench.master = bench.start()
    bench.messenger.beat("a", slots=1)
    bench.messenger.result(*bench.turn()[0], "failed")
    bench.turn()
    assert events_of(bench)[-1][0] == "paused"
    assert "1 tasks have failed, with max_failures: 1" in events_of(bench)[-1][1]


def test_the_last_events_are_kept_and_bounded(tmp_path: Path, bench: Bench) -> None:
    path = tmp_path / "events.jsonl"
    events = SweepEvents(path, lambda record: record.task)
    for number in range(EVENTS_KEPT + 5):
        events.add("request", f"{number} {'x' * 2000}")
    events.save()
    again = SweepEvents(path, lambda record: record.task).latest
    assert (len(again), again[-1].number) == (EVENTS_KEPT, EVENTS_KEPT + 5)
    assert all(len(event.text) == LONGEST for event in again)
    path.rename(bench.files.events)
    bench.master = bench.start()
    bench.turn()
    assert len(bench.status().events) == EVENTS_SHOWN


@pytest.mark.parametrize("content", ['{"number": 3, "colour": "red"}\n', "5\n"])
def test_events_of_another_version_are_left_out(tmp_path: Path, content: str) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(content)
    events = SweepEvents(path, lambda record: record.task)
    assert events.latest == []
    events.add("back", "a is back")
    events.save()
    assert "a is back" in path.read_text()


def test_a_combination_is_described_in_one_line() -> None:
    assert described({"C": 1, "kernel": "po\nly", "on": True}) == "C=1 kernel=po ly on=true"
    assert len(described({"text": "x" * 1000})) == 200
    assert described({}) == "the task without metaparameters"
