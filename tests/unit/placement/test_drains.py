"""Drains: hosts that are sent nothing more, until nobody asks for it any more."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path

import pytest
from master_bench import Bench, Clock

from framework.files import write_atomically
from framework.placement import drains
from framework.placement.drains import LONGEST_SECONDS, Drains


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "drains.json"


def test_a_drain_lasts_until_its_time_is_over_or_it_is_ended(file: Path) -> None:
    drains = Drains(file, 100)
    assert not drains.is_drained("a", 100)
    assert drains.renew(["a", "b"], 60, 100) == ["a", "b"]
    assert drains.is_drained("a", 159)
    assert not drains.is_drained("a", 160)
    assert drains.renew(["a"], 60, 150) == [], "it was drained before"
    assert [drains.is_drained(host, 170) for host in "abc"] == [True, False, False]
    assert drains.renew(["a"], 0, 170) == []
    assert not drains.is_drained("a", 170)
    assert drains.renew(["a"], 1e9, 200) == ["a"]
    assert not drains.is_drained("a", 200 + LONGEST_SECONDS)


def test_a_drain_outlives_the_process_and_the_clock(file: Path) -> None:
    Drains(file, 100).renew(["a"], 60, 100)
    again = Drains(file, 5)
    assert again.is_drained("a", 5 + 50)
    assert not again.is_drained("a", 5 + 60)
    write_atomically(file, json.dumps({"a": time.time() + 1e9, "b": time.time() - 1}))
    again = Drains(file, 5)
    assert [again.is_drained(host, 10) for host in "ab"] == [True, False]
    assert not again.is_drained("a", 5 + LONGEST_SECONDS), "the clock was set back"


@pytest.mark.parametrize("content", ["", "[]", '{"a": "x"}', '{"a": null}', '{"a": NaN}', "[" * 100_000])
def test_a_file_that_says_nothing_is_ignored(
    file: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_text(content)
    with caplog.at_level(logging.WARNING):
        assert not Drains(file, 0).is_drained("a", 0)
    assert "NaN" in content or "drains.json is ignored: " in caplog.text


def test_a_drain_that_cannot_be_kept_has_not_begun(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Drains(file, 0)

    def fail(*_: object, **__: object) -> None:
        raise OSError("read-only")

    monkeypatch.setattr(drains, "write_atomically", fail)
    with pytest.raises(OSError, match="read-only"):
        kept.renew(["a"], 60, 0)
    assert not kept.is_drained("a", 1)


def test_a_drained_host_hands_back_what_waits_and_the_others_go_on(bench: Bench, clock: Clock) -> None:
    bench.write_project(x="{range: [1, 9, 1]}")
    bench.master = bench.start()
    bench.messenger.beat("a", slots=2)
    bench.messenger.beat("b", slots=1)
    sent = [assignment for host, assignment in bench.turn() if host == "a"]
    runs, waits = sent
    bench.messenger.started("a", runs)
    bench.turn()
    bench.drain("a")
    bench.turn()
    assert bench.messenger.handed_back == [("a", f"{waits.task}.1")]
    assert list(bench.files.requests.iterdir()) == []
    status = bench.status().hosts["a"]
    assert (status.drained, status.running, status.reserved) == (True, 1, 1)
    bench.messenger.beat("a", slots=2, running=[f"{runs.task}.1"], reserved=[f"{waits.task}.1"])
    bench.turn()
    assert len(bench.messenger.handed_back) == 2, "told again as long as heartbeats name it"
    bench.messenger.result("a", waits, "stopped")
    bench.messenger.beat("a", slots=2, running=[f"{runs.task}.1"])
    bench.messenger.beat("b", slots=2)
    assert {host for host, _ in bench.turn()} == {"b"}
    assert bench.messenger.stopped == [], "what runs goes on"
    bench.messenger.result("a", runs)
    assert bench.turn() == []
    status = bench.status().hosts["a"]
    assert (status.drained, status.running, status.reserved) == (True, 0, 0)

    bench.master = bench.start()  # it is drained still
    clock.now += 1
    bench.messenger.beat("a", slots=2)
    assert bench.turn() == []
    bench.drain("a", seconds=0)
    assert {host for host, _ in bench.turn()} == {"a"}
    assert not bench.status().hosts["a"].drained


def test_a_drain_that_nobody_repeats_ends_by_itself(
    bench: Bench, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    bench.messenger.beat("a")
    bench.drain("a", "other")
    with caplog.at_level(logging.INFO):
        assert bench.turn() == []
        bench.drain("a", "other")
        assert bench.turn() == []
    assert caplog.text.count("worker host a is drained: it is sent nothing more") == 1
    assert "request: drain" not in caplog.text
    clock.now += 59
    bench.messenger.beat("a")
    assert bench.turn() == []
    clock.now += 1
    bench.messenger.beat("a")
    assert [host for host, _ in bench.turn()] == ["a"]
