"""A worker whose devices are described: the tasks that run at a time, their GPUs, and its heartbeats."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import pytest
from runner_bench import wait_until
from worker_bench import Link, Recorder, assignment, kill_tasks, start_runner, task_of

from framework.files import WorkerFiles
from framework.messages.identity import Identity
from framework.messages.task_ids import AttemptId
from framework.messages.worker_events import parse_event
from framework.worker import devices, waiting_attempts
from framework.worker.current_project import cached_project
from framework.worker.held_attempts import HeldAttempt
from framework.worker.worker import Worker

# Says what it sees, and goes on until it may end.
PROGRAM = """\
import os, pathlib, sys, time
name = sys.argv[1].partition("=")[2]
names = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MKL_NUM_THREADS",
         "TASK_SLOT", "MASTER_ADDR", "MASTER_PORT")
tasks = pathlib.Path("../../..")
(tasks / f"new.{name}").write_text(repr({each: os.environ.get(each) for each in names}))
(tasks / f"new.{name}").rename(tasks / f"seen.{name}")
while not (tasks / f"end.{name}").exists():
    time.sleep(0.02)
"""


class Bench:
    """A worker with a real runner, and the tasks that it was sent."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = WorkerFiles(path / "data")
        self.files.tasks.mkdir(parents=True)
        self.recorder = Recorder()
        self.held: dict[str, HeldAttempt] = {}
        self.versions = 0
        self.link: Link | None = None
        self.runner = start_runner(self.files)

    def close(self) -> None:
        self.end(*self.held)
        if self.link:
            self.link.close()
        self.runner.kill()
        self.runner.wait()
        kill_tasks(self.files)

    def push(self, resources: str) -> None:
        self.versions += 1
        version = f"v{self.versions}"
        project = self.path / "code" / version / "project"
        project.mkdir(parents=True)
        (project / "project.yml").write_text(f"command: python3 program.py\n{resources}\n")
        (project / "parameters.yml").write_text("x: [a, b]\n")
        (project / "program.py").write_text(PROGRAM)
        (project.parent / "VERSION").write_text("framework=f1\nproject=p\n")
        (self.path / "code/new").symlink_to(version)
        (self.path / "code/new").rename(self.path / "code/current")

    def has(
        self,
        gpus: Mapping[str, int] | None = None,
        cpus: float = 4,
        memory: int = 8192,
        kind: str = "nvidia",
        sizes: Mapping[str, int] = {},
    ) -> None:
        """Describe the host's devices: the MiB in use of each GPU; `sizes`: those that have not 40,000."""
        found = [
            {"uuid": name, "memory": sizes.get(name, 40_000), "used": used}
            for name, used in (gpus or {}).items()
        ]
        new = self.files.devices.with_suffix(".new")
        new.write_text(json.dumps({"cpus": cpus, "memory": memory, "gpus": found, "gpu_kind": kind}))
        new.rename(self.files.devices)

    def start(self, slots: int | None = None) -> None:
        identity = Identity("worker", "infra-1", "p", "host1")
        if self.link:
            self.link.close()
        self.worker = Worker(identity, self.files, self.path / "code", slots, self.recorder)
        self.link = Link(self.worker, self.files)
        self.link.start()
        wait_until(lambda: self.worker.has_runner)

    def begin(self, resources: str, gpus: Mapping[str, int] | None = None, **devices: Any) -> None:
        """Start it with a project that needs this, on a host that has these devices."""
        self.has(gpus, **devices)
        self.push(resources)
        self.start()

    def send(self, *names: str) -> None:
        for name in names:
            held = self.worker.begin(assignment(name))
            assert held is not None
            self.held[name] = held

    def seen(self) -> dict[str, Mapping[str, str | None]]:
        """What those tasks saw that began."""
        files = self.files.tasks.glob("seen.*")
        return {file.suffix[1:]: ast.literal_eval(file.read_text()) for file in files}

    def gpus(self) -> dict[str, str | None]:
        return {name: seen["CUDA_VISIBLE_DEVICES"] for name, seen in self.seen().items()}

    def wait_for(self, number: int) -> None:
        wait_until(lambda: len(self.seen()) == number)

    def end(self, *names: str) -> None:
        for name in names:
            (self.files.tasks / f"end.{name}").touch()
        for name in names:
            assert self.held[name].over.wait(60)

    def beat(self) -> Mapping[str, Any]:
        """The heartbeat of the worker, as a message."""
        message = json.loads(json.dumps(self.worker.heartbeat().to_message()))
        return parse_event(message).to_message()

    def states(self) -> list[str]:
        return [result.state for result in self.recorder.results]


def names(held: Sequence[str]) -> set[str]:
    return {letter for name in held for letter in ascii_lowercase if name.startswith(task_of(letter))}


def given(**environment: str) -> pytest.MarkDecorator:
    """Have the runner, and so its tasks, begin with these variables."""
    return pytest.mark.parametrize("bench", [environment], indirect=True)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Bench]:
    cached_project.cache_clear()
    monkeypatch.setattr(devices, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(devices, "PATIENCE_SECONDS", 60.0)
    for name in (
        *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "MASTER_ADDR", "MASTER_PORT"),
        *("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"),
    ):
        monkeypatch.delenv(name, raising=False)
    for name, value in getattr(request, "param", {}).items():
        monkeypatch.setenv(name, value)
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def test_as_many_tasks_run_as_fit_and_each_sees_its_own_gpus(bench: Bench) -> None:
    bench.begin("resources: {gpus: 1, cpus: 1, memory: 1G}", {"GPU-0": 3, "GPU-1": 3})
    assert bench.beat()["slots"] == 2
    bench.send("a", "b", "c")
    bench.wait_for(2)
    assert sorted(map(str, bench.gpus().values())) == ["GPU-0", "GPU-1"]
    assert {seen["OMP_NUM_THREADS"] for seen in bench.seen().values()} == {"1"}
    beat, began = bench.beat(), set(bench.seen())
    assert names(beat["running"]) == began
    wait_until(lambda: names(bench.beat()["reserved"]) == {"a", "b", "c"} - began)
    assert len(bench.recorder.events) == 2, "the third has not been told as started"
    first = min(began)
    freed = bench.gpus()[first]
    bench.end(first)
    bench.wait_for(3)
    (last,) = {"a", "b", "c"} - began
    assert bench.gpus()[last] == freed
    bench.end("a", "b", "c")
    assert bench.states() == ["done"] * 3
    assert bench.beat()["slots"] == 2


def test_tasks_share_a_gpu(bench: Bench) -> None:
    bench.begin("resources: {gpus: 0.5}", {"GPU-0": 3})
    assert bench.beat()["slots"] == 2
    bench.send("a", "b")
    bench.wait_for(2)
    assert bench.gpus() == {"a": "GPU-0", "b": "GPU-0"}
    assert {seen["OMP_NUM_THREADS"] for seen in bench.seen().values()} == {"2"}, "half of the host"


def test_a_gpu_that_others_use_is_left_alone_and_used_when_they_are_gone(bench: Bench) -> None:
    bench.begin("resources: {gpus: 1}", {"GPU-0": 20_000, "GPU-1": 3})
    beat = bench.beat()
    assert (beat["slots"], beat["unfit"]) == (1, False)
    assert beat["notice"] == "GPU 0 (described) is left alone, others use 20000 of its 40000 MiB"
    bench.send("a", "b")
    bench.wait_for(1)
    (first,) = bench.seen()
    assert bench.gpus() == {first: "GPU-1"}
    bench.has({"GPU-0": 3, "GPU-1": 30_000})
    bench.wait_for(2)
    (second,) = bench.seen().keys() - {first}
    assert bench.gpus()[second] == "GPU-0"
    beat = bench.beat()
    assert (beat["slots"], beat["notice"]) == (2, "")


def test_without_resources_nothing_changes(bench: Bench) -> None:
    bench.begin("", {"GPU-0": 20_000}, cpus=2)
    beat = bench.beat()
    assert (beat["slots"], beat["notice"], bench.worker.concurrency) == (2, "", 2)
    bench.send("a")
    bench.wait_for(1)
    assert bench.gpus() == {"a": None}
    bench.end("a")
    bench.start(slots=7)
    assert (bench.beat()["slots"], bench.worker.concurrency) == (7, 7)


def test_a_task_that_asks_for_no_gpu_sees_none(bench: Bench) -> None:
    bench.begin("resources: {memory: 3G}", {"GPU-0": 20_000})
    beat = bench.beat()
    assert (beat["slots"], beat["notice"]) == (2, "")
    bench.send("a")
    bench.wait_for(1)
    assert bench.gpus() == {"a": ""}


def test_a_host_that_lacks_something_is_unfit_and_says_why(bench: Bench) -> None:
    bench.begin("resources: {gpus: 1, cpus: 4}", cpus=2)
    beat = bench.beat()
    assert (beat["slots"], beat["unfit"]) == (0, True)
    assert beat["notice"] == "has 0 GPUs (a task needs 1) and 2 CPUs (a task needs 4)"


def test_a_push_changes_what_fits_and_what_waits_goes_by_it(bench: Bench) -> None:
    bench.begin("resources: {cpus: 4}", cpus=4)
    assert (bench.beat()["slots"], bench.worker.concurrency) == (1, 4)
    bench.send("a", "b")
    bench.wait_for(1)
    bench.push("resources: {cpus: 5}")
    assert (bench.beat()["slots"], bench.beat()["unfit"]) == (1, True), "what runs has its slot"
    bench.end(*bench.seen())
    assert bench.beat()["slots"] == 0
    bench.push("resources: {cpus: 2}")
    bench.wait_for(2)
    assert bench.beat()["slots"] == 2
    bench.end("a", "b")
    assert [result.code for result in bench.recorder.results] == ["v1", "v3"]


def test_a_task_that_waits_too_long_goes_back_to_the_master(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_attempts, "HAND_BACK_SECONDS", 0.1)
    bench.begin("resources: {gpus: 1}", {"GPU-0": 20_000})
    bench.send("a")
    assert bench.held["a"].over.wait(60)
    (result,) = bench.recorder.results
    assert (result.state, "no room for it" in result.reason) == ("stopped", True)
    assert bench.seen() == {}
    assert bench.beat()["reserved"] == []


def test_a_task_that_waits_can_be_stopped(bench: Bench) -> None:
    bench.begin("resources: {gpus: 1}", {"GPU-0": 20_000})
    bench.send("a")
    wait_until(lambda: names(bench.beat()["reserved"]) == {"a"})
    bench.worker.stop_attempts([AttemptId(task_of("a"), 1)])
    assert bench.held["a"].over.wait(60)
    assert (bench.states(), bench.seen()) == (["stopped"], {})


def test_more_slots_than_there_are_threads_restart_a_worker_that_holds_nothing(bench: Bench) -> None:
    bench.begin("resources: {cpus: 1}", cpus=1)
    bench.send("a")
    bench.wait_for(1)
    bench.push("resources: {cpus: 0.25}")
    assert (bench.beat()["slots"], bench.worker.restart_reason()) == (1, "")
    bench.end("a")
    assert bench.beat()["slots"] == 1
    assert bench.worker.restart_reason() == "more slots than this process can have"
    bench.start()
    assert (bench.beat()["slots"], bench.worker.concurrency, bench.worker.restart_reason()) == (4, 4, "")


def test_the_next_worker_hands_out_no_gpu_that_a_task_has(bench: Bench) -> None:
    bench.begin("resources: {gpus: 1}", {"GPU-0": 3, "GPU-1": 3})
    bench.send("a")
    bench.wait_for(1)
    bench.start()
    assert (names(bench.beat()["running"]), bench.beat()["slots"]) == ({"a"}, 2)
    bench.send("b", "c")
    bench.wait_for(2)
    gpus = bench.gpus()
    assert sorted(map(str, gpus.values())) == ["GPU-0", "GPU-1"]
    (second,) = gpus.keys() - {"a"}
    wait_until(lambda: names(bench.beat()["reserved"]) == {"b", "c"} - {second})
    (bench.files.tasks / "end.a").touch()
    bench.wait_for(3)
    (last,) = {"b", "c"} - {second}
    assert bench.gpus()[last] == gpus["a"]
    del bench.held["a"]  # by the worker that was replaced
    bench.end("b", "c")
    assert bench.states() == ["done"] * 3


def test_each_task_has_a_slot_and_a_port_also_from_the_next_worker(bench: Bench) -> None:
    bench.has(cpus=8)
    bench.push("")
    bench.start(slots=4)
    bench.send("a", "b", "c")
    bench.wait_for(3)
    seen = bench.seen()
    assert sorted(str(each["TASK_SLOT"]) for each in seen.values()) == ["0", "1", "2"]
    assert len({each["MASTER_PORT"] for each in seen.values()}) == 3
    assert {each["MASTER_ADDR"] for each in seen.values()} == {"127.0.0.1"}
    assert {each["OMP_NUM_THREADS"] for each in seen.values()} == {"2"}
    (first,) = (name for name in seen if seen[name]["TASK_SLOT"] == "1")
    bench.end(first)
    bench.start(slots=4)
    assert bench.beat()["slots"] == 4
    bench.send("d", "e")
    bench.wait_for(5)
    seen = {name: each for name, each in bench.seen().items() if name != first}
    assert sorted(str(each["TASK_SLOT"]) for each in seen.values()) == ["0", "1", "2", "3"]
    assert len({each["MASTER_PORT"] for each in seen.values()}) == 4
    for left in {"a", "b", "c"} - {first}:
        (bench.files.tasks / f"end.{left}").touch()
        del bench.held[left]  # by the worker that was replaced


@given(OMP_NUM_THREADS="6", MASTER_PORT="1234")
def test_what_the_environment_of_the_tasks_sets_stays(bench: Bench) -> None:
    bench.begin("resources: {cpus: 2}", cpus=4)
    bench.send("a")
    bench.wait_for(1)
    seen = bench.seen()["a"]
    assert (seen["OMP_NUM_THREADS"], seen["MKL_NUM_THREADS"]) == ("6", None)
    assert (seen["MASTER_ADDR"], seen["MASTER_PORT"]) == ("127.0.0.1", "1234")


@given(CUDA_VISIBLE_DEVICES="2,GPU-3")
def test_only_the_gpus_that_the_environment_leaves_are_given(bench: Bench) -> None:
    bench.begin("resources: {gpus: 1}", {"GPU-0": 3, "GPU-1": 3, "GPU-2": 3, "GPU-3": 3})
    assert (bench.beat()["slots"], bench.beat()["notice"]) == (2, "")
    bench.send("a", "b", "c")
    bench.wait_for(2)
    assert sorted(map(str, bench.gpus().values())) == ["GPU-2", "GPU-3"]
    bench.push("resources: {gpus: 3}")
    beat = bench.beat()
    assert (beat["unfit"], beat["notice"]) == (
        True, "has 2 GPUs (a task needs 3); CUDA_VISIBLE_DEVICES=2,GPU-3"
    )  # fmt: skip
    bench.push("resources: {gpus: 1}")  # the third one can begin, and end


@given(ROCR_VISIBLE_DEVICES="1")
def test_gpus_of_amd(bench: Bench) -> None:
    bench.begin("resources: {gpus: 1}", {"0": 3, "1": 3}, kind="amd")
    assert bench.beat()["slots"] == 1
    bench.send("a")
    bench.wait_for(1)
    seen = bench.seen()["a"]
    assert (seen["ROCR_VISIBLE_DEVICES"], seen["CUDA_VISIBLE_DEVICES"]) == ("1", "0")


def test_gpus_with_too_little_memory_get_no_task(bench: Bench) -> None:
    bench.begin("resources: {gpus: 1, gpu_memory: 20G}", {"GPU-0": 3, "GPU-1": 3}, sizes={"GPU-0": 11 * 1024})
    assert bench.beat()["slots"] == 1
    bench.send("a")
    bench.wait_for(1)
    assert bench.gpus() == {"a": "GPU-1"}
    bench.has({"GPU-0": 3}, sizes={"GPU-0": 11 * 1024})
    beat = bench.beat()
    assert (beat["unfit"], beat["notice"]) == (
        True, "has GPUs of at most 11 GiB (a task needs one with 20 GiB)"
    )  # fmt: skip
