"""Control requests: files that are read in order, and taken back if nobody answers."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from master_bench import Bench

from framework.errors import FrameworkError
from framework.messages import requests


def test_a_request_that_nobody_takes_is_taken_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter((0.0, 14.0, 16.0))
    monkeypatch.setattr(
        requests,
        "time",
        SimpleNamespace(monotonic=lambda: next(clock), time_ns=time.time_ns, sleep=lambda _: None),
    )
    with pytest.raises(FrameworkError, match="not answered for 15 s, the request was withdrawn"):
        requests.ask(bench.files.requests, requests.ControlRequest("pause"))
    assert list(bench.files.requests.iterdir()) == []
    bench.turn()
    assert not bench.status().paused


def test_files_that_are_no_requests_are_removed(bench: Bench) -> None:
    bench.files.requests.mkdir()
    texts = {
        "a.json": "{",
        "b.json": "[]",
        "c.json": '{"action": "explode", "tasks": []}',
        "infinite.json": '{"action": "cancel", "tasks": [[1e999, "0123456789abcdef"]]}',
        "huge.json": '{"action": "drain", "tasks": [], "seconds": 1%s}' % ("0" * 400),
    }
    for name, text in texts.items():
        (bench.files.requests / name).write_text(text)
    os.mkfifo(bench.files.requests / "pipe.json")
    (bench.files.requests / "nested.json").write_text("[" * 100_000)
    (bench.files.requests / "device.json").symlink_to("/dev/zero")
    bench.turn()
    assert list(bench.files.requests.iterdir()) == []


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "requests"


def test_requests_are_read_in_the_order_in_which_they_were_handed_in(directory: Path) -> None:
    handed_in = [
        requests.ControlRequest("cancel", ((0, "0123456789abcdef"), (7, "f" * 16))),
        requests.ControlRequest("pause"),
        requests.ControlRequest("again", which="outdated"),
        requests.ControlRequest("again", ((3, "a" * 16),)),
        requests.ControlRequest("resume"),
        requests.ControlRequest("reload"),
        requests.ControlRequest("drain", hosts=("a", "b:22"), seconds=60.0),
    ]
    files = [requests.hand_in(directory, request) for request in handed_in]
    assert requests.pending(directory) == list(zip(files, handed_in, strict=True))
    assert all(file.exists() for file in files), "they are removed by the one who executes them"


@pytest.mark.parametrize(
    "content",
    [
        "", "{", "[]", "5", "{}", '{"action": "explode", "tasks": []}', '{"action": "pause"}',
        '{"action": "again", "tasks": [], "which": "some"}', '{"action": "cancel", "tasks": [5]}',
        '{"action": "drain", "tasks": [], "hosts": 5}', '{"action": "drain", "tasks": [], "seconds": "NaN"}',
        '{"action": "drain", "tasks": [], "seconds": -1}', '{"action": "drain", "tasks": [], "seconds": [1]}',
        '{"action": "cancel", "tasks": [["x", "y"]]}', '{"action": ["pause"], "tasks": []}',
    ],
)  # fmt: skip
def test_a_file_that_is_no_request_is_removed_and_the_others_are_read(directory: Path, content: str) -> None:
    directory.mkdir()
    (directory / "0.json").write_text(content)
    file = requests.hand_in(directory, requests.ControlRequest("pause"))
    assert requests.pending(directory) == [(file, requests.ControlRequest("pause"))]
    assert list(directory.iterdir()) == [file]


def test_without_a_directory_there_are_no_requests(directory: Path) -> None:
    assert requests.pending(directory) == []


def test_asking_ends_when_the_file_of_the_request_is_gone(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[requests.ControlRequest] = []

    def act(_: float) -> None:
        for file, request in requests.pending(directory):
            seen.append(request)
            file.unlink()

    monkeypatch.setattr("time.sleep", act)
    requests.ask(directory, requests.ControlRequest("resume"))
    assert seen == [requests.ControlRequest("resume")]


def test_a_request_that_cannot_be_written_is_an_error_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FrameworkError, match="the request cannot be written"):
        requests.hand_in(tmp_path / "file", requests.ControlRequest("pause"))
