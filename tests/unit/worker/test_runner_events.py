"""Events that no runner reports: nothing changes, and no attempt waits for an end that has come."""

from __future__ import annotations

import json
from typing import Any

import pytest
from worker_bench import DONE, HELLO, FakeRunner, WorkerBench, name_of

from framework.worker.runner_events import is_hello

NAN, INFINITE, HALF = float("nan"), float("inf"), "\ud800"


@pytest.mark.parametrize(
    "event",
    [
        {}, {"event": None}, {"event": []}, {"event": "started"}, {"event": "started", "when": NAN},
        {"event": "started", "when": "5"}, {"event": "metrics", "metrics": {}},
        {"event": "metrics", "metrics": {"loss": INFINITE}, "reports": []},
        {"event": "metrics", "metrics": {"loss": 0.5}, "reports": [[1]]}, {"event": "refused"},
        {"event": "refused", "reason": HALF}, {"event": "held", "started": "now", "ended": "running"},
        {"event": "ended", "started": -1, "execution": DONE},
        {"event": "taken", "attempt": []},
    ],
)  # fmt: skip
def test_an_event_with_impossible_fields_changes_nothing(
    bench: WorkerBench, runner: FakeRunner, event: dict[str, Any]
) -> None:
    held = bench.begin()
    bench.worker.on_event({"attempt": name_of("fine"), **event})
    assert (bench.recorder.events, bench.recorder.results, held.outcome) == ([], [], None)
    assert bench.beat()["reserved"] == [name_of("fine")]


@pytest.mark.parametrize(
    "execution",
    [None, "dead", [], {}, DONE | {"state": "lost"}, DONE | {"seconds": NAN}, DONE | {"exit_code": 256},
     DONE | {"reason": HALF}, DONE | {"metrics": {"loss": None}}, DONE | {"seconds": 10**400},
     {field: value for field, value in DONE.items() if field != "exit_code"}],
)  # fmt: skip
@pytest.mark.parametrize("event", ["ended", "held"])
def test_an_attempt_with_an_impossible_outcome_is_lost(
    bench: WorkerBench, runner: FakeRunner, event: str, execution: Any
) -> None:
    bench.begin()
    runner.says("taken")
    field = "execution" if event == "ended" else "ended"
    runner.says(event, started=None, context=None, **{field: execution})
    (result,) = bench.recorder.results
    assert (result.state, result.metrics) == ("lost", {})
    assert result.reason == "its runner reported an impossible outcome, see the worker's log"
    assert (bench.beat()["running"], bench.beat()["slots"]) == ([], 2)


def test_a_reason_is_cut_before_it_is_checked(bench: WorkerBench, runner: FakeRunner) -> None:
    bench.begin()
    runner.says("ended", execution=DONE | {"state": "failed", "exit_code": 1, "reason": "x" * 5000})
    (result,) = bench.recorder.results
    assert (result.state, result.reason) == ("failed", "x" * 2000)


@pytest.mark.parametrize(
    "change",
    [{"code": 5}, {"assignment": None}, {"allocation": None}, {"allocation": {}},
     {"allocation": {"gpus": "1/0", "cpus": None, "memory": 0, "counted_cpus": "1", "devices": []}}],
)  # fmt: skip
def test_an_attempt_whose_context_is_none_is_not_taken_up(
    bench: WorkerBench, runner: FakeRunner, change: dict[str, Any]
) -> None:
    bench.begin()
    held = json.loads(json.dumps(runner.runs()))
    held["context"] |= change
    bench.restart()
    bench.connect_fake(held)
    assert (bench.beat()["running"], bench.beat()["slots"], bench.recorder.events) == ([], 2, [])


def test_an_attempt_with_the_context_of_another_is_not_taken_up(
    bench: WorkerBench, runner: FakeRunner
) -> None:
    bench.begin()
    held = runner.runs() | {"attempt": name_of("other")}
    bench.restart()
    bench.connect_fake(held)
    assert bench.beat()["running"] == []


def test_a_setup_with_an_impossible_outcome_has_failed(bench: WorkerBench, runner: FakeRunner) -> None:
    bench.worker.on_event({"event": "ended", "attempt": "setup-v1.1", "execution": {"state": "done"}})
    assert "its runner reported an impossible outcome" in bench.worker.setup_failure


@pytest.mark.parametrize(
    ("fields", "is_right"),
    [({}, True), ({"mounts": "ro /a"}, True), ({"environment": {"A": 5}}, False),
     ({"environment": []}, False), ({"image": None}, False), ({"mounts": []}, False)],
)  # fmt: skip
def test_a_hello_says_what_the_worker_needs(fields: dict[str, Any], is_right: bool) -> None:
    assert is_hello(HELLO | fields) is is_right
