"""Publisher: status, notices and results.csv, written only when there is something new."""

from __future__ import annotations

from master_bench import Bench


def test_the_notice_of_a_worker_without_room_stands_in_the_status(bench: Bench) -> None:
    content = {"slots": 0, "running": [], "reserved": [], "incarnation": "x", "notice": "only 5 MB are free"}
    bench.messenger.event("beat", "a", **content)
    assert bench.turn() == []
    assert bench.status().notices == ["a: only 5 MB are free"]
    bench.messenger.beat("a", slots=4)
    assert len(bench.turn()) == 4
    assert bench.status().notices == []
