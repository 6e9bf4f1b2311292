"""Control requests: files that are read in order, and taken back if nobody answers."""

from __future__ import annotations

import pytest
from master_bench import Bench

from framework.errors import FrameworkError
from framework.messages import requests


def test_a_request_that_nobody_takes_is_taken_back(bench: Bench) -> None:
    with pytest.raises(FrameworkError, match="not answered"):
        requests.ask(bench.files.requests, requests.ControlRequest("pause"), timeout=0.2)
    assert list(bench.files.requests.iterdir()) == []
    bench.turn()
    assert not bench.status().paused


def test_files_that_are_no_requests_are_removed(bench: Bench) -> None:
    bench.files.requests.mkdir()
    for name, text in {"a.json": "{", "b.json": "[]", "c.json": '{"action": "explode", "tasks": []}'}.items():
        (bench.files.requests / name).write_text(text)
    bench.turn()
    assert list(bench.files.requests.iterdir()) == []
