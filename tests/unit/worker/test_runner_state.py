"""State of the runner: none, one that names what it holds, or one that has."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from worker_bench import DONE, HELLO, FakeRunner, WorkerBench, name_of

from framework.worker import runner_state
from framework.worker.runner_state import LOST_SECONDS, RunnerState


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


def test_a_runner_with_another_image_than_the_pushed_files_gets_no_tasks(bench: WorkerBench) -> None:
    version = bench.code / "current/VERSION"
    version.write_text("framework=f1\nproject=p\nimage=sha256:new\n")
    runner = bench.connect_fake()  # HELLO names another one
    bench.begin()
    beat = bench.beat()
    assert (runner.told("run"), beat["slots"]) == ([], 0)
    assert "another image" in beat["notice"]
    assert "./infrainit.sh -f replaces it" in beat["notice"]
    version.write_text(f"framework=f1\nproject=p\nimage={HELLO['image']}\n")
    bench.worker.tick()
    assert runner.told("run") == [name_of("fine")]
    assert bench.beat()["notice"] == ""


def test_a_runner_with_other_mounts_than_the_pushed_files_gets_no_tasks(bench: WorkerBench) -> None:
    runner = FakeRunner(bench.worker)

    def connect(mounts: str) -> None:
        bench.worker.on_connected(runner, {**HELLO, "mounts": mounts})
        bench.worker.on_event({"event": "synced"})

    connect("ro /data ~/data")
    bench.begin()
    beat = bench.beat()
    assert (runner.told("run"), beat["slots"]) == ([], 0)
    assert "its runner has other mounts than the files that were pushed: it gets no tasks" in beat["notice"]
    connect("")
    assert runner.told("run") == [name_of("fine")]


def test_a_runner_that_is_gone_is_named_with_its_container_if_it_has_one() -> None:
    says = "its runner does not answer: it gets no tasks"
    assert RunnerState("", "infra-1-runner").trouble == f"{says}; see docker logs infra-1-runner there"
    assert RunnerState("", "").trouble == says, "in a local run it is a child, and another one is started"


def test_a_runner_with_an_unknown_key_is_in_the_heartbeat_until_one_connects(bench: WorkerBench) -> None:
    bench.worker.on_refused()
    beat = bench.beat()
    assert beat["slots"] == 0
    assert beat["notice"] == (
        "its runner shows a key that its worker does not know: it gets no tasks; "
        "run docker restart infra-1-runner there"
    )
    bench.connect_fake()
    assert (bench.beat()["slots"], bench.beat()["notice"]) == (2, "")
    bench.worker.on_disconnected()
    assert "docker logs" in bench.beat()["notice"]


@pytest.mark.parametrize("for_good", [False, True])
def test_a_runner_that_connects_while_its_worker_leaves_is_told_so(
    bench: WorkerBench, for_good: bool
) -> None:
    bench.worker.leave(for_good)
    runner = FakeRunner(bench.worker)
    bench.worker.on_connected(runner, HELLO)
    assert runner.sent == [], "it has not been welcomed"
    bench.worker.on_event({"event": "synced"})
    assert runner.sent == [{"do": "leave"}] * for_good
    bench.worker.on_disconnected()
    again = bench.connect_fake()
    assert again.sent == [{"do": "leave"}] * for_good


def test_a_runner_is_lost_when_it_has_been_away_for_some_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(runner_state, "time", SimpleNamespace(monotonic=lambda: now[0]))
    state = RunnerState("", "")
    for seconds, is_lost in ((LOST_SECONDS, False), (0.1, True)):
        now[0] += seconds
        assert state.is_lost == is_lost
    runner: Any = object()
    state.connect(runner, HELLO)
    assert state.is_lost, "it has not named what it holds"
    state.sync()
    now[0] += 60
    assert (state.is_lost, state.is_there) == (False, True)
    state.disconnect()
    assert not state.is_lost
