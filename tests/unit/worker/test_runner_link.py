"""Link to the runner: the real one gets through, and nobody else does."""

from __future__ import annotations

import json
import socket
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from forks import Fork
from runner_bench import wait_until
from worker_bench import (
    HELLO,
    RunnerBench,
    kill_tasks,
    name_of,
    start_runner,
)

from framework.files import WorkerFiles
from framework.runner.orphans import task_processes
from framework.worker import runner_link
from framework.worker.runner_link import MOST_PENDING, REFUSAL_SECONDS, Refusals, RunnerLink
from framework.worker.runner_state import Runner
from framework.worker.worker import Worker


class Listener:
    """What a link hands to its worker, which may be a real one."""

    def __init__(self, worker: Worker | None = None) -> None:
        self.calls: list[str] = []
        self.events: list[Mapping[str, Any]] = []
        self.runner: Any = None
        self.ticks = 0
        self.ends = False
        self.worker = worker

    def on_connected(self, runner: Runner, hello: Mapping[str, Any]) -> None:
        self.calls.append("connected")
        self.runner = runner
        if self.worker:
            self.worker.on_connected(runner, hello)

    def on_disconnected(self) -> None:
        self.calls.append("disconnected")
        if self.worker:
            self.worker.on_disconnected()

    def on_refused(self) -> None:
        if self.calls[-1:] != ["refused"]:
            self.calls.append("refused")
        if self.worker:
            self.worker.on_refused()

    def on_event(self, event: Mapping[str, Any]) -> None:
        if event["event"] == "bad":
            raise ValueError("a bug")
        self.events.append(event)
        if self.worker:
            self.worker.on_event(event)

    def tick(self) -> None:
        self.ticks += 1
        if self.ends:
            raise SystemExit
        if self.worker:
            self.worker.tick()


class Link(RunnerLink):
    """One that ends when its worker wants it to."""

    def run(self) -> None:
        with suppress(SystemExit):
            super().run()


class Process:
    """A process on the host that connects: the runner, or another one that says so."""

    def __init__(self, files: WorkerFiles) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(str(files.link))

    def say(self, *messages: Mapping[str, Any]) -> None:
        self.socket.sendall(b"".join(json.dumps(message).encode() + b"\n" for message in messages))

    def hello(self, key: object = None, **fields: Any) -> None:
        self.say(HELLO | {"key": key} | fields)

    def welcome(self) -> str:
        """The key that it is given."""
        message = json.loads(self.socket.recv(1000))
        assert message["do"] == "welcome"
        return str(message["key"])

    def is_refused(self) -> bool:
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def hears_nothing(self, seconds: float) -> bool:
        self.socket.settimeout(seconds)
        try:
            self.socket.recv(1)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(60)
        return False


class Bench:
    """Links, and those that connect to them."""

    def __init__(self, path: Path) -> None:
        self.files = WorkerFiles(path)
        self.links: list[tuple[Link, Listener]] = []
        self.processes: list[Process] = []

    def start(self, worker: Worker | None = None) -> Listener:
        """As a worker that starts, after the last one has died."""
        self.close_links()
        listener = Listener(worker)
        stands_for: Any = listener
        self.links.append((Link(stands_for, self.files), listener))
        self.links[-1][0].start()
        return listener

    def connect(self) -> Process:
        self.processes.append(Process(self.files))
        return self.processes[-1]

    def connect_runner(self, key: str | None = None) -> tuple[Process, str]:
        process = self.connect()
        process.hello(key)
        return process, process.welcome()

    def close_links(self) -> None:
        for link, listener in self.links:
            listener.ends = True
            link.join(60)
            assert not link.is_alive(), "it does not tick"
            for pending in link._pending:
                pending.connection.close()
            if link._runner:
                link._runner.close()
            link._listener.close()
            link._selector.close()
        self.links.clear()

    def close(self) -> None:
        self.close_links()
        for process in self.processes:
            process.socket.close()


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_link, "TICK_SECONDS", 0.02)
    monkeypatch.setattr(runner_link, "RETURN_SECONDS", 0.3)
    monkeypatch.setattr(runner_link, "START_SECONDS", 0.5)
    monkeypatch.setattr(runner_link, "HELLO_SECONDS", 60.0)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_nobody_else_on_the_host_can_connect_or_read_the_key(bench: Bench) -> None:
    bench.start()
    assert (mode(bench.files.link), mode(bench.files.link.parent)) == (0o600, 0o700)
    assert (mode(bench.files.runner_key), len(bench.files.runner_key.read_text())) == (0o600, 64)


def test_the_key_is_kept_and_each_host_has_its_own(bench: Bench, tmp_path: Path) -> None:
    bench.start()
    key = bench.files.runner_key.read_text()
    bench.start()
    assert bench.files.runner_key.read_text() == key
    assert mode(bench.files.link) == 0o600, "also in place of the last one's socket"
    bench.files.runner_key.unlink()
    bench.start()
    assert bench.files.runner_key.read_text() != key


def test_the_first_runner_of_a_host_is_believed_and_given_the_key(bench: Bench) -> None:
    listener = bench.start()
    process, key = bench.connect_runner()
    assert key == bench.files.runner_key.read_text()
    process.say({"event": "synced"}, {"event": "taken"})
    wait_until(lambda: len(listener.events) == 2)
    listener.runner.send(do="run", jobs=[])
    assert process.socket.recv(1000) == b'{"do":"run","jobs":[]}\n'
    assert listener.calls == ["connected"]


def test_an_event_that_cannot_be_taken_does_not_cost_the_next_ones(bench: Bench) -> None:
    listener = bench.start()
    process, _ = bench.connect_runner()
    process.say({"event": "bad"}, {"event": "synced"})
    wait_until(lambda: listener.events)
    assert listener.calls == ["connected"]


@pytest.mark.parametrize("key", ["0" * 64, "", "schlüssel", "\ud800", 5, ["x"], {}, True])
def test_a_wrong_key_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch, key: object) -> None:
    monkeypatch.setattr(runner_link, "START_SECONDS", 60.0)
    listener = bench.start()
    process = bench.connect()
    process.hello(key)
    assert process.is_refused()
    ticks = listener.ticks
    wait_until(lambda: listener.ticks > ticks + 2)
    assert listener.calls == []
    bench.connect_runner()


def test_a_runner_whose_key_the_worker_has_lost_is_refused_and_the_worker_says_so(bench: Bench) -> None:
    bench.start()
    _, key = bench.connect_runner()
    bench.files.runner_key.unlink()
    listener = bench.start()
    began = time.monotonic()
    while not listener.calls:
        process = bench.connect()
        process.hello(key)
        assert process.is_refused()
        assert time.monotonic() < began + 60
    assert time.monotonic() >= began + 0.4, "START_SECONDS: another one may come"
    assert listener.calls == ["refused"]
    bench.connect_runner()  # as after docker restart
    assert listener.calls == ["refused", "connected"]
    ticks = listener.ticks
    wait_until(lambda: listener.ticks > ticks + 2)
    assert listener.calls == ["refused", "connected"]


def test_a_wrong_key_is_nothing_to_speak_of_while_the_runner_is_there_or_comes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_link, "START_SECONDS", 60.0)
    listener = bench.start()
    for _ in range(2):
        other = bench.connect()
        other.hello("0" * 64)
        assert other.is_refused()
        if not listener.calls:
            bench.connect_runner()
    monkeypatch.setattr(runner_link, "START_SECONDS", 0.0)
    ticks = listener.ticks
    wait_until(lambda: listener.ticks > ticks + 2)
    assert listener.calls == ["connected"]


def test_each_reason_is_said_once_a_minute_however_often_it_occurs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [5.0]
    monkeypatch.setattr(runner_link, "time", SimpleNamespace(monotonic=lambda: now[0]))
    refusals = Refusals()
    for _ in range(1000):
        refusals.note("a wrong key")
    refusals.note("no hello")
    begins = "a process on this host that claims to be the runner was refused"
    assert caplog.messages == [f"{begins}: a wrong key", f"{begins}: no hello"]
    now[0] += REFUSAL_SECONDS - 1
    refusals.say()
    assert len(caplog.messages) == 2
    now[0] += 1
    refusals.say()
    assert caplog.messages[2:] == [f"{begins} 999 times: a wrong key"]
    now[0] += 2 * REFUSAL_SECONDS
    refusals.say()
    assert len(caplog.messages) == 3, "there were no others"
    refusals.note("a wrong key")
    assert caplog.messages[3:] == [f"{begins}: a wrong key"]


def test_a_task_that_connects_again_and_again_does_not_fill_the_log(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.start()
    bench.connect_runner()
    for _ in range(50):
        process = bench.connect()
        process.hello()
        assert process.is_refused()
    assert len([each for each in caplog.messages if "refused" in each]) == 1


def test_while_the_runner_is_connected_nobody_without_the_key_is_heard(bench: Bench) -> None:
    listener = bench.start()
    runner, _ = bench.connect_runner()
    other = bench.connect()
    other.hello()
    assert other.is_refused()
    runner.say({"event": "synced"})
    wait_until(lambda: listener.events)
    assert listener.calls == ["connected"]


def test_a_runner_with_the_key_replaces_a_connection_that_has_not_ended(bench: Bench) -> None:
    listener = bench.start()
    old, key = bench.connect_runner()
    new, again = bench.connect_runner(key)
    assert again == key
    assert old.is_refused()
    new.say({"event": "synced"})
    wait_until(lambda: listener.events)
    assert listener.calls == ["connected", "disconnected", "connected"]


def test_after_the_start_of_a_worker_only_the_runner_that_has_the_key_is_believed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_link, "START_SECONDS", 60.0)
    bench.start()
    key = bench.files.runner_key.read_text()
    began = time.monotonic()
    listener = bench.start()
    other = bench.connect()
    other.hello()
    assert other.hears_nothing(0.2)
    runner, _ = bench.connect_runner(key)
    assert time.monotonic() < began + 60
    assert other.is_refused()
    assert listener.calls == ["connected"]
    runner.say({"event": "synced"})
    wait_until(lambda: listener.events)


def test_a_new_runner_is_believed_when_the_old_one_has_not_come_for_some_time(bench: Bench) -> None:
    bench.start()
    began = time.monotonic()
    listener = bench.start()
    bench.connect_runner()
    assert time.monotonic() >= began + 0.5, "START_SECONDS"
    assert listener.calls == ["connected"]


def test_when_a_connection_ends_its_runner_has_time_to_come_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_link, "RETURN_SECONDS", 60.0)
    listener = bench.start()
    runner, key = bench.connect_runner()
    runner.socket.close()
    wait_until(lambda: listener.calls == ["connected", "disconnected"])
    other = bench.connect()
    other.hello()
    assert other.hears_nothing(0.1)
    bench.connect_runner(key)
    assert other.is_refused()
    assert listener.calls == ["connected", "disconnected", "connected"]


def test_a_runner_that_was_replaced_is_believed_after_that_time(bench: Bench) -> None:
    listener = bench.start()
    runner, _ = bench.connect_runner()
    runner.socket.close()
    wait_until(lambda: len(listener.calls) == 2)
    began = time.monotonic()
    bench.connect_runner()
    assert time.monotonic() >= began + 0.2, "RETURN_SECONDS"


def test_one_that_says_nothing_is_closed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_link, "HELLO_SECONDS", 0.3)
    listener = bench.start()
    silent, slow = bench.connect(), bench.connect()
    slow.socket.sendall(b'{"event": "hello"')
    began = time.monotonic()
    assert silent.is_refused()
    assert slow.is_refused()
    assert time.monotonic() >= began + 0.2, "HELLO_SECONDS"
    assert listener.calls == []


def test_megabytes_without_a_newline_are_not_read(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_link, "HELLO_SECONDS", 60.0)
    listener = bench.start()
    process = bench.connect()
    sent = 0
    with suppress(BrokenPipeError, ConnectionResetError):
        while sent < 2**26:
            sent += process.socket.send(b"x" * 2**16)
    assert sent < 2**22
    assert listener.calls == []
    bench.connect_runner()


@pytest.mark.parametrize(
    "said",
    [b"nonsense\n", b"[" * 100_000 + b"\n", b"{}\n", b'{"event": "hello", "environment": 5, "image": ""}\n',
     b'{"event": "hello", "environment": {}, "image": {}}\n',
     b'{"event": "hello", "environment": {"A": 5}, "image": ""}\n', b"\xff\n", b"[]\n"],
)  # fmt: skip
def test_one_that_says_something_else_is_refused(bench: Bench, said: bytes) -> None:
    listener = bench.start()
    process = bench.connect()
    with suppress(BrokenPipeError):
        process.socket.sendall(said)
    assert process.is_refused()
    ticks = listener.ticks
    wait_until(lambda: listener.ticks > ticks + 2)
    assert listener.calls == []
    bench.connect_runner()


def test_many_connections_do_not_keep_the_runner_out(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_link, "HELLO_SECONDS", 60.0)
    bench.start()
    key = bench.files.runner_key.read_text()
    listener = bench.start()
    for number in range(3 * MOST_PENDING):
        process = bench.connect()
        if number % 2:
            process.hello()
    bench.connect_runner(key)
    assert listener.calls == ["connected"]
    assert len(bench.links[-1][0]._pending) < MOST_PENDING


def test_the_worker_ticks_whatever_happens(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    listener = bench.start()
    tick = listener.tick
    failures = [ValueError("a bug"), OSError("another one")]

    def fail() -> None:
        if failures:
            raise failures.pop()
        tick()

    monkeypatch.setattr(listener, "tick", fail)
    ticks = listener.ticks
    wait_until(lambda: listener.ticks > ticks + 2)
    assert failures == []
    bench.connect_runner()


# The real runner.


@pytest.fixture
def real(tmp_path: Path) -> Iterator[tuple[RunnerBench, Bench, list[Fork]]]:
    workers, links = RunnerBench(tmp_path), Bench(tmp_path / "data")
    runners: list[Fork] = []
    yield workers, links, runners
    links.close()
    for runner in runners:
        runner.kill()
        runner.wait()
    kill_tasks(workers.files)


Real = tuple[RunnerBench, Bench, list[Fork]]


@pytest.fixture
def busy(real: Real) -> Real:
    """With a runner that is connected, and executes."""
    workers, links, runners = real
    runners.append(start_runner(workers.files))
    links.start(workers.worker)
    wait_until(lambda: workers.worker.has_runner)
    workers.begin("sleep")
    wait_until(workers.executions)
    return real


def test_the_runner_connects_executes_and_comes_back_to_the_next_worker(real: Real) -> None:
    workers, links, runners = real
    runners.append(start_runner(workers.files))  # before there is a worker
    links.start(workers.worker)
    wait_until(lambda: workers.worker.has_runner)
    workers.run("fine")
    workers.begin("sleep")
    wait_until(lambda: "sleep" in workers.executions())
    workers.worker, workers.recorder = workers.start()
    began = time.monotonic()
    links.start(workers.worker)
    wait_until(lambda: workers.worker.has_runner)
    assert workers.beat()["running"] == [name_of("sleep")], f"after {time.monotonic() - began} s"
    workers.worker.stop()
    wait_until(lambda: workers.recorder.results)
    assert workers.recorder.states == ["stopped"]
    assert workers.executions() == ["fine", "sleep"]


def test_a_runner_that_is_killed_is_followed_by_another_one(busy: Real) -> None:
    workers, _, runners = busy
    runners[0].kill()
    runners.append(start_runner(workers.files))  # it has no key
    wait_until(lambda: workers.recorder.results)
    assert workers.recorder.states == ["lost"]
    workers.run("fine")
    assert workers.executions() == ["sleep", "fine"]


def test_a_task_that_claims_to_be_the_runner_is_refused(busy: Real) -> None:
    workers, links, _ = busy
    forged = {"event": "ended", "attempt": name_of("sleep"), "execution": {"state": "done"}}
    task = links.connect()
    task.hello()
    with suppress(BrokenPipeError):
        task.say(forged)
    assert task.is_refused()
    assert (workers.beat()["running"], workers.recorder.results) == ([name_of("sleep")], [])


def test_a_runner_whose_key_was_lost_is_replaced_as_the_heartbeat_says(busy: Real) -> None:
    workers, links, runners = busy
    links.close_links()
    workers.files.runner_key.unlink()
    workers.worker, workers.recorder = workers.start()
    links.start(workers.worker)
    wait_until(lambda: "docker restart infra-1-runner" in workers.beat()["notice"])
    assert (workers.beat()["slots"], workers.worker.has_runner) == (0, False)
    runners[0].kill()
    runners.append(start_runner(workers.files))
    wait_until(lambda: workers.worker.has_runner)
    assert (workers.beat()["slots"], workers.beat()["notice"]) == (2, "")
    assert not list(task_processes(workers.files.tasks)), "what it ran is sent again by the master"
    workers.run("fine")
    assert workers.executions() == ["sleep", "fine"]
