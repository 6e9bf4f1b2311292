"""Publisher: status, notices and results.csv, written only when there is something new."""

from __future__ import annotations

import errno
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from master_bench import Bench, Clock

from framework.master import publisher
from framework.master.advice import ON_HOSTS
from framework.messages.status import Estimate, Status, read_status


def test_the_notice_of_a_worker_without_room_stands_in_the_status(bench: Bench) -> None:
    content = {"slots": 0, "running": [], "reserved": [], "incarnation": "x", "notice": "only 5 MB are free"}
    bench.messenger.event("beat", "a", **content)
    assert bench.turn() == []
    assert bench.status().notices == ["a: only 5 MB are free"]
    bench.messenger.beat("a", slots=4)
    assert len(bench.turn()) == 4
    assert bench.status().notices == []


def count_writes(monkeypatch: pytest.MonkeyPatch, name: str = "write_results") -> list[None]:
    """An entry for each results.csv, or what else the function `name` writes, from now on."""
    writes: list[None] = []
    write = getattr(publisher, name)

    def counted(*arguments: Any, **options: Any) -> None:
        writes.append(None)
        write(*arguments, **options)

    monkeypatch.setattr(publisher, name, counted)
    return writes


def test_the_results_are_written_only_when_they_have_changed_and_not_too_often(
    bench: Bench, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.turn()
    writes = count_writes(monkeypatch)
    sent = []
    for _ in range(3):
        bench.messenger.beat("a", slots=3)
        sent += bench.turn()
    clock.now += 100
    bench.turn()
    assert writes == [], "nothing has ended"
    bench.messenger.result(*sent[0])
    bench.turn()
    assert len(writes) == 1
    bench.messenger.result(*sent[1])
    bench.turn()
    clock.now += publisher.RESULTS_SECONDS - 0.1
    bench.turn()
    assert len(writes) == 1, "they were written a moment ago"
    assert len(bench.rows()) == 1
    clock.now += 0.2
    bench.turn()
    bench.turn()
    assert len(writes) == 2
    assert len(bench.rows()) == 2


def test_the_live_page_gets_its_data_when_tasks_begin_or_end_and_the_status_in_between(
    bench: Bench, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = bench.files.published
    bench.turn()
    assert not published.exists(), "only where it is shown"
    published.mkdir()
    pages = count_writes(monkeypatch, "write_sweep")
    bench.turn()
    assert json.loads((published / "sweep.json").read_text())["under_way"] == []
    clock.now += publisher.PAGE_SECONDS + 1
    bench.messenger.beat("a", slots=2)
    sent = bench.turn()
    clock.now += publisher.PAGE_SECONDS + 1
    bench.turn()
    assert len(pages) == 2
    under_way = json.loads((published / "sweep.json").read_text())["under_way"]
    assert {each["task"] for each in under_way} == {assignment.task for _, assignment in sent}
    assert all(each["host"] == "a" and each["parameters"] for each in under_way)
    (published / "status.json").unlink()
    clock.now += publisher.PAGE_SECONDS + 1
    bench.turn()
    assert len(pages) == 2, "nothing has begun or ended"
    assert read_status(published / "status.json").running == 0
    bench.messenger.result(*sent[0])
    bench.turn()
    assert len(pages) == 2, "it was published a moment ago"
    clock.now += publisher.PAGE_SECONDS + 1
    bench.turn()
    assert len(pages) == 3
    assert len(json.loads((published / "sweep.json").read_text())["tasks"]) == 1
    status = read_status(published / "status.json")
    assert (status.metric, status.best) == ("loss", 0.5)


def test_results_of_the_page_that_take_long_are_published_less_often_than_the_status(
    bench: Bench, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = bench.files.published
    published.mkdir()
    pages: list[float] = []

    def slow(*_: object) -> None:
        pages.append(clock.now)
        clock.now += 2

    monkeypatch.setattr(publisher, "write_sweep", slow)
    statuses = set()
    for number in range(60):
        bench.master._sweep.results_version = number
        bench.turn()
        if (published / "status.json").exists():
            statuses.add(json.loads((published / "status.json").read_text())["updated"])
        clock.now += publisher.PAGE_SECONDS
    assert [later - earlier for earlier, later in pairwise(pages)] == [pytest.approx(2 + 50 * 2, abs=3)]
    assert len(statuses) > 30


def test_results_that_take_long_to_be_written_are_written_less_often(
    bench: Bench, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[float] = []

    def slow(*_: object) -> None:
        written.append(clock.now)
        clock.now += 2

    monkeypatch.setattr(publisher, "write_results", slow)
    for number in range(300):
        bench.master._sweep.results_version = number
        bench.turn()
        clock.now += 1
    assert [later - earlier for earlier, later in pairwise(written)] == [2 + 50 * 2] * (len(written) - 1)
    assert len(written) == 3


def test_the_results_of_a_finished_sweep_are_written_at_once_and_only_then_it_is_finished(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.messenger.beat("a", slots=4)
    sent = bench.turn()
    bench.messenger.result(*sent[0])
    bench.turn()
    for each in sent[1:]:
        bench.messenger.result(*each)

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(publisher, "write_results", fail)
        bench.turn()
        assert (bench.status().done, bench.status().finished) == (4, False)
        assert bench.status().notices == [
            "the master cannot write its files (No space left on device): it tries again"
        ]
        bench.turn()
        assert len(bench.status().notices) == 1
    bench.turn()
    assert (bench.status().finished, bench.status().notices) == (True, [])
    assert len(bench.rows()) == 4


def test_a_status_that_cannot_be_written_is_written_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.turn()

    def fail(*_: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(Status, "write", fail)
        bench.messenger.beat("a")
        assert len(bench.turn()) == 1
    assert bench.status().hosts == {}
    bench.turn()
    assert list(bench.status().hosts) == ["a"]


def test_refused_code_is_named_with_the_reason(bench: Bench) -> None:
    bench.master._publisher.refuse_code("v7", "parameters.yml:1:1: wrong")
    bench.turn()
    assert bench.status().refused_version == "v7"
    assert bench.status().notices == ["code v7 was pushed but not taken up: parameters.yml:1:1: wrong"]


def test_the_status_counts_every_kind_of_end_and_what_runs(bench: Bench) -> None:
    bench.messenger.beat("a", slots=2)
    (host, first), (_, second) = bench.turn()
    bench.messenger.started(host, second)
    bench.messenger.result(host, first, "failed")
    bench.ask("cancel", 3)
    bench.messenger.beat("a", slots=1, running=[f"{second.task}.1"])
    bench.turn()
    status = bench.status()
    assert (status.project, status.version, status.total) == ("p", "v1", 4)
    assert (status.failed, status.cancelled, status.running, status.done, status.waiting) == (1, 1, 1, 0, 1)
    (host_status,) = status.hosts.values()
    assert (host_status.slots, host_status.running, host_status.alive) == (1, 1, True)
    assert status.seconds_left is None, "no task is done yet"


def test_the_rest_is_estimated_from_what_is_done_also_by_the_next_master(bench: Bench, clock: Clock) -> None:
    bench.messenger.beat("a", slots=2)
    for host, assignment in bench.turn():
        bench.messenger.started(host, assignment)
        bench.messenger.result(host, assignment, seconds=60.0)
    bench.turn()
    clock.now += 10
    bench.messenger.beat("a", slots=2)
    bench.turn()
    assert bench.status().estimate == Estimate(60.0, 60.0, 60.0, known=2)
    assert bench.status().seconds_left == 60.0
    bench.master.close()
    bench.master = bench.start()
    bench.messenger.beat("a", slots=1)
    bench.turn()
    assert bench.status().seconds_left == 120.0, "one slot is left"
    bench.messenger.beat("a", slots=0)
    clock.now += 10
    bench.turn()
    assert bench.status().estimate is None, "nobody can run the rest"


def test_the_advice_about_a_paused_sweep_is_that_of_its_kind_of_run(bench: Bench, clock: Clock) -> None:
    bench.ask("pause")
    bench.turn()
    assert bench.status().paused == ("the sweep is paused: on request; to resume it: " + ON_HOSTS.resume)


def test_a_metric_that_no_task_reports_is_a_notice_until_one_does(bench: Bench, clock: Clock) -> None:
    bench.messenger.beat("a")
    ((host, assignment),) = bench.turn()
    clock.now += 10  # results are not counted more often than results.csv is written
    bench.messenger.result(host, assignment, metrics={"acc": 0.5})
    bench.messenger.beat("a")
    ((host, assignment),) = bench.turn()
    assert "no task has reported loss; reported: acc" in bench.status().notices
    clock.now += 60
    bench.messenger.result(host, assignment)
    bench.messenger.beat("a")
    bench.turn()
    assert "1 of 2 tasks that are done have not reported loss" in bench.status().notices


# How often the status is written.


def count_statuses(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> list[Status]:
    """The statuses that are written from now on, with a real distance between them."""
    written: list[Status] = []
    write = Status.write

    def note(status: Status, path: Path) -> None:
        written.append(status)
        write(status, path)

    monkeypatch.setattr(Status, "write", note)
    monkeypatch.setattr(publisher, "STATUS_SECONDS", 0.25)
    return written


def test_the_status_is_written_a_few_times_a_second(
    bench: Bench, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.write_project(x="{range: [1, 2000, 1]}")
    bench.master = bench.start()
    written = count_statuses(bench, monkeypatch)
    sent: list[Any] = []
    for _ in range(100):
        bench.messenger.beat("a", slots=2)
        for each in sent:
            bench.messenger.result(*each)
        sent = bench.turn()
        clock.now += 0.02
    assert 7 <= len(written) <= 9
    bench.turn()
    assert bench.master.status().done == 200 - len(sent), "who asks for it gets the latest one"
    clock.now += 0.25
    bench.turn()
    assert bench.status().done == 200 - len(sent)


def test_a_status_that_takes_long_to_write_is_written_less_often(
    bench: Bench, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = count_statuses(bench, monkeypatch)
    write = Status.write

    def write_slowly(status: Status, path: Path) -> None:
        write(status, path)
        clock.now += 0.05

    monkeypatch.setattr(Status, "write", write_slowly)
    for _ in range(50):
        bench.turn()
        clock.now += 0.1
    assert 4 <= len(written) <= 7, "a twentieth of the time"


def test_the_end_of_a_sweep_and_a_pause_are_written_at_once(
    bench: Bench, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.turn()
    written = count_statuses(bench, monkeypatch)
    bench.turn()
    bench.turn()
    assert len(written) <= 1
    bench.messenger.beat("a", slots=4)
    sent = bench.turn()
    bench.master._sweep.pause("for a reason")
    bench.turn()
    assert "for a reason" in bench.status().paused
    bench.master._sweep.resume()
    bench.turn()
    assert not bench.status().paused
    for each in sent[:3]:
        bench.messenger.result(*each)
    bench.turn()
    assert bench.status().done == 0
    bench.messenger.result(*sent[3])
    bench.turn()
    assert (bench.status().done, bench.status().finished) == (4, True)


def test_a_request_is_acknowledged_with_a_status_that_shows_it_whenever_it_comes(
    bench: Bench, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.turn()
    count_statuses(bench, monkeypatch)
    bench.turn()
    for number in range(3):
        bench.ask("cancel", number)
        bench.turn()
        assert list(bench.files.requests.iterdir()) == []
        assert bench.status().cancelled == number + 1


def test_a_master_that_ends_leaves_the_latest_status(
    bench: Bench, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.turn()
    written = count_statuses(bench, monkeypatch)
    bench.turn()
    bench.messenger.beat("a", slots=2)
    ((host, assignment), _) = bench.turn()
    bench.messenger.result(host, assignment)
    bench.turn()
    assert bench.status().done == 0
    bench.master.close()
    assert bench.status().done == 1
    count = len(written)
    bench.master._publisher.close()
    assert len(written) == count


def test_a_status_that_takes_long_to_be_written_is_written_less_often(
    bench: Bench, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[float] = []

    def slow(*_: object) -> None:
        clock.now += 0.1
        written.append(clock.now)

    monkeypatch.setattr(Status, "write", slow)
    for _ in range(100):
        bench.turn()
        clock.now += 0.1
    assert [later - earlier for earlier, later in pairwise(written)] == pytest.approx(
        [2.0] * (len(written) - 1), abs=0.21
    )
