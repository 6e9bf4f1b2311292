"""Transport of a local run: messages of the worker to the master, assignments, and the runner's events."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from framework.errors import FrameworkError
from framework.local import transport as transport_module
from framework.local.transport import KEY, LocalMessage, LocalPublisher, LocalTransport
from framework.messages import queues
from framework.messages.assignment import Assignment
from framework.messages.task_ids import AttemptId
from framework.messages.worker_events import HEARTBEAT_SECONDS, MAX_PENDING_EVENTS, Heartbeat, Source, Started
from framework.worker.connection import RunnerConnection

SOURCE = Source("infra-1", "p", "local")
HEARTBEAT = Heartbeat(SOURCE, "x", 2, frozenset(), frozenset())
HELLO = {"event": "hello"}
TASK = "0123456789abcdef"


def assignment(number: int) -> Assignment:
    return Assignment("infra-1", "p", TASK, number, {"x": 1})


class Worker:
    """Stands for a worker: an attempt that was begun ends when the runner says so."""

    def __init__(self, publisher: LocalPublisher) -> None:
        self.calls: list[str] = []
        self.held: set[int] = set()
        self.kept: list[int] = []
        self.has_runner = False
        self.ticks = 0
        self._publisher = publisher

    def on_connected(self, runner: RunnerConnection, hello: Mapping[str, Any]) -> None:
        assert hello == HELLO
        self.calls.append("connected")

    def on_disconnected(self) -> None:
        self.calls.append("disconnected")
        self.has_runner = False

    def on_event(self, event: Mapping[str, Any]) -> None:
        if event["event"] == "synced":
            self.has_runner = True
        elif event["event"] == "started":
            self._publisher.publish_event(Started(SOURCE, AttemptId(TASK, event["attempt"]), 1.0))
        else:
            number = event["attempt"]
            self.held.discard(number)
            self._publisher.deliver_result(
                AttemptId(TASK, number), {"x": number}, lambda: self.kept.append(number)
            )

    def begin(self, message: Assignment) -> None:
        self.held.add(message.attempt)

    def stop_attempts(self, attempts: Sequence[AttemptId]) -> None:
        self.calls.append(f"stop {' '.join(str(attempt.number) for attempt in attempts)}")

    def hand_back(self, attempts: Sequence[AttemptId]) -> None:
        self.calls.append(f"hand back {' '.join(str(attempt.number) for attempt in attempts)}")

    def stop(self) -> None:
        self.calls.append("stop all")

    def tick(self) -> None:
        self.ticks += 1

    @property
    def is_idle(self) -> bool:
        return not self.held

    def heartbeat(self) -> Heartbeat:
        return HEARTBEAT


class Runner:
    """Stands for the runner's process: the test says what it reports."""

    def __init__(self) -> None:
        self.starts = 0
        self.closed = 0
        self.most_starts = 10
        self.connection: RunnerConnection
        self._theirs: socket.socket | None = None

    def start(self) -> Mapping[str, Any]:
        if self.starts == self.most_starts:
            raise FrameworkError("killed too often")
        self.starts += 1
        self.end()
        ours, self._theirs = socket.socketpair()
        self.connection = RunnerConnection(ours)
        self.says(event="synced")
        return HELLO

    def says(self, **event: Any) -> None:
        assert self._theirs
        self._theirs.sendall(json.dumps(event).encode() + b"\n")

    def told(self) -> bytes:
        assert self._theirs
        return self._theirs.recv(1000)

    def die(self) -> None:
        assert self._theirs
        self._theirs.close()

    def end(self) -> None:
        if self._theirs:
            self._theirs.close()
            self.connection.close()

    def close(self) -> None:
        self.closed += 1
        self.end()


@pytest.fixture
def publisher() -> LocalPublisher:
    return LocalPublisher()


@pytest.fixture
def worker(publisher: LocalPublisher) -> Worker:
    return Worker(publisher)


@pytest.fixture
def runner() -> Iterator[Runner]:
    runner = Runner()
    yield runner
    runner.end()


@pytest.fixture
def transport(worker: Any, publisher: LocalPublisher, runner: Any) -> LocalTransport:
    transport = LocalTransport(worker, publisher, runner)
    transport.connect()
    return transport


def contents(messages: Sequence[LocalMessage]) -> list[tuple[str, Any]]:
    return [(message.delivery_info["routing_key"], json.loads(message.body)) for message in messages]


BEAT = (queues.EVENTS, HEARTBEAT.to_message())


def test_all_messages_are_taken_once_and_what_was_reported_comes_first(publisher: LocalPublisher) -> None:
    event = Started(SOURCE, AttemptId(TASK, 1), 1.0)
    kept: list[int] = []
    publisher.deliver_result(event.attempt, {"x": 1}, lambda: kept.append(1))
    publisher.publish_event(event)
    publisher.deliver_result(event.attempt, {"x": 2}, lambda: kept.append(2))
    assert publisher.has_results
    taken = publisher.take()
    assert contents(taken) == [
        (queues.EVENTS, event.to_message()), (queues.RESULTS, {"x": 1}), (queues.RESULTS, {"x": 2}),
    ]  # fmt: skip
    assert (publisher.has_results, publisher.take()) == (False, [])
    taken[0].ack()
    assert kept == [], "it is kept when the journal has it, and not before"
    taken[2].ack()
    assert kept == [2]


def test_events_that_nobody_takes_do_not_fill_the_memory(publisher: LocalPublisher) -> None:
    for number in range(1, MAX_PENDING_EVENTS + 11):
        publisher.publish_event(Started(SOURCE, AttemptId(TASK, number), 1.0))
    taken = [content["attempt"] for _, content in contents(publisher.take())]
    assert taken == list(range(11, MAX_PENDING_EVENTS + 11)), "the newest ones count"
    assert publisher.take() == []


def test_the_runner_has_named_what_it_holds_before_the_run_begins(
    worker: Worker, transport: LocalTransport, runner: Runner
) -> None:
    assert (worker.calls, worker.has_runner) == (["connected"], True)
    assert json.loads(runner.told()) == {"do": "welcome", "key": KEY}


def test_heartbeats_come_every_few_seconds(
    transport: LocalTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(transport_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    assert contents(transport.receive(60)) == [BEAT]
    assert transport.receive(0) == []
    now[0] += HEARTBEAT_SECONDS - 0.1
    assert transport.receive(0) == []
    now[0] += 0.2
    assert contents(transport.receive(60)) == [BEAT]
    transport.stop_all()
    assert transport.stopping
    assert contents(transport.receive(60)) == [BEAT], "the master sees at once that there are no slots"


def test_the_worker_ticks_every_second(
    transport: LocalTransport, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(transport_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    for seconds in (0.0, 0.5, 0.6, 0.1, 0.8, 0.2):
        now[0] += seconds
        transport.receive(0)
    assert worker.ticks == 3


def test_a_result_wakes_the_master_and_other_events_do_not(
    transport: LocalTransport, worker: Worker, runner: Runner
) -> None:
    assert contents(transport.receive(0)) == [BEAT]
    transport.send("local", assignment(1))
    runner.says(event="started", attempt=1)
    began = time.monotonic()
    assert [queue for queue, _ in contents(transport.receive(0.3))] == [queues.EVENTS]
    assert time.monotonic() - began >= 0.3
    runner.says(event="ended", attempt=1)
    (result,) = transport.receive(60)
    assert contents([result]) == [(queues.RESULTS, {"x": 1})]
    assert worker.kept == []
    result.ack()
    assert worker.kept == [1]


def test_the_master_is_not_kept_waiting_longer_than_it_wants(transport: LocalTransport) -> None:
    transport.receive(0)
    began = time.monotonic()
    assert transport.receive(0.2) == []
    assert time.monotonic() - began >= 0.2


def test_a_transport_is_idle_when_everything_that_was_sent_has_ended_and_was_taken(
    transport: LocalTransport, runner: Runner
) -> None:
    assert transport.is_idle()
    transport.send("local", assignment(1))
    assert (transport.is_idle(), transport.waiting_for("local")) == (False, 0)
    runner.says(event="ended", attempt=1)
    transport._take_events(60)
    assert not transport.is_idle(), "the master has not taken the result"
    transport.receive(0)
    assert transport.is_idle()


def test_orders_to_stop_reach_the_worker_and_a_purge_has_nothing_to_do(
    transport: LocalTransport, worker: Worker
) -> None:
    transport.stop("local", [assignment(1).id, assignment(2).id])
    transport.hand_back("local", [assignment(3).id])
    assert worker.calls[1:] == ["stop 1 2", "hand back 3"]
    assert transport.purge("hostA") == 0


def test_a_closed_transport_has_stopped_all_attempts_and_ended_the_runner(
    transport: LocalTransport, worker: Worker, runner: Runner
) -> None:
    transport.send("local", assignment(1))
    transport.send("local", assignment(2))
    runner.says(event="ended", attempt=1)
    runner.says(event="ended", attempt=2)
    transport.close()
    assert worker.calls[1:] == ["stop all"]
    assert (worker.is_idle, runner.closed) == (True, 1)


def test_a_runner_that_was_killed_is_replaced(
    transport: LocalTransport, worker: Worker, runner: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    runner.die()
    transport.receive(0)
    transport.receive(0)
    assert (worker.calls, worker.has_runner) == (["connected", "disconnected", "connected"], True)
    assert runner.starts == 2
    assert caplog.messages == ["the runner of this run was killed; another one is started"]


@pytest.mark.parametrize("has_ended_by_itself", [False, True])
def test_a_transport_closes_also_without_a_runner(
    transport: LocalTransport,
    runner: Runner,
    has_ended_by_itself: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transport_module, "GRACE_SECONDS", 50.0)
    transport.send("local", assignment(1))
    runner.most_starts = 1
    runner.die()
    if not has_ended_by_itself:
        with pytest.raises(FrameworkError, match="killed too often"):
            transport.receive(0)
    began = time.monotonic()
    transport.close()
    assert time.monotonic() - began < 50, "there is nothing to wait for"
    assert (runner.starts, runner.closed) == (1, 1), "no other one is started"


def test_an_attempt_that_will_not_end_is_not_waited_for_for_ever(
    transport: LocalTransport, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport_module, "GRACE_SECONDS", 0.1)
    transport.send("local", assignment(1))
    transport.close()
    assert runner.closed == 1
