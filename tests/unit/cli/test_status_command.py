"""Command `status`: one document, or a line for each change until whoever asked has gone."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from master_bench import Bench, Clock

from framework.cli import locations
from framework.cli import main as cli
from framework.cli.status_command import WrittenDocuments, _json_line, follow_in_lines
from framework.cli.status_document import Documents
from framework.errors import FrameworkError


@pytest.fixture
def running(bench: Bench, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A sweep of which one task is done, one has failed, and one runs."""
    monkeypatch.setattr(locations, "DATA", bench.files.path)
    monkeypatch.setattr(locations, "CODE", bench.path / "code")
    monkeypatch.setenv("PROJECT", "p")
    bench.messenger.beat("a", slots=3, use={"load": 1.5, "cpus": 3.0, "gpus": []})
    (_, first), (_, second), (_, third) = bench.turn()
    bench.messenger.started("a", third)
    bench.messenger.result("a", first, metrics={"loss": 0.25})
    bench.messenger.result("a", second, "failed")
    clock.now += 10
    bench.turn()
    return bench


def test_a_document_says_what_runs_what_is_best_and_what_failed(
    running: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["status", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["done"], document["failed"], document["running"], document["waiting"]) == (1, 1, 1, 1)
    assert document["best"] == {"metric": "loss", "value": 0.25, "label": "x=1", "number": 1}
    assert [(each["number"], each["label"], each["exit_code"]) for each in document["failures"]] == [
        (2, "x=2", 1)
    ]
    (task,) = [each for each in document["tasks"] if each["started"] is not None]
    assert (task["number"], task["host"], task["label"]) == (3, "a", "x=3")
    assert document["hosts"]["a"]["use"] == {"load": 1.5, "cpus": 3.0, "gpus": []}
    assert document["estimate"]["known"] == 1


def test_of_several_seeds_the_best_mean_is_named(running: Bench) -> None:
    running.write_project(x="[1]\nseeds: 2", version="v2")
    running.master = running.start()
    for _ in range(3):
        running.messenger.beat("a", slots=4)
        for host, assignment in running.turn():
            running.messenger.result(host, assignment, code="v2")
    document = Documents(running.files).make()
    assert document["best"] == {"metric": "mean loss", "value": 0.5, "label": "x=1", "number": None}


def test_a_journal_that_is_not_there_is_not_made(running: Bench) -> None:
    running.files.journal.rename(running.files.journal.with_name("moved"))
    document = Documents(running.files).make()
    assert (document["done"], document["tasks"], document["best"]) == (1, [], None)
    assert not running.files.journal.exists()


def test_an_option_of_follow_needs_it(running: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status", "--every", "3"]) == 2
    assert "--every goes with --follow" in capsys.readouterr().err


def test_an_image_from_before_the_live_view_says_what_it_lacks(
    running: Bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "framework.cli.live_view", None)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert cli.main(["status", "-f"]) == 2
    assert "needs rich, which is not installed here" in capsys.readouterr().err


class Script:
    """Documents that a test has written down; ends the command with the last one."""

    def __init__(self, *documents: dict[str, Any] | str) -> None:
        self._documents = list(documents)
        self.end = threading.Event()

    def make(self) -> dict[str, Any]:
        document = self._documents.pop(0)
        if not self._documents:
            self.end.set()
        if isinstance(document, str):
            raise FrameworkError(document)
        return document


def test_lines_are_printed_for_changes_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("framework.cli.status_command.PAUSE_SECONDS", 0)
    host = {"running": 1, "seconds_since_beat": 1.0, "use": {"load": 1.0}}
    first: dict[str, Any] = {"done": 1, "updated": 1.0, "estimate": None, "hosts": {"a": host}}
    later = {
        **first,
        "updated": 2.0,
        "hosts": {"a": host | {"seconds_since_beat": 2.0, "use": {"load": 3.0}}},
    }
    script = Script(first, later, "no master", "no master", {**later, "done": 2}, later)
    follow_in_lines(script.make, _json_line, script.end)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [first, {"error": "no master"}, {**later, "done": 2}, later]
    script = Script(first, later, later)
    follow_in_lines(script.make, _json_line, script.end, every=1e-9)
    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_it_goes_on_until_its_input_ends(running: Bench, options: list[str]) -> None:
    environment = os.environ | {"DATA": str(running.files.path), "CODE": str(running.path / "code")}
    command = [sys.executable, "-m", "framework", "status", "-f", *options]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "2/4 tasks" in line or json.loads(line)["done"] == 1
        process.stdin.close()
        assert process.wait(timeout=60) == 0


def test_a_written_document_is_said_to_be_old(tmp_path: Path) -> None:
    file = tmp_path / "document.json"
    documents = WrittenDocuments(file)
    with pytest.raises(FrameworkError, match="waiting"):
        documents.make()
    file.write_text('{"error": "no master"}')
    assert documents.make() == {"error": "no master"}
    os.utime(file, (time.time() - 60, time.time() - 60))
    assert re.match(r"no answer for [6-9]\d s", documents.make()["error"])
    file.write_text('{"hosts": {}}')
    with pytest.raises(FrameworkError, match="not understood"):
        documents.make()
