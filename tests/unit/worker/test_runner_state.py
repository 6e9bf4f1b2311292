"""State of the runner: none, one that names what it holds, or one that has."""

from __future__ import annotations

from pathlib import Path

import pytest
from worker_bench import (
    DONE,
    FakeRunner,
    WorkerBench,
    name_of,
)


@pytest.fixture
def bench(tmp_path: Path) -> WorkerBench:
    """With a runner that only records."""
    return WorkerBench(tmp_path)


def test_a_runner_is_given_nothing_before_it_has_named_what_it_holds(bench: WorkerBench) -> None:
    bench.begin()
    runner = FakeRunner(bench.worker)
    bench.worker.on_connected(runner, {"environment": {}, "image": ""})
    bench.worker.tick()
    assert (runner.sent, bench.worker.has_runner, bench.beat()["slots"]) == ([], False, 0)
    bench.worker.on_event({"event": "synced"})
    assert runner.told("run") == [name_of("fine")]
    assert bench.worker.has_runner


def test_a_result_names_the_image_of_the_runner_or_that_of_this_host(bench: WorkerBench) -> None:
    for attempt, image in ((1, "sha256:2"), (2, "")):
        runner = FakeRunner(bench.worker)
        bench.worker.on_connected(runner, {"environment": {}, "image": image})
        bench.worker.on_event({"event": "synced"})
        bench.begin("fine", attempt)
        runner.says("ended", "fine", attempt, execution=DONE)
    assert [result.image for result in bench.recorder.results] == ["sha256:2", "sha256:1"]
