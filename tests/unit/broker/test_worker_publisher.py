"""The outbox with a producer that is told when to fail."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from framework.broker import worker_publisher as outbox_module
from framework.broker.worker_publisher import Outbox
from framework.messages.identity import Identity


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    identity = Identity("worker", "infra-1", "p", "host1", "broker:5671", "", tmp_path)
    return Outbox(identity, tmp_path / "spool")


def test_a_result_leaves_the_disk_only_when_the_broker_has_it(
    outbox: Outbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox.deliver("a.1", {"x": 1})
    file = tmp_path / "spool" / "a.1.json"
    on_disk: list[bool] = []

    def publish(producer: object, key: str, message: Mapping[str, Any], *, lasting: bool) -> None:
        on_disk.append(file.exists() and json.loads(file.read_text()) == message and lasting)
        if len(on_disk) == 1:
            raise ConnectionResetError

    monkeypatch.setattr(outbox_module, "publish", publish)
    with pytest.raises(ConnectionResetError):
        outbox._send_result(None, file)
    assert file.exists()
    outbox._send_result(None, file)
    assert on_disk == [True, True]
    assert not file.exists()


def test_a_damaged_file_does_not_hold_up_the_others(
    outbox: Outbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "spool" / "a.1.json"
    file.write_text("{half")
    monkeypatch.setattr(outbox_module, "publish", lambda *_, **__: pytest.fail("published"))
    outbox._send_result(None, file)
    assert [each.name for each in (tmp_path / "spool").iterdir()] == ["a.1.damaged"]
