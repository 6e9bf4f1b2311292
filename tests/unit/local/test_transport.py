"""Transport of a local run: messages of the worker to the master, and assignments to its threads."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from framework.local import transport as transport_module
from framework.local.transport import LocalMessage, LocalPublisher, LocalTransport
from framework.messages import queues
from framework.messages.assignment import Assignment
from framework.messages.task_ids import AttemptId
from framework.messages.worker_events import HEARTBEAT_SECONDS, Heartbeat, Source, Started
from framework.worker.worker import AttemptFailed

SOURCE = Source("infra-1", "p", "local")
HEARTBEAT = Heartbeat(SOURCE, "x", 2, frozenset(), frozenset())


def assignment(number: int) -> Assignment:
    return Assignment("infra-1", "p", "0123456789abcdef", number, {"x": 1})


class Worker:
    """Stands for a worker: an attempt runs until the test lets it end."""

    concurrency = 2

    def __init__(self) -> None:
        self.began: list[int] = []
        self.calls: list[str] = []
        self.ends: dict[int, Exception | None] = {}  # by attempt
        self.changed = threading.Condition()

    def run(self, message: Any) -> None:
        number = message["attempt"]
        with self.changed:
            self.began.append(number)
            self.changed.notify_all()
            assert self.changed.wait_for(lambda: number in self.ends, 60)
        error = self.ends[number]
        if error:
            raise error

    def end(self, number: int, error: Exception | None = None) -> None:
        with self.changed:
            self.ends[number] = error
            self.changed.notify_all()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, 20)

    def wait_for_release(self, *numbers: int) -> None:
        expected = {f"release {number}" for number in numbers}
        self.wait_for(lambda: expected <= set(self.calls))

    def reserve(self, attempt: AttemptId) -> None:
        self.calls.append(f"reserve {attempt.number}")

    def release(self, attempt: AttemptId) -> None:
        with self.changed:
            self.calls.append(f"release {attempt.number}")
            self.changed.notify_all()

    def stop_attempts(self, attempts: Sequence[AttemptId]) -> None:
        self.calls.append(f"stop {' '.join(str(attempt.number) for attempt in attempts)}")

    def stop(self) -> None:
        self.calls.append("stop all")
        for number in range(10):
            self.end(number, AttemptFailed("stopped"))

    def heartbeat(self) -> Heartbeat:
        return HEARTBEAT


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.fixture
def publisher() -> LocalPublisher:
    return LocalPublisher()


@pytest.fixture
def transport(worker: Any, publisher: LocalPublisher) -> Iterator[LocalTransport]:
    transport = LocalTransport(worker, publisher)
    yield transport
    transport.close()


def contents(messages: Sequence[LocalMessage]) -> list[tuple[str, Any]]:
    return [(message.delivery_info["routing_key"], json.loads(message.body)) for message in messages]


def test_all_messages_are_taken_once(publisher: LocalPublisher) -> None:
    event = Started(SOURCE, AttemptId("0123456789abcdef", 1), 1.0)
    publisher.publish_event(event)
    publisher.deliver_result(event.attempt, {"x": 1})
    publisher.deliver_result(event.attempt, {"x": 2})
    taken = publisher.take(60)
    assert sorted(map(str, contents(taken))) == sorted(
        map(
            str, [(queues.RESULTS, {"x": 1}), (queues.RESULTS, {"x": 2}), (queues.EVENTS, event.to_message())]
        )
    )
    taken[0].ack()
    assert publisher.take(0) == []


def test_a_result_or_a_signal_wakes_the_master(publisher: LocalPublisher) -> None:
    taken: list[list[LocalMessage]] = []
    thread = threading.Thread(target=lambda: taken.append(publisher.take(60)))
    thread.start()
    publisher.deliver_result(AttemptId("0123456789abcdef", 1), {"x": 1})
    thread.join(30)
    assert contents(taken[0]) == [(queues.RESULTS, {"x": 1})]
    publisher.wake()
    assert publisher.take(60) == [], "it waits no longer, although there is no message"


def test_an_event_waits_for_the_next_turn(publisher: LocalPublisher) -> None:
    publisher.publish_event(HEARTBEAT)
    assert contents(publisher.take(0)) == [(queues.EVENTS, HEARTBEAT.to_message())]


def test_heartbeats_come_every_few_seconds(
    transport: LocalTransport, publisher: LocalPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(transport_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    beat = [(queues.EVENTS, HEARTBEAT.to_message())]
    assert contents(transport.receive(60)) == beat
    assert transport.receive(0) == []
    now[0] += HEARTBEAT_SECONDS - 0.1
    assert transport.receive(0) == []
    now[0] += 0.2
    assert contents(transport.receive(60)) == beat
    transport.stop_all()
    assert transport.stopping
    assert contents(transport.receive(60)) == beat, "the master sees at once that there are no slots"


def test_as_many_attempts_run_as_there_are_slots_and_the_others_wait(
    transport: LocalTransport, worker: Worker
) -> None:
    for number in (1, 2, 3):
        transport.send("local", assignment(number))
    worker.wait_for(lambda: len(worker.began) == 2)
    assert sorted(worker.began) == [1, 2]
    assert (transport.waiting_for("local"), transport.is_idle()) == (1, False)
    assert worker.calls == ["reserve 1", "reserve 2", "reserve 3"]
    worker.end(1)
    worker.wait_for(lambda: len(worker.began) == 3)
    assert transport.waiting_for("local") == 0
    worker.end(2)
    worker.end(3)
    worker.wait_for_release(1, 2, 3)


@pytest.mark.parametrize("error", [AttemptFailed("exit code 1"), OSError("disk full"), ValueError("bug")])
def test_a_thread_survives_whatever_an_attempt_raises(
    transport: LocalTransport, worker: Worker, error: Exception
) -> None:
    for numbers, outcome in (((1, 2), error), ((3, 4), None)):
        for number in numbers:
            transport.send("local", assignment(number))
            worker.end(number, outcome)
        worker.wait_for_release(*numbers)
    assert sorted(worker.began) == [1, 2, 3, 4]


def test_a_transport_is_idle_when_everything_that_was_sent_has_been_run(
    worker: Worker, publisher: LocalPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "concurrency", 0)  # the test runs what a thread would
    runner: Any = worker
    transport = LocalTransport(runner, publisher)
    assert transport.is_idle()
    transport.send("local", assignment(1))
    assert (transport.is_idle(), transport.waiting_for("local")) == (False, 1)
    worker.end(1)
    transport._assignments.put(None)  # ends the thread, and is no attempt that has to be run
    transport._assignments.unfinished_tasks -= 1
    transport._work()
    assert worker.calls == ["reserve 1", "release 1"]
    assert (transport.is_idle(), transport.waiting_for("local")) == (True, 0)


def test_orders_to_stop_reach_the_worker_and_a_purge_has_nothing_to_do(
    transport: LocalTransport, worker: Worker
) -> None:
    transport.stop("local", [assignment(1).id, assignment(2).id])
    assert worker.calls == ["stop 1 2"]
    assert transport.purge("hostA") == 0


def test_a_closed_transport_has_stopped_all_attempts_and_ended_its_threads(
    transport: LocalTransport, worker: Worker
) -> None:
    for number in (1, 2, 3):
        transport.send("local", assignment(number))
    worker.wait_for(lambda: len(worker.began) == 2)
    transport.close()
    assert "stop all" in worker.calls
    assert not any(thread.is_alive() for thread in transport._threads)
    assert sorted(worker.began) == [1, 2, 3], "the stopped worker reports what waited"
    assert {"release 1", "release 2", "release 3"} <= set(worker.calls)
