"""Status of a sweep: written, read, and rendered for people."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from framework.cli import locations
from framework.cli import main as cli
from framework.errors import FrameworkError
from framework.messages.events import Event
from framework.messages.host_use import GpuUse, HostUse
from framework.messages.status import (
    Estimate,
    HostStatus,
    Status,
    duration,
    expectation,
    progress,
    read_status,
    summary,
)

STATUS = Status(
    updated=0.0, project="digits", version="v1", total=36, done=10, failed=1, running=4, finished=False,
    seconds_left=75.0, notices=["the broker does not answer"],
    hosts={
        "hostA": HostStatus(
            slots=4, running=4, reserved=0, seconds_since_beat=1.5, alive=True,
            use=HostUse(3.2, 8.0, (GpuUse(50, 30_000, 40_000),)),
        )
    },
    estimate=Estimate(75.0, 60.0, 200.0, 10, "hostA", 30.0),
)  # fmt: skip


def written(path: Path, **changes: object) -> Path:
    status = dataclasses.replace(STATUS, **({"updated": time.time()} | changes))  # type: ignore[arg-type]
    status.write(path / "status.json")
    return path


def test_a_status_is_read_as_it_was_written(tmp_path: Path) -> None:
    written(tmp_path)
    status = read_status(tmp_path / "status.json")
    assert dataclasses.replace(status, updated=0.0) == STATUS
    assert status.waiting == 21


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(75.0, 60.0, 200.0, 10), "about 75 s (60 s to 3 min)"),
        (Estimate(75.0, 75.2, 74.9, 10), "about 75 s"),
        (Estimate(75.0, 75.0, 75.0, 1), "about 75 s, a guess from 1 task"),
        (
            Estimate(11_400.0, 9000.0, 12_600.0, 40, "gpu1", 2280.0),
            "about 3 h 10 min (2 h 30 min to 3 h 30 min) on these hosts; 2 more like gpu1: 38 min less",
        ),
    ],
)
def test_an_estimate_says_what_people_can_act_on(estimate: Estimate, text: str) -> None:
    assert expectation(estimate) == text
    assert (text in summary(dataclasses.replace(STATUS, estimate=estimate))) is True
    assert text not in summary(dataclasses.replace(STATUS, estimate=estimate, finished=True))


def test_an_old_status_is_no_status(tmp_path: Path) -> None:
    written(tmp_path, updated=time.time() - 100)
    with pytest.raises(FrameworkError, match=r"no status for 1\d\d s"):
        read_status(tmp_path / "status.json")
    with pytest.raises(FrameworkError, match="not started yet"):
        read_status(tmp_path / "other.json")


@pytest.mark.parametrize("damage", [os.mkfifo, lambda path: path.write_text("{"), lambda path: path.mkdir()])
def test_what_is_no_status_is_an_error_and_not_waited_for(
    tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    damage(tmp_path / "status.json")
    with pytest.raises(FrameworkError, match="it is no status"):
        read_status(tmp_path / "status.json")


@pytest.mark.parametrize("text", ["[]", "{}", '{"hosts": []}', "1e999"])
def test_json_that_is_no_status_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "status.json").write_text(text)
    with pytest.raises(FrameworkError, match="it is no status"):
        read_status(tmp_path / "status.json")


@pytest.mark.parametrize("updated", ["now", None, [], 10**400])
def test_a_status_of_no_time_is_none(tmp_path: Path, updated: Any) -> None:
    written(tmp_path, updated=updated)
    with pytest.raises(FrameworkError):
        read_status(tmp_path / "status.json")


def test_the_summary_names_every_figure_host_and_notice() -> None:
    text = summary(STATUS)
    for part in ("10 done", "4 running", "21 waiting", "1 failed", "75 s left", "hostA", "does not answer"):
        assert part in text


def test_the_summary_names_cancelled_tasks_and_quarantined_messages() -> None:
    text = summary(dataclasses.replace(STATUS, cancelled=3, quarantined=7))
    assert "18 waiting, 1 failed, 3 cancelled" in text
    assert "7 malformed or foreign messages: see quarantine.jsonl" in text
    assert "14/36 tasks" in progress(dataclasses.replace(STATUS, cancelled=3), 80)
    assert "paused" in progress(dataclasses.replace(STATUS, paused="the sweep is paused"), 80)


@pytest.mark.parametrize("columns", [1, 10, 40, 80, 300])
def test_the_progress_bar_fits(columns: int) -> None:
    assert len(progress(STATUS, columns)) <= columns
    assert "11/36" in progress(STATUS, 80)
    empty = dataclasses.replace(STATUS, total=0, done=0, failed=0, running=0)
    assert "0/0" in progress(empty, 80)


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(locations, "DATA", tmp_path)
    monkeypatch.setattr(locations, "CODE", tmp_path)
    (tmp_path / "v1").mkdir()
    (tmp_path / "current").symlink_to("v1")
    return tmp_path


def test_status_fails_without_a_master(container: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status"]) == 1
    assert "has not started" in capsys.readouterr().err
    written(container)
    assert cli.main(["status", "--json"]) == 0
    assert '"waiting": 21' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (99.4, "99 s"),
        (99.6, "1 min"),
        (5999, "99 min"),
        (6000, "1 h 40 min"),
        (190_000, "2 d 4 h"),
    ],
)
def test_a_duration_is_rounded_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_tasks_that_ended_and_tasks_that_succeeded_are_counted() -> None:
    status = dataclasses.replace(STATUS, cancelled=2, pruned=3)
    assert (status.ended, status.succeeded, status.waiting) == (10 + 1 + 2 + 3, 10 + 3, 36 - 16 - 4)


def test_a_sweep_is_idle_if_no_host_has_anything_to_do() -> None:
    def host(running: int, reserved: int) -> HostStatus:
        return HostStatus(2, running, reserved, 0.0, alive=True)

    assert not STATUS.idle
    assert dataclasses.replace(STATUS, hosts={}).idle
    assert dataclasses.replace(STATUS, hosts={"a": host(0, 0)}).idle
    assert not dataclasses.replace(STATUS, hosts={"a": host(0, 0), "b": host(0, 1)}).idle
    assert not dataclasses.replace(STATUS, hosts={"a": host(1, 0)}).idle


def test_a_finished_sweep_has_no_expected_rest() -> None:
    assert "left" in progress(STATUS, 200)
    assert "left" not in progress(dataclasses.replace(STATUS, finished=True), 200)
    assert "left" not in summary(dataclasses.replace(STATUS, seconds_left=None))


def test_the_summary_says_which_hosts_are_drained() -> None:
    hosts = {
        "a": HostStatus(2, 1, 0, 0.0, alive=True, drained=True),
        "b": HostStatus(2, 2, 0, 0.0, alive=True),
    }
    lines = summary(dataclasses.replace(STATUS, hosts=hosts)).splitlines()
    assert "a         2        1  0 s ago  (drained: it is sent nothing more)" in lines
    assert "b         2        2  0 s ago" in lines


def test_the_summary_ends_with_the_last_events(tmp_path: Path) -> None:
    news = [Event(number, 880.0, "best", f"event {number}") for number in range(1, 8)]
    status = dataclasses.replace(STATUS, updated=1000.0, events=news)
    assert summary(status).splitlines()[-5:] == [f"2 min ago: event {number}" for number in range(3, 8)]
    now = dataclasses.replace(status, updated=time.time())
    now.write(tmp_path / "status.json")
    assert json.loads((tmp_path / "status.json").read_text())["events"][0] == {
        "number": 1, "time": 880.0, "kind": "best", "text": "event 1",
    }  # fmt: skip
    assert read_status(tmp_path / "status.json") == now
