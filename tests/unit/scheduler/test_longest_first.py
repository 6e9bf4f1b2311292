"""Order by expected durations: only where they can be expected, and the same each time."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import pytest
from master_bench import Bench

from framework.journal.records import TimedTask
from framework.messages.task_ids import task_id
from framework.scheduler.longest_first import LEAST_KNOWN, learn, longest_first
from framework.space.product import Space
from framework.space.values import Value

GRID = Space({"kernel": ["rbf", "poly"], "epochs": [1, 10, 100], "C": [0.1, 1.0, 10.0]})


def records(
    seconds_of: Callable[[dict[str, Value]], float], numbers: Sequence[int] = range(18), host: str = "a"
) -> list[TimedTask]:
    made = []
    for number in numbers:
        parameters = GRID.combination(number)
        task = task_id(("train",), parameters)
        made.append(TimedTask(task, host, parameters, seconds_of(parameters)))
    return made


def by_epochs(parameters: dict[str, Value]) -> float:
    return float(parameters["epochs"]) * (3 if parameters["kernel"] == "poly" else 1)  # type: ignore[arg-type]


def expected_order(space: Space, known: Sequence[TimedTask]) -> list[dict[str, Value]]:
    model = learn(known)
    assert model is not None
    order = longest_first({number: model.size(space.combination(number)) for number in range(space.count)})
    assert sorted(order) == list(range(space.count))
    return [space.combination(number) for number in order]


def test_what_takes_longest_comes_first_and_equal_ones_stay_in_order() -> None:
    order = expected_order(GRID, records(by_epochs))
    assert [by_epochs(each) for each in order] == sorted(map(by_epochs, order), reverse=True)
    assert [each["C"] for each in order[:3]] == [0.1, 1.0, 10.0]
    assert expected_order(GRID, list(reversed(records(by_epochs)))) == order, "the same whatever comes first"


def test_values_that_have_not_been_tried_are_expected_to_go_on_as_the_others() -> None:
    more = Space({"kernel": ["rbf"], "epochs": [1, 1000, 30], "C": [1.0]})
    assert [each["epochs"] for each in expected_order(more, records(by_epochs))] == [1000, 30, 1]
    other = Space({"kernel": ["new", "poly"], "epochs": [10], "C": [1.0, -5, None]})
    assert len(expected_order(other, records(by_epochs))) == 6


def test_slow_hosts_are_not_taken_for_slow_combinations() -> None:
    chance = random.Random(1)
    known = []
    for number in range(18):
        host, factor = chance.choice([("fast", 1.0), ("slow", 8.0)])
        known += records(lambda each, factor=factor: factor * by_epochs(each), [number], host)  # type: ignore[misc]
    order = expected_order(GRID, known)
    assert [each["epochs"] for each in order if each["kernel"] == "rbf"] == [100] * 3 + [10] * 3 + [1] * 3


@pytest.mark.parametrize(
    "seconds_of",
    [
        lambda _: 10.0,  # nothing to be gained
        lambda each: 10.0 + 0.1 * by_epochs(each) / 300,
        lambda each: math.exp(random.Random(str(each)).gauss(0, 1)),  # noise
    ],
    ids=["equal", "nearly equal", "noise"],
)
def test_where_durations_cannot_be_expected_there_is_no_model(
    seconds_of: Callable[[dict[str, Value]], float],
) -> None:
    assert learn(records(seconds_of)) is None


def test_noise_that_is_less_than_what_differs_is_no_hindrance() -> None:
    noisy = records(lambda each: by_epochs(each) * math.exp(random.Random(str(each)).gauss(0, 1.2)))
    assert learn(noisy) is not None


def test_few_results_teach_nothing() -> None:
    assert learn(records(by_epochs, range(LEAST_KNOWN - 1))) is None
    assert learn([]) is None


# The master.

XS = [round(10 * 1.2**step) for step in range(40)]  # durations that differ by more than is overlooked


def run_in_turn(bench: Bench, tasks: int, slots: int = 1) -> list[int]:
    """Host a runs so many tasks, one after the other; returns the places of x in XS. x is the duration."""
    ran = []
    for _ in range(tasks):
        bench.messenger.beat("a", slots=slots)
        for host, assignment in bench.turn():
            x = assignment.parameters["x"]
            assert isinstance(x, int)
            ran.append(XS.index(x))
            bench.messenger.result(host, assignment, seconds=float(x))
    return ran


def start(bench: Bench, tasks: int, more: str = "", version: str = "v1") -> None:
    bench.master.close()
    bench.write_project(x=str(XS[:tasks]), more=more, version=version)
    bench.master = bench.start()


def test_the_order_is_learned_while_the_sweep_runs_and_every_task_runs_once(bench: Bench) -> None:
    start(bench, 40)
    ran = run_in_turn(bench, 41)
    assert ran[:17] == list(range(17)), "little is known yet"
    assert ran[17:] == list(reversed(range(17, 40)))
    assert bench.status().finished
    assert bench.status().done == 40


def test_new_values_of_a_known_sweep_come_longest_first_also_for_the_next_master(bench: Bench) -> None:
    start(bench, 20)
    run_in_turn(bench, 21)
    start(bench, 30, version="v2")
    assert run_in_turn(bench, 3) == [29, 28, 27]
    bench.master.close()
    bench.master = bench.start()
    assert run_in_turn(bench, 6, slots=2)[:6] == [26, 25, 24, 23, 22, 21]


@pytest.mark.parametrize("order", ["longest_first", "given"])
def test_the_rest_is_estimated_from_what_is_left_and_not_from_what_is_done(bench: Bench, order: str) -> None:
    start(bench, 20)
    run_in_turn(bench, 21)
    start(bench, 30, f"order: {order}\n", version="v2")
    bench.messenger.beat("a", slots=1)
    bench.turn()
    estimate = bench.status().estimate
    assert estimate is not None
    assert estimate.seconds == pytest.approx(sum(XS[20:30]), rel=0.1)


def test_with_order_given_the_combinations_keep_their_order(bench: Bench) -> None:
    start(bench, 20)
    run_in_turn(bench, 21)
    start(bench, 24, "order: given\n", version="v2")
    assert run_in_turn(bench, 4) == [20, 21, 22, 23]


def test_what_is_under_way_when_the_order_changes_ends_once(bench: Bench) -> None:
    start(bench, 30)
    bench.messenger.beat("b", slots=1)
    ((host, slow),) = bench.turn()
    bench.messenger.started(host, slow)
    ran = run_in_turn(bench, 20)
    assert bench.status().running == 1, "it is known as before"
    assert ran[-1] > 20, "the order has changed"
    bench.messenger.result(host, slow, seconds=10.0)
    ran += run_in_turn(bench, 20)
    assert sorted(ran) == list(range(1, 30))
    assert bench.status().finished
    assert bench.status().done == 30
