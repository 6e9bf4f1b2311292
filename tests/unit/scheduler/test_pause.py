"""Pause of a sweep: its reason outlives the master."""

from __future__ import annotations

from pathlib import Path

import pytest
from master_bench import Bench

from framework.scheduler.pause import Pause


def test_a_pause_lasts_in_its_file_until_it_is_ended(tmp_path: Path) -> None:
    file = tmp_path / "stopped"
    pause = Pause(file)
    assert pause.reason == ""
    pause.begin("too many failures")
    assert (pause.reason, Pause(file).reason) == ("too many failures", "too many failures")
    pause.begin("on request")
    assert Pause(file).reason == "on request"
    pause.end()
    assert (pause.reason, Pause(file).reason, file.exists()) == ("", "", False)
    pause.end()


def test_an_empty_file_is_a_pause(tmp_path: Path) -> None:
    (tmp_path / "stopped").touch()
    assert Pause(tmp_path / "stopped").reason == "no reason was given"


def test_a_pause_that_cannot_be_written_has_not_begun(tmp_path: Path) -> None:
    pause = Pause(tmp_path / "missing" / "stopped")
    with pytest.raises(OSError, match="No such file"):
        pause.begin("why")
    assert pause.reason == ""


def test_a_pause_that_cannot_be_ended_lasts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pause = Pause(tmp_path / "stopped")
    pause.begin("why")

    def fail(*_: object, **__: object) -> None:
        raise OSError("read-only")

    monkeypatch.setattr(Path, "unlink", fail)
    with pytest.raises(OSError, match="read-only"):
        pause.end()
    assert pause.reason == "why"


def test_a_restarted_master_keeps_the_pause_and_its_reason(bench: Bench) -> None:
    bench.ask("pause")
    bench.turn()
    reason = bench.status().paused
    assert "on request" in reason
    for _ in range(2):
        bench.master = bench.start()
        bench.messenger.beat("a", slots=4)
        assert bench.turn() == []
        assert bench.status().paused == reason
    bench.ask("resume")
    assert len(bench.turn()) == 4
    bench.master = bench.start()
    bench.turn()
    assert bench.status().paused == ""
