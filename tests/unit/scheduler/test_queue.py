"""Queue of an indexed sweep: enumerated once, in order, and every end counted once."""

from __future__ import annotations

from master_bench import Bench


def test_the_same_sweep_again_runs_nothing_and_a_new_value_only_the_new_tasks(bench: Bench) -> None:
    assert bench.run_to_the_end() == [1, 2, 3, 4]
    bench.master = bench.start()
    assert bench.run_to_the_end() == []
    bench.write_project(x="[0, 1, 5, 2, 3, 4]", version="v2")
    bench.master = bench.start()
    assert bench.run_to_the_end() == [0, 5]
    assert bench.status().outdated == 0, "no file but the sets' own has changed"
    bench.write_project(x="[5, 1]", version="v3")
    bench.master = bench.start()
    assert bench.run_to_the_end() == []
    assert [row["x"] for row in bench.rows()] == ["5", "1"]


def test_tasks_that_have_ended_are_counted_before_the_search_meets_them(bench: Bench) -> None:
    assert bench.run_to_the_end({3: "failed"}) == [1, 2, 3, 4]
    bench.write_project(x="[20, 21, 22, 23, 1, 2, 3, 4, 5, 10]")
    bench.master = bench.start()
    bench.messenger.beat("a", slots=1)
    ((host, assignment),) = bench.turn()
    assert assignment.parameters == {"x": 20}
    status = bench.status()
    assert (status.done, status.failed, status.waiting) == (3, 1, 6)
    bench.ask("cancel", 9)
    bench.turn()
    assert bench.status().cancelled == 1
    bench.messenger.result(host, assignment)
    assert bench.run_to_the_end() == [21, 22, 23, 5]


def test_a_task_that_ends_before_the_search_has_met_it_is_counted_once(bench: Bench) -> None:
    bench.messenger.beat("a", slots=4)
    sent = bench.turn()
    bench.write_project(x="[7, 8, 4, 3, 2, 1]")
    bench.master = bench.start()
    bench.turn()
    for host, assignment in sent:
        bench.messenger.result(host, assignment)
    bench.turn()
    assert (bench.status().done, bench.status().waiting) == (4, 2)
    assert bench.run_to_the_end() == [7, 8]
