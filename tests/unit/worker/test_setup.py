"""Setup of a host: before the first task of a version, once, and however worker and runner end meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from runner_bench import wait_until
from worker_bench import DONE, FakeRunner, WorkerBench, name_of

FAILED = {**DONE, "state": "failed", "exit_code": 3, "reason": "exit code 3: no such data", "metrics": {}}
STOPPED = {**DONE, "state": "stopped", "reason": "stopped"}
V1 = "setup-v1.1"


class SetupBench(WorkerBench):
    """With a project that has a setup."""

    def push(self, version: str, framework: str) -> None:
        super().push(version, framework)
        with (self.code / version / "project/project.yml").open("a") as settings:
            settings.write(
                "setup: ['sh', 'get data.sh']\nsetup_timeout: 2h\n"
                "environment: {MIRROR: here}\nsecrets: [TOKEN]\n"
            )


@pytest.fixture
def bench(tmp_path: Path) -> SetupBench:
    """With a runner that only records."""
    return SetupBench(tmp_path)


def says(bench: SetupBench, event: str, attempt: str = V1, **fields: Any) -> None:
    if event == "ended":  # as the runner has made its directory by then
        version = attempt.removeprefix("setup-").partition(".")[0]
        (bench.files.setup / version / "files").mkdir(parents=True, exist_ok=True)
    bench.worker.on_event({"event": event, "attempt": attempt, **fields})


def holds(ended: Any) -> dict[str, Any]:
    return {"event": "held", "attempt": V1, "context": {"code": "v1"}, "started": 5.0, "ended": ended}


def test_it_runs_when_a_task_comes_which_waits_for_it(bench: SetupBench) -> None:
    runner = bench.connect_fake()
    assert runner.sent == [], "there is no task yet"
    held = bench.begin()
    work = str(bench.files.setup / "v1/files")
    job = runner.job()
    assert (job["attempt"], job["command"], job["timeout"]) == (V1, ["sh", "get data.sh"], 7200)
    assert (job["directory"], job["environment"]["SETUP_DIR"]) == (str(bench.files.setup / "v1"), work)
    assert (job["environment"]["MIRROR"], job["wanted"]) == ("here", ["TOKEN"])
    beat = bench.beat()
    assert (beat["slots"], beat["unfit"]) == (0, False)
    assert beat["notice"] == "its setup runs: it gets tasks after that"
    for event in ("taken", "started", "metrics", "exited"):
        says(bench, event, when=1.0, metrics={"loss": 1.0}, reports=[])
    bench.worker.tick()
    assert runner.told("run") == [V1]
    says(bench, "ended", execution=DONE)
    assert runner.told("run") == [V1, name_of("fine")]
    assert runner.job()["environment"]["SETUP_DIR"] == work
    assert runner.told("forget") == [V1]
    assert (bench.beat()["slots"] > 0, bench.beat()["notice"]) == (True, "")
    assert bench.worker.begin(held.assignment) is None
    assert bench.recorder.results == []


def test_it_has_run_for_the_next_worker_unless_its_directory_is_gone(bench: SetupBench) -> None:
    bench.connect_fake()
    bench.begin()
    says(bench, "ended", execution=DONE)
    bench.restart()
    runner = bench.connect_fake()
    bench.begin()
    assert runner.told("run") == [name_of("fine")]
    (bench.files.setup / "v1/files").rmdir()
    bench.restart()
    runner = bench.connect_fake()
    bench.begin()
    assert runner.told("run") == [V1]


def test_one_that_fails_leaves_the_host_without_tasks_until_there_is_new_code(bench: SetupBench) -> None:
    runner = bench.connect_fake()
    bench.begin()
    says(bench, "ended", execution=FAILED)
    result = bench.recorder.results[0]
    assert (result.state, result.reason.startswith("this host failed its setup: exit code 3: no such d")) == (
        "stopped",
        True,
    )
    beat = bench.beat()
    assert (beat["slots"], beat["unfit"]) == (0, True)
    assert beat["notice"] == (
        "failed its setup: exit code 3: no such data; "
        f"its log: docker exec infra-1-worker cat {bench.files.setup}/v1/stderr; "
        "to try again: docker restart infra-1-worker"
    )
    bench.begin("sleep")
    bench.worker.tick()
    assert runner.told("run") == [V1], "what comes later is handed back, too"
    assert bench.recorder.states == ["stopped", "stopped"]

    bench.push("v2", "f1")
    assert (bench.beat()["slots"] > 0, bench.beat()["unfit"]) == (True, False)
    bench.begin("fine", 2)
    assert runner.told("run") == [V1, "setup-v2.1"]
    says(bench, "ended", "setup-v2.1", execution=DONE)
    assert runner.told("run")[-1] == name_of("fine", 2)
    bench.push("v3", "f1")
    bench.begin("sleep", 2)
    wait_until(lambda: not (bench.files.setup / "v1").exists())
    assert (bench.files.setup / "v2/files").is_dir(), "a task that runs may need it"


def test_a_worker_that_was_started_again_tries_again(bench: SetupBench) -> None:
    bench.connect_fake()
    bench.begin()
    says(bench, "ended", execution=FAILED)
    bench.restart()
    runner = bench.connect_fake()
    assert not bench.beat()["unfit"]
    bench.begin("fine", 2)
    assert runner.told("run") == [V1]


@pytest.mark.parametrize(
    ("ended", "begins_again"), [("running", False), ("lost", True), (STOPPED, True), (DONE, False)]
)
def test_a_worker_that_dies_meanwhile(bench: SetupBench, ended: Any, begins_again: bool) -> None:
    bench.connect_fake()
    bench.begin()
    bench.restart()
    (bench.files.setup / "v1/files").mkdir(parents=True)
    runner = bench.connect_fake(holds(ended))
    bench.begin("sleep")
    assert (runner.told("run") == [V1]) is begins_again
    if ended == "running":
        says(bench, "ended", execution=DONE)
    assert (runner.told("run") == [name_of("sleep")]) is not begins_again


def test_a_runner_that_dies_meanwhile(bench: SetupBench) -> None:
    bench.connect_fake()
    bench.begin()
    bench.worker.on_disconnected()
    runner = bench.connect_fake()
    assert runner.told("run") == [V1], "it does not know of it"
    bench.worker.on_disconnected()
    runner = bench.connect_fake(holds("running"))
    assert runner.told("run") == []


def test_a_shortage_of_the_host_lets_it_wait(bench: SetupBench, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = bench.connect_fake()
    bench.begin()
    says(bench, "refused", reason="no room")
    bench.worker.tick()
    assert (runner.told("run"), bench.beat()["unfit"]) == ([V1], False)
    monkeypatch.setattr("framework.worker.setup.RETRY_SECONDS", 0.0)
    says(bench, "refused", reason="no room")
    assert runner.told("run") == [V1, V1]


def test_it_is_stopped_with_the_worker_and_for_new_code(bench: SetupBench) -> None:
    runner = bench.connect_fake()
    bench.begin()
    bench.push("v2", "f1")
    bench.worker.tick()
    assert runner.told("stop") == [V1]
    assert runner.told("run") == [V1, "setup-v2.1"]
    says(bench, "ended", execution=STOPPED)
    assert bench.beat()["notice"] == "its setup runs: it gets tasks after that"
    bench.worker.stop()
    assert "setup-v2.1" in runner.told("stop")


def test_a_runner_that_says_it_to_no_one_is_ignored(bench: SetupBench) -> None:
    runner = FakeRunner(bench.worker)
    bench.worker.on_connected(runner, {"environment": {}, "image": ""})
    bench.worker.on_event({"event": "ended", "attempt": None, "execution": DONE})
    bench.worker.on_event({"event": "synced"})
    assert runner.told("run") == []
