"""Publisher of a worker, with connections that fail when told to."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import amqp
import kombu
import pytest
from kombu.exceptions import OperationalError
from master_bench import Clock
from worker_bench import record_disk_calls

from framework.broker import worker_publisher
from framework.broker.worker_publisher import BrokerPublisher
from framework.errors import FrameworkError
from framework.messages import queues
from framework.messages.identity import Identity
from framework.messages.task_ids import AttemptId
from framework.messages.worker_events import HEARTBEAT_SECONDS, MAX_PENDING_EVENTS, Heartbeat, Source, Started


def nobody() -> None:
    """Is told when a result is kept."""


@pytest.fixture
def publisher(tmp_path: Path) -> BrokerPublisher:
    identity = Identity("worker", "infra-1", "p", "host1", "broker:5671", "", tmp_path)
    return BrokerPublisher(identity, tmp_path / "spool")


def test_a_result_leaves_the_disk_only_when_the_broker_has_it(
    publisher: BrokerPublisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.deliver_result(AttemptId("a", 1), {"x": 1}, nobody)
    file = tmp_path / "spool" / "a.1.json"
    on_disk: list[bool] = []

    def publish(producer: object, key: str, message: Mapping[str, Any], *, user: str, lasting: bool) -> None:
        on_disk.append(file.exists() and json.loads(file.read_text()) == message and lasting)
        if len(on_disk) == 1:
            raise ConnectionResetError

    monkeypatch.setattr(worker_publisher, "publish", publish)
    with pytest.raises(ConnectionResetError):
        publisher._send_result(None, file)
    assert file.exists()
    publisher._send_result(None, file)
    assert on_disk == [True, True]
    assert not file.exists()


def test_a_result_that_the_disk_cannot_take_is_not_kept(
    publisher: BrokerPublisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fsync)
    with pytest.raises(OSError, match="No space"):
        publisher.deliver_result(AttemptId("a", 1), {"x": 1}, lambda: pytest.fail("kept"))
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_damaged_file_does_not_hold_up_the_others(
    publisher: BrokerPublisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "spool" / "a.1.json"
    file.write_text("{half")
    monkeypatch.setattr(worker_publisher, "publish", lambda *_, **__: pytest.fail("published"))
    publisher._send_result(None, file)
    assert [each.name for each in (tmp_path / "spool").iterdir()] == ["a.1.damaged"]


ATTEMPT = AttemptId("0123456789abcdef", 1)
SOURCE = Source("infra-1", "p", "host1")
HEARTBEAT = Heartbeat(SOURCE, "x", 2, frozenset(), frozenset())


def started(number: int) -> Started:
    return Started(SOURCE, AttemptId(ATTEMPT.task, number), 1.0)


def test_a_result_is_synced_before_it_is_offered_and_unlinked_after_the_confirmation(
    publisher: BrokerPublisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = record_disk_calls(monkeypatch)
    monkeypatch.setattr(publisher._wake, "set", lambda: calls.append("wake"))
    publisher.deliver_result(ATTEMPT, {"x": 1}, lambda: calls.append("kept"))
    name = f"{ATTEMPT}.json"
    assert calls == [f"fsync {name}", f"replace {name}", "fsync spool/", "kept", "wake"]
    calls.clear()
    monkeypatch.setattr(worker_publisher, "publish", lambda *_, **__: calls.append("confirmed"))
    publisher._send_result(None, tmp_path / "spool" / name)
    assert calls == ["confirmed", f"unlink {name}"]


class Broker:
    """Connections that fail when told to; what was published, and how long the publisher paused."""

    def __init__(self, publisher: BrokerPublisher, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = Clock()
        self.published: list[tuple[str, Mapping[str, Any], bool]] = []
        self.pauses: list[float] = []
        self.connections = 0
        self.checks = 0
        self.connect_errors: list[Exception] = []
        self.publish_errors: dict[str, list[Exception]] = {}  # by queue
        self.most_pauses = 100
        self._publisher = publisher
        monkeypatch.setattr(worker_publisher, "connect", lambda identity: self)
        monkeypatch.setattr(worker_publisher, "publish", self.publish)
        monkeypatch.setattr(worker_publisher, "time", self.clock)
        monkeypatch.setattr(kombu, "Producer", lambda *_, **__: None)
        monkeypatch.setattr(publisher._closing, "wait", self.pause)

    default_channel = None

    def __enter__(self) -> Broker:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def connect(self) -> None:
        self.connections += 1
        if self.connect_errors:
            raise self.connect_errors.pop(0)

    def heartbeat_check(self) -> None:
        self.checks += 1

    def publish(self, _: object, queue: str, message: Mapping[str, Any], *, user: str, lasting: bool) -> None:
        assert user == "worker@host1"
        if self.publish_errors.get(queue):
            raise self.publish_errors[queue].pop(0)
        self.published.append((queue, message, lasting))

    def pause(self, seconds: float) -> bool:
        self.pauses.append(seconds)
        return len(self.pauses) >= self.most_pauses

    def run(self, heartbeat: Callable[[], Heartbeat] = lambda: HEARTBEAT) -> None:
        """Run the thread's loop in this one; it ends when it is told to close."""
        self._publisher._heartbeat = heartbeat
        self._publisher.run()

    def queues(self) -> list[str]:
        return [queue for queue, _, _ in self.published]


@pytest.fixture
def broker(publisher: BrokerPublisher, monkeypatch: pytest.MonkeyPatch) -> Broker:
    return Broker(publisher, monkeypatch)


@pytest.mark.parametrize("error", [ConnectionResetError(), amqp.NotFound(), OperationalError(), ValueError()])
def test_the_pause_between_two_connections_of_a_worker_grows_up_to_a_limit(
    broker: Broker, error: Exception
) -> None:
    broker.connect_errors = [error] * 9
    broker.most_pauses = 7
    broker.run()
    assert broker.pauses == [1, 2, 4, 8, 10, 10, 10]
    assert broker.connections == 7


def test_the_pause_of_a_worker_begins_anew_after_a_connection(
    publisher: BrokerPublisher, broker: Broker
) -> None:
    broker.connect_errors = [OSError(), OSError()]
    broker.publish_errors = {queues.EVENTS: [OSError()]}
    publisher._closing.set()
    broker.run()
    assert broker.pauses == [1, 2, 1]


def test_results_are_sent_first_then_events_then_a_heartbeat(
    publisher: BrokerPublisher, broker: Broker, tmp_path: Path
) -> None:
    publisher.publish_event(started(1))
    publisher.deliver_result(AttemptId(ATTEMPT.task, 2), {"x": 2}, nobody)
    publisher.deliver_result(AttemptId(ATTEMPT.task, 1), {"x": 1}, nobody)
    assert not publisher.connected.is_set()
    publisher._closing.set()
    broker.run()
    assert broker.published == [
        (queues.RESULTS, {"x": 1}, True),
        (queues.RESULTS, {"x": 2}, True),
        (queues.EVENTS, started(1).to_message(), False),
        (queues.EVENTS, HEARTBEAT.to_message(), False),
    ]
    assert publisher.connected.is_set()
    assert list((tmp_path / "spool").iterdir()) == []
    assert broker.pauses == []


def test_what_was_not_confirmed_is_sent_again_with_the_next_connection(
    publisher: BrokerPublisher, broker: Broker, tmp_path: Path
) -> None:
    publisher.deliver_result(ATTEMPT, {"x": 1}, nobody)
    for number in (1, 2):
        publisher.publish_event(started(number))
    broker.publish_errors = {queues.RESULTS: [ConnectionResetError()], queues.EVENTS: [TimeoutError()]}
    publisher._closing.set()
    broker.run()
    assert broker.connections == 3
    results = [message for queue, message, _ in broker.published if queue == queues.RESULTS]
    assert results == [{"x": 1}]
    events = [message for queue, message, _ in broker.published if queue == queues.EVENTS]
    assert events == [started(1).to_message(), started(2).to_message(), HEARTBEAT.to_message()]


def test_the_publisher_survives_errors_that_nobody_expects(
    publisher: BrokerPublisher, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    errors: list[Exception] = [ZeroDivisionError(), FrameworkError("no code here")]

    def heartbeat() -> Heartbeat:
        if errors:
            raise errors.pop()
        return HEARTBEAT

    publisher._closing.set()
    broker.run(heartbeat)
    assert broker.connections == 3
    assert broker.queues() == [queues.EVENTS]
    assert caplog.text.count("unexpected error while sending") == 2


def test_heartbeats_are_sent_every_few_seconds_and_events_at_once(
    publisher: BrokerPublisher, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = broker.clock.now
    sent: list[tuple[float, str]] = []
    publish = broker.publish
    waits = 0

    def publish_and_note(producer: object, queue: str, message: Mapping[str, Any], **options: Any) -> None:
        publish(producer, queue, message, **options)
        sent.append((broker.clock.now - begin, message["kind"]))

    def wait(seconds: float) -> bool:
        nonlocal waits
        waits += 1
        assert 0 <= seconds <= HEARTBEAT_SECONDS
        if publisher._wake.is_set():
            return True
        if waits == 2:
            broker.clock.now += 1
            publisher.publish_event(started(1))
            seconds -= 1
        if not publisher._wake.is_set():
            broker.clock.now += seconds
        if waits == 5:
            publisher._closing.set()
        return publisher._wake.is_set()

    monkeypatch.setattr(worker_publisher, "publish", publish_and_note)
    monkeypatch.setattr(publisher._wake, "wait", wait)
    broker.run()
    assert sent == [(0, "beat"), (3, "beat"), (4, "started"), (6, "beat"), (9, "beat"), (12, "beat")]
    assert broker.checks == 5, "the connection is watched each time"


def test_what_is_handed_over_while_the_publisher_sends_is_not_overlooked(
    publisher: BrokerPublisher, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[bool] = []

    def heartbeat() -> Heartbeat:
        if not woken:
            publisher.publish_event(started(1))
            publisher.deliver_result(ATTEMPT, {"x": 1}, nobody)
        return HEARTBEAT

    def wait(_: float) -> bool:
        woken.append(publisher._wake.is_set())
        if len(woken) == 2:
            publisher._closing.set()
        return True

    monkeypatch.setattr(publisher._wake, "wait", wait)
    broker.run(heartbeat)
    assert woken == [True, False], "it is woken once for what came while it sent"
    assert broker.queues() == [queues.EVENTS, queues.RESULTS, queues.EVENTS, queues.EVENTS]


def test_a_publisher_that_is_closed_sends_what_is_left_and_a_last_heartbeat(
    publisher: BrokerPublisher, broker: Broker, tmp_path: Path
) -> None:
    publisher.begin(lambda: HEARTBEAT)
    assert publisher.connected.wait(60)
    publisher.deliver_result(ATTEMPT, {"x": 1}, nobody)
    publisher.close(60)
    assert not publisher.is_alive()
    assert list((tmp_path / "spool").iterdir()) == []
    assert broker.queues().count(queues.RESULTS) == 1
    assert broker.published[-1] == (queues.EVENTS, HEARTBEAT.to_message(), False)


def test_of_too_many_events_the_oldest_are_dropped(publisher: BrokerPublisher) -> None:
    for number in range(1, MAX_PENDING_EVENTS + 3):
        publisher.publish_event(started(number))
    assert len(publisher._events) == MAX_PENDING_EVENTS
    assert publisher._events[0] == started(3).to_message()
