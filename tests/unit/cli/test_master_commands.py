"""Commands about a running sweep."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from master_bench import Bench

from framework.cli import locations
from framework.cli import main as cli
from framework.files import MasterFiles
from framework.messages.status import Status
from framework.messages.task_ids import task_id


def test_commands_wait_until_the_master_has_acted(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(locations, "DATA", bench.files.path)
    monkeypatch.setattr(locations, "CODE", bench.path / "code")
    bench.turn()
    ended = threading.Event()

    def serve() -> None:
        while not ended.wait(0.02):
            bench.turn()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert cli.main(["cancel", "2", "9"]) == 2
        assert "'9': no such task" in capsys.readouterr().err
        assert cli.main(["cancel", "2"]) == 0
        assert capsys.readouterr().out == f"task 2, {task_id(('train',), {'x': 2})}: cancelled\n"
        assert cli.main(["cancel"]) == 0
        assert bench.status().paused
        assert cli.main(["watch"]) == 1
        assert "the sweep is paused: somebody asked for it" in capsys.readouterr().err
        capsys.readouterr()
        assert cli.main(["resume"]) == 0
        assert capsys.readouterr().out == "the set goes on\n0 done, 0 failed, 1 cancelled; 3 to run\n"
        assert not bench.status().paused
        assert cli.main(["again", "2"]) == 0
        assert capsys.readouterr().out == f"task 2, {task_id(('train',), {'x': 2})}: waiting\n"
        assert cli.main(["again", "--failed"]) == 0
        assert capsys.readouterr().out == "0 done, 0 failed; 4 to run\n"
        assert cli.main(["again"]) == 2
        assert cli.main(["again", "--fresh", "2"]) == 2
        assert "say one of --failed, --outdated and --fresh" in capsys.readouterr().err
        assert cli.main(["results", "--all"]) == 0
        assert bench.files.all_results.exists()
        bench.write_project(x="[", version="v2")
        assert cli.main(["again", "--fresh"]) == 1
        assert "code v2 was pushed but not taken up" in capsys.readouterr().err
    finally:
        ended.set()
        thread.join()


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MasterFiles:
    """The files of a master, where the commands expect them; no master runs."""
    monkeypatch.setattr(locations, "DATA", tmp_path / "data")
    monkeypatch.setattr(locations, "CODE", tmp_path / "code")
    (tmp_path / "data").mkdir()
    return MasterFiles(tmp_path / "data")


def test_status_fails_without_a_master(container: MasterFiles, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status"]) == 1
    assert "has not started" in capsys.readouterr().err
    status = Status(time.time(), "digits", "v1", 36, 10, 1, 4, finished=False, seconds_left=75.0)
    status.write(container.status)
    assert cli.main(["status", "--json"]) == 0
    assert '"waiting": 21' in capsys.readouterr().out
