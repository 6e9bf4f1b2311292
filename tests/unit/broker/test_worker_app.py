"""Celery application of a worker: its task and its signals."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery, _state, signals
from runner_bench import wait_until
from worker_bench import DONE, TASK, FakeRunner, WorkerBench, assignment

from framework.broker import worker_app
from framework.broker.celery_app import HAND_BACK_COMMAND, OUTPUT_COMMAND, STOP_COMMAND, TASK_NAME
from framework.errors import MessageError
from framework.messages.identity import Identity
from framework.messages.task_ids import AttemptId
from framework.messages.worker_events import Heartbeat
from framework.worker.worker import AttemptFailed, AttemptLeft, Worker


@pytest.fixture
def bench(tmp_path: Path) -> WorkerBench:
    return WorkerBench(tmp_path)


@pytest.fixture
def stopping() -> list[str]:
    """What Celery's end has led to."""
    return []


@pytest.fixture
def app(bench: WorkerBench, stopping: list[str], monkeypatch: pytest.MonkeyPatch) -> Celery:
    """The application of the bench's worker; what it registers with Celery is forgotten afterwards."""
    monkeypatch.setattr(_state, "_on_app_finalizers", set())
    for each in (signals.task_received, signals.task_revoked, signals.worker_shutting_down):
        monkeypatch.setattr(each, "receivers", [])
    monkeypatch.setattr(worker_app, "make_app", lambda identity: Celery("test", set_as_current=False))
    return worker_app.make_worker_app(bench.worker, lambda told: stopping.append(f"stopping {told}"))


def test_an_attempt_that_celery_drops_is_held_no_longer(bench: WorkerBench, app: Celery) -> None:
    for name in (f"{TASK}.1", f"{TASK}.2", "garbage", None):
        signals.task_received.send(sender=None, request=Request(name))
    assert bench.beat()["reserved"] == [f"{TASK}.1", f"{TASK}.2"]
    signals.task_revoked.send(sender=None, request=Request(f"{TASK}.1"))
    assert bench.beat()["reserved"] == [f"{TASK}.2"]
    app.tasks[TASK_NAME].apply(args=["garbage"], task_id=f"{TASK}.2")
    assert bench.beat()["reserved"] == []
    assert [news["kind"] for news in bench.recorder.events] == ["refused"]
    assert "garbage" in bench.recorder.events[0]["message"]


def test_celery_passes_orders_on_to_the_worker(
    bench: WorkerBench, app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    from celery.worker.control import Panel

    told: list[list[AttemptId]] = []
    monkeypatch.setattr(bench.worker, "stop_attempts", told.append)
    Panel.data[STOP_COMMAND](None, names=[f"{TASK}.1", 5, "nonsense"])
    assert told == [[AttemptId(TASK, 1)]]
    monkeypatch.setattr(bench.worker, "hand_back", told.append)
    Panel.data[HAND_BACK_COMMAND](None, names=[f"{TASK}.2", 5, "nonsense"])
    assert told[1:] == [[AttemptId(TASK, 2)]]


def test_the_worker_answers_with_the_output_of_an_attempt(bench: WorkerBench, app: Celery) -> None:
    from celery.worker.control import Panel

    output_of_attempt = Panel.data[OUTPUT_COMMAND]
    files = bench.files.attempt(TASK, 1)
    files.directory.mkdir(parents=True)
    files.stdout.write_text("loss=1\n")
    files.stderr.write_text("a warning\n")
    assert output_of_attempt(None, name=f"{TASK}.1") == {"stdout": "loss=1\n", "stderr": "a warning\n"}
    assert output_of_attempt(None, name=f"{TASK}.2") == {
        "error": "this host has no output of it: No such file or directory"
    }
    with pytest.raises(MessageError, match="not the name of an attempt"):
        output_of_attempt(None, name="../1")


def test_the_worker_runs_the_message_and_holds_the_attempt_no_longer(
    bench: WorkerBench, app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[object] = []
    monkeypatch.setattr(bench.worker, "run", lambda message, _: ran.append(message))
    bench.worker.reserve(AttemptId(TASK, 1))
    app.tasks[TASK_NAME].apply(args=[{"x": 1}], task_id=f"{TASK}.1")
    app.tasks[TASK_NAME].apply(args=[1, 2], kwargs={"more": 3}, task_id="garbage")
    app.tasks[TASK_NAME].apply(args=[], task_id=f"{TASK}.2")
    assert ran == [{"x": 1}, (1, 2), ()]
    assert bench.beat()["reserved"] == []


def test_a_failed_attempt_is_a_failed_celery_task(
    bench: WorkerBench, app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*_: object) -> None:
        raise AttemptFailed("exit code 3")

    monkeypatch.setattr(bench.worker, "run", run)
    result = app.tasks[TASK_NAME].apply(args=[{}], task_id=f"{TASK}.1")
    assert (result.state, str(result.result)) == ("FAILURE", "exit code 3")


class Request:
    """What Celery knows of a message that it has received."""

    def __init__(self, attempt: str | None) -> None:
        self.id = attempt
        self.acknowledged = 0

    def acknowledge(self) -> None:
        self.acknowledged += 1


def receive(app: Celery, attempt: str) -> Request:
    request = Request(attempt)
    signals.task_received.send(sender=None, request=request)
    return request


def called(app: Celery, name: str) -> tuple[threading.Thread, list[Any]]:
    """A thread of Celery's that executes an attempt, and where its outcome comes."""
    results: list[Any] = []
    message = [assignment("fine")]
    thread = threading.Thread(
        target=lambda: results.append(app.tasks[TASK_NAME].apply(args=message, task_id=name))
    )
    thread.start()
    return thread, results


def test_a_message_is_acknowledged_once_its_attempt_is_on_the_disk_of_the_runner(
    bench: WorkerBench, app: Celery
) -> None:
    assert app.tasks[TASK_NAME].acks_late, "not when Celery begins with it"
    runner = bench.connect_fake()
    name = f"{TASK}.1"
    request = receive(app, name)
    thread, results = called(app, name)
    wait_until(lambda: runner.sent)
    runner.says("started", when=1.0)
    assert request.acknowledged == 0
    runner.says("taken")
    wait_until(lambda: request.acknowledged)
    assert thread.is_alive(), "a thread of Celery's waits for its end"
    runner.says("ended", execution=DONE)
    thread.join(60)
    assert (request.acknowledged, results[0].state) == (1, "SUCCESS")


def test_an_attempt_that_is_left_to_the_next_worker_has_no_outcome_for_celery(
    bench: WorkerBench, app: Celery
) -> None:
    runner = bench.connect_fake()
    name = f"{TASK}.1"
    request = receive(app, name)
    thread, results = called(app, name)
    wait_until(lambda: runner.sent)
    runner.says("taken")
    bench.worker.leave(for_good=False)
    thread.join(60)
    assert (request.acknowledged, results[0].state) == (1, "IGNORED")
    assert (runner.told("stop"), bench.recorder.results) == ([], [])
    assert bench.beat()["running"] == [name], "it is held all the same"


def test_a_message_of_which_celery_knows_nothing_is_run_too(
    bench: WorkerBench, app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(message: object, on_taken: Callable[[], None]) -> None:
        on_taken()
        raise AttemptLeft

    monkeypatch.setattr(bench.worker, "run", run)
    assert app.tasks[TASK_NAME].apply(args=[{}], task_id=f"{TASK}.1").state == "IGNORED"


def test_celery_forgets_a_message_that_was_acknowledged_or_revoked(
    bench: WorkerBench, app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(message: object, on_taken: Callable[[], None]) -> None:
        on_taken()

    monkeypatch.setattr(bench.worker, "run", run)
    revoked, ran = receive(app, f"{TASK}.1"), receive(app, f"{TASK}.2")
    signals.task_revoked.send(sender=None, request=revoked)
    for name in (f"{TASK}.1", f"{TASK}.2", f"{TASK}.2"):
        app.tasks[TASK_NAME].apply(args=[{}], task_id=name)
    assert (revoked.acknowledged, ran.acknowledged) == (0, 1)


def test_celery_tells_when_it_shuts_down_and_waits_for_nobody(
    app: Celery, stopping: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    signals.worker_shutting_down.send(sender=None, sig="SIGTERM")
    wait_until(lambda: stopping == ["stopping True"])
    signals.worker_shutting_down.send(sender=None, sig="")
    wait_until(lambda: stopping == ["stopping True", "stopping False"])


def test_a_signal_may_come_while_a_message_is_sent_to_the_runner(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that it interrupts holds a lock that leave() needs."""
    lock, left = threading.Lock(), threading.Event()

    def leave(_: bool) -> None:
        with lock:
            left.set()

    monkeypatch.setattr(_state, "_on_app_finalizers", set())
    for each in (signals.task_received, signals.task_revoked, signals.worker_shutting_down):
        monkeypatch.setattr(each, "receivers", [])
    monkeypatch.setattr(worker_app, "make_app", lambda identity: Celery("test", set_as_current=False))
    worker_app.make_worker_app(bench.worker, leave)
    with lock:
        signals.worker_shutting_down.send(sender=None, sig="SIGTERM")
    assert left.wait(60)


class Served:
    """What serve() has begun, in its order; Celery, the broker and the runner are none."""

    def __init__(self, bench: WorkerBench, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        self.killed: list[int] = []
        self.shutdown: list[Callable[[], None]] = []
        self.worker: Worker
        self.heartbeat: Callable[[], Heartbeat]
        self.stop: Callable[[bool], None]
        self.bench = bench
        self.runner_comes_at = "wait for the queue"
        served = self

        class Publisher:
            def __init__(self, identity: Identity, spool: Path) -> None:
                assert spool == bench.files.spool
                self.connected = SimpleNamespace(wait=lambda: served.note("wait for the queue"))

            def begin(self, heartbeat: Callable[[], Heartbeat]) -> None:
                served.note("begin to send")
                served.heartbeat = heartbeat
                assert heartbeat().source.host == "host1"

            def close(self, timeout: float) -> None:
                served.note(f"close within {timeout:.0f} s")

        class Link:
            def __init__(self, worker: Worker, files: object) -> None:
                assert files == bench.files
                served.worker = worker

            def start(self) -> None:
                served.note("wait for the runner")

        class App:
            def worker_main(self, arguments: list[str]) -> None:
                served.note("consume")
                assert served.worker.has_runner
                assert arguments[0] == "worker"
                assert "--hostname=worker@host1" in arguments
                assert "--pool=threads" in arguments
                assert "--concurrency=2" in arguments

        def make_app(worker: Worker, on_stopping: Callable[[bool], None]) -> App:
            served.stop = on_stopping
            return App()

        def connect(function: Callable[[], None], weak: bool) -> None:
            assert weak is False
            served.shutdown.append(function)

        monkeypatch.setattr(worker_app, "RUNNER_SECONDS", 0.3)
        monkeypatch.setattr(worker_app, "BrokerPublisher", Publisher)
        monkeypatch.setattr(worker_app, "RunnerLink", Link)
        monkeypatch.setattr(worker_app, "make_worker_app", make_app)
        monkeypatch.setattr(
            worker_app, "signals", SimpleNamespace(worker_shutdown=SimpleNamespace(connect=connect))
        )
        monkeypatch.setattr(
            worker_app, "finish_earlier_results", lambda files: self.note("finish earlier results")
        )
        monkeypatch.setattr("os.kill", lambda pid, number: self.killed.append(number))

    def note(self, call: str) -> None:
        self.calls.append(call)
        if call == self.runner_comes_at:
            self.runner = FakeRunner(self.worker)
            self.runner.connect()

    def serve(self) -> None:
        identity = self.bench.worker.identity
        worker_app.serve(identity, self.bench.files.path, self.bench.code, 2, 7 * 2**20)


@pytest.fixture
def served(bench: WorkerBench, monkeypatch: pytest.MonkeyPatch) -> Served:
    return Served(bench, monkeypatch)


@pytest.mark.parametrize("runner_comes_at", ["wait for the runner", "begin to send", "wait for the queue"])
def test_the_worker_is_served_in_the_order_in_which_nothing_is_lost(
    served: Served, runner_comes_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.runner_comes_at = runner_comes_at
    comes_at_once = runner_comes_at == "wait for the runner"
    seconds = 60.0 if comes_at_once else 0.3
    monkeypatch.setattr(worker_app, "RUNNER_SECONDS", seconds)
    began = time.monotonic()
    served.serve()
    assert (time.monotonic() - began < seconds) is comes_at_once, "the first heartbeat is to name what runs"
    assert served.calls == [
        "finish earlier results", "wait for the runner", "begin to send", "wait for the queue", "consume",
    ]  # fmt: skip
    assert served.worker._allocator._devices.memory == 7 * 2**20
    served.calls.clear()
    for function in served.shutdown:
        function()
    assert served.calls == [f"close within {worker_app.FLUSH_SECONDS:.0f} s"]


def test_a_worker_restarts_for_new_framework_files_once_and_what_runs_goes_on(
    bench: WorkerBench, served: Served
) -> None:
    served.serve()
    served.worker.begin(assignment("sleep"))
    served.runner.says("taken", "sleep")
    assert served.heartbeat().slots == 2
    assert served.killed == []
    bench.push("v2", "f2")
    assert [served.heartbeat().slots for _ in range(3)] == [0, 0, 0]
    assert served.killed == [signal.SIGTERM]
    served.stop(True)
    assert (served.runner.told("stop"), served.runner.sent[-1]["do"]) == ([], "run"), "it is not told"
    assert [str(attempt) for attempt in served.heartbeat().running] == [served.runner.told("run")[0]]


def test_a_worker_that_is_stopped_leaves_for_good(served: Served) -> None:
    served.serve()
    served.worker.begin(assignment("sleep"))
    served.runner.says("taken", "sleep")
    served.stop(True)
    assert served.runner.sent[-1] == {"do": "leave"}
    assert len(served.heartbeat().running) == 1


def test_what_runs_goes_on_if_the_broker_has_refused_the_worker_something(served: Served) -> None:
    served.serve()
    served.worker.begin(assignment("sleep"))
    served.runner.says("taken", "sleep")
    served.stop(False)
    assert served.runner.sent[-1]["do"] == "run", "the runner is not told to stop what runs"
    assert len(served.heartbeat().running) == 1
