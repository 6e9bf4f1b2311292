"""Progress: how long it is watched, how that ends, and what is drawn meanwhile."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from framework.cli import locations
from framework.cli import main as cli
from framework.cli import progress as progress_module
from framework.cli.progress import failures, progress_display, wait_for_newest_code
from framework.errors import FrameworkError
from framework.files import MasterFiles
from framework.messages.events import Event, EventKind
from framework.messages.status import HostStatus, Status, progress

STATUS = Status(
    updated=0.0, project="digits", version="v1", total=36, done=10, failed=1, running=4, finished=False,
    seconds_left=75.0, notices=[], hosts={},
)  # fmt: skip


def written(path: Path, **changes: object) -> Path:
    status = dataclasses.replace(STATUS, **({"updated": time.time()} | changes))  # type: ignore[arg-type]
    status.write(path / "status.json")
    return path


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(locations, "DATA", tmp_path)
    monkeypatch.setattr(locations, "CODE", tmp_path)
    (tmp_path / "v1").mkdir()
    (tmp_path / "current").symlink_to("v1")
    return tmp_path


class Clock:
    """Time that passes only in sleep(), each of which does something."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, in_sleep: Callable[[], object]) -> None:
        self.now = 1000.0
        self.slept = 0
        self._in_sleep = in_sleep
        monkeypatch.setattr("time.monotonic", lambda: self.now)
        monkeypatch.setattr("time.sleep", self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += 1
        assert self.slept < 1000, "it never ends"
        self._in_sleep()


def test_watch_ends_well_only_if_every_task_succeeded(
    container: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(container, finished=True, done=36, failed=0, running=0)
    assert cli.main(["watch"]) == 0
    written(container, finished=True, done=35, failed=1, running=0)
    assert cli.main(["watch", "--columns", "80"]) == 1
    assert "1 of 36 tasks failed" in capsys.readouterr().err


def test_watch_does_not_end_well_when_tasks_were_cancelled(container: Path) -> None:
    written(container, finished=True, done=35, failed=0, running=0, cancelled=1)
    assert cli.main(["watch"]) == 1


def test_watch_waits_for_a_master_that_has_the_newest_code(
    container: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(container, finished=True, version="v0", done=36, failed=0, running=0)
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        written(container, finished=True, version="v1", done=36, failed=0, running=0)

    monkeypatch.setattr("time.sleep", sleep)
    assert cli.main(["watch"]) == 0
    assert len(pauses) == 1


def test_watch_fails_when_the_master_has_refused_the_newest_code(
    container: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notice = "code v1 was pushed but not taken up: bad"
    written(container, finished=True, version="v0", refused_version="v1", failed=0, notices=[notice])
    assert cli.main(["watch"]) == 1
    assert notice in capsys.readouterr().err


def test_watch_bears_a_master_that_restarts_and_no_longer_absence(
    container: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def come_and_go() -> None:
        match clock.slept:
            case 50:
                written(container)
            case 51:
                (container / "status.json").unlink()
            case 100:
                written(container, finished=True, done=36, failed=0)

    clock = Clock(monkeypatch, come_and_go)
    assert cli.main(["watch"]) == 0
    assert clock.slept == 100
    (container / "status.json").unlink()
    clock = Clock(monkeypatch, lambda: None)
    assert cli.main(["watch"]) == 1
    assert clock.slept == progress_module.UNREACHED_SECONDS + 1
    assert "not started" in capsys.readouterr().err


@pytest.mark.parametrize("idle", [False, True])
def test_watch_ends_when_a_stopped_sweep_is_idle(
    container: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], idle: bool
) -> None:
    stopped = {"paused": "the disk is full", "failed": 0}
    written(container, version="v0", **stopped)  # that is another sweep
    clock = Clock(monkeypatch, lambda: written(container, finished=True, done=36, failed=0))
    assert (cli.main(["watch"]), clock.slept) == (0, 1)
    hosts = {"a": HostStatus(slots=1, running=1, reserved=0, seconds_since_beat=1.0, alive=True)}
    written(container, hosts={} if idle else hosts, **stopped)
    clock = Clock(monkeypatch, lambda: written(container, **stopped))
    assert cli.main(["watch"]) == 1
    assert clock.slept == (0 if idle else 1)
    assert capsys.readouterr().err.endswith("the disk is full\n")


def test_waiting_for_the_newest_code_ends_with_it_or_in_time(
    container: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = MasterFiles(container)
    written(container, version="v0")
    clock = Clock(monkeypatch, lambda: clock.slept == 3 and written(container))
    wait_for_newest_code(files, container)
    assert clock.slept == 3
    written(container, version="v0")
    clock = Clock(monkeypatch, lambda: written(container, version="v0"))
    with pytest.raises(FrameworkError, match="has not taken up the code v1: see its log"):
        wait_for_newest_code(files, container)
    assert clock.now > 1000 + progress_module.UNREACHED_SECONDS
    written(container, version="v0", refused_version="v1", notices=["bad code"])
    with pytest.raises(FrameworkError, match=r"^bad code$"):
        wait_for_newest_code(files, container)


def test_failures_name_cancelled_tasks_too() -> None:
    assert failures(STATUS) == "1 of 36 tasks failed: see results.csv"
    some = dataclasses.replace(STATUS, cancelled=2)
    assert failures(some) == "1 of 36 tasks failed, 2 were cancelled: see results.csv"


def test_a_line_is_redrawn_now_and_then_and_at_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(monkeypatch, lambda: None)
    show = progress_display(120)
    line = progress(STATUS, 120).ljust(120)
    show(STATUS, False)
    show(STATUS, False)
    assert capsys.readouterr().err == f"\r{line}"
    clock.now += progress_module.REDRAW_SECONDS
    show(STATUS, False)
    show(STATUS, True)
    assert capsys.readouterr().err == f"\r{line}\r{line}\n"


def test_without_a_terminal_a_line_is_printed_when_it_changes_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(monkeypatch, lambda: None)
    show = progress_display(0)
    later = dataclasses.replace(STATUS, done=20)
    show(STATUS, False)
    show(later, False)
    clock.now += progress_module.LINE_SECONDS
    show(STATUS, False)
    show(later, False)
    show(later, True)
    lines = [progress(status, 100) for status in (STATUS, later, later)]
    assert capsys.readouterr().err.splitlines() == lines


def events(*numbers: int, kind: EventKind = "failed") -> Status:
    """A status with these events, each at the time of its number."""
    news = [Event(number, float(number), kind, f"event {number}") for number in numbers]
    return dataclasses.replace(STATUS, events=news)


def test_events_are_printed_once_above_the_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Clock(monkeypatch, lambda: None)
    show = progress_display(80, since=5.0)
    bar = progress(STATUS, 80).ljust(80)
    show(events(4, 5), False)
    show(events(5, 6), False)
    show(events(5, 6), False)
    assert capsys.readouterr().err == "".join(f"\r{f'event {n}':<80}\n\r{bar}" for n in (5, 6))


def test_of_many_events_of_a_kind_a_few_are_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Clock(monkeypatch, lambda: None)
    show = progress_display(0)
    show(events(*range(1, 9)), False)
    show(events(*range(1, 30)), False)
    show(events(30, 31, kind="best"), False)
    lines = [line for line in capsys.readouterr().err.splitlines() if "tasks," not in line]
    many = progress_module.EVENTS_OF_A_KIND
    assert lines == [
        *(f"event {number}" for number in range(1, many + 1)),
        "further messages of this kind are not shown: see results.csv",
        "event 31",
    ]


def test_watch_prints_what_has_happened_in_the_last_seconds(
    container: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    news = [Event(n, time.time() - age, "best", f"event {n}") for n, age in ((1, 100), (2, 20))]
    written(container, finished=True, done=36, failed=0, running=0, events=news)
    assert cli.main(["watch", "--past", "60"]) == 0
    assert capsys.readouterr().err.splitlines()[0] == "event 2"
