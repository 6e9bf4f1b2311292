"""Publisher of a worker, with connections that fail when told to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from framework.broker import worker_publisher
from framework.broker.worker_publisher import BrokerPublisher
from framework.messages.identity import Identity
from framework.messages.task_ids import AttemptId


@pytest.fixture
def publisher(tmp_path: Path) -> BrokerPublisher:
    identity = Identity("worker", "infra-1", "p", "host1", "broker:5671", "", tmp_path)
    return BrokerPublisher(identity, tmp_path / "spool")


def test_a_result_leaves_the_disk_only_when_the_broker_has_it(
    publisher: BrokerPublisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.deliver_result(AttemptId("a", 1), {"x": 1})
    file = tmp_path / "spool" / "a.1.json"
    on_disk: list[bool] = []

    def publish(producer: object, key: str, message: Mapping[str, Any], *, lasting: bool) -> None:
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


def test_a_damaged_file_does_not_hold_up_the_others(
    publisher: BrokerPublisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "spool" / "a.1.json"
    file.write_text("{half")
    monkeypatch.setattr(worker_publisher, "publish", lambda *_, **__: pytest.fail("published"))
    publisher._send_result(None, file)
    assert [each.name for each in (tmp_path / "spool").iterdir()] == ["a.1.damaged"]
