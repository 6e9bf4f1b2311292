"""How much sooner a sweep ends with the longest tasks first, and how good the estimates of its rest are.

    PYTHONPATH=. python3 tests/benchmarks/order.py

Sweeps are played through: durations are a product of an effect of each metaparameter and noise, on hosts of
different speeds, handed out as the master does it: to whoever is free. `learned`: in the order that
framework.scheduler.longest_first makes of the results of half of the combinations, or of those until now.
Medians over thirty sweeps; about half a minute.
"""

from __future__ import annotations

import heapq
import math
import random
import statistics
from collections.abc import Callable, Mapping, Sequence

from framework.journal.records import TimedTask
from framework.messages.task_ids import task_id
from framework.scheduler.estimate import Durations, RunningTask, estimate
from framework.scheduler.longest_first import learn, longest_first
from framework.space.product import Space
from framework.space.values import Value

SWEEPS = range(30)
AXES = {"epochs": [1, 3, 10, 30], "width": [64, 128, 256, 512], "C": [0.1, 1, 10], "fold": [0, 1]}
COUNT = math.prod(map(len, AXES.values()))
HOSTS = {"fast": (4, 1.0), "middle": (4, 1.5), "slow": (2, 3.0)}  # slots, and how long a task takes there
NOISES = (0.0, 0.2, 0.5)

Order = Callable[[list[TimedTask]], Sequence[int]]  # of the numbers, from what is done


def main() -> None:
    print("end of a sweep, given order = 1.00     given         before     meanwhile      shortest")
    for noise in NOISES:
        rows = [_ends(seed, noise) for seed in SWEEPS]
        medians = [statistics.median(row[each] / row[0] for row in rows) for each in range(4)]
        print(f"noise {noise:.1f}: {'':22}" + "".join(f"{ratio:14.2f}" for ratio in medians))
    print(
        "\nestimate / truth (quartiles), and how often the truth is in the range; the same with learned sizes"
    )
    for noise in NOISES:
        for part in (0.1, 0.5, 0.9):
            line = f"noise {noise:.1f}, {part:.0%} done:"
            for is_learned in (False, True):
                found = [_estimate(seed, noise, part, is_learned) for seed in SWEEPS]
                low, middle, high = statistics.quantiles([ratio for ratio, _ in found], n=4)
                inside = statistics.fmean(is_inside for _, is_inside in found)
                line += f"  {middle:.2f} ({low:.2f} to {high:.2f}), in range {inside:.0%}"
            print(line)


def _grid(seed: int) -> Space:
    """The combinations; which axis varies slowest differs."""
    return Space({name: AXES[name] for name in random.Random(seed).sample(list(AXES), len(AXES))})


def _seconds(seed: int, noise: float) -> list[float]:
    chance, grid = random.Random(seed), _grid(seed)
    return [
        each["epochs"] * each["width"] ** 0.7 * chance.lognormvariate(0, noise)  # type: ignore[operator]
        for each in map(grid.combination, range(grid.count))
    ]


def _record(grid: Space, number: int, seconds: float, host: str) -> TimedTask:
    parameters: Mapping[str, Value] = grid.combination(number)
    task = task_id(("train",), parameters)
    return TimedTask(task, host, parameters, seconds)


def play(
    grid: Space, seconds: Sequence[float], order: Order, learn_again: bool = False
) -> list[tuple[float, TimedTask]]:
    """The ends of all tasks, the first one first."""
    slots = [
        (0.0, number, host) for number, host in enumerate(h for h, (n, _) in HOSTS.items() for _ in range(n))
    ]
    ended: list[tuple[float, TimedTask]] = []
    left, due = list(order([])), 16
    while left:
        at, slot, host = heapq.heappop(slots)
        if learn_again and sum(end <= at for end, _ in ended) >= due:
            known = [record for end, record in ended if end <= at]
            due = 2 * len(known)
            place = {number: index for index, number in enumerate(order(known))}
            left.sort(key=place.__getitem__)
        number = left.pop(0)
        took = seconds[number] * HOSTS[host][1]
        ended.append((at + took, _record(grid, number, took, host)))
        heapq.heappush(slots, (at + took, slot, host))
    return sorted(ended, key=lambda each: each[0])


def _learned(grid: Space, known: list[TimedTask]) -> Sequence[int]:
    model = learn(known)
    numbers = range(COUNT)
    if model is None:
        return numbers
    return longest_first({number: model.size(grid.combination(number)) for number in numbers})


def _ends(seed: int, noise: float) -> list[float]:
    grid, seconds = _grid(seed), _seconds(seed, noise)
    chance = random.Random(seed)
    half = chance.sample(range(COUNT), COUNT // 2)
    before = [_record(grid, each, seconds[each] * chance.lognormvariate(0, noise), "fast") for each in half]
    shortest = sorted(range(COUNT), key=seconds.__getitem__)
    return [
        play(grid, seconds, lambda _: range(COUNT))[-1][0],
        play(grid, seconds, lambda _: _learned(grid, before))[-1][0],
        play(grid, seconds, lambda known: _learned(grid, known), learn_again=True)[-1][0],
        play(grid, seconds, lambda _: shortest)[-1][0],
    ]


def _estimate(seed: int, noise: float, part: float, is_learned: bool) -> tuple[float, bool]:
    grid, seconds = _grid(seed), _seconds(seed, noise)
    shuffled = random.Random(seed).sample(range(COUNT), COUNT)
    place = {task_id(("train",), grid.combination(number)): n for n, number in enumerate(shuffled)}
    ended = play(grid, seconds, lambda _: shuffled)
    now = ended[math.ceil(part * len(ended)) - 1][0]
    known = [record for end, record in ended if end <= now]
    begun = [(now - end + (record.seconds), record) for end, record in ended if end > now]
    model = learn(known) if is_learned else None

    def size(record: TimedTask) -> float:
        return model.size(record.parameters) if model else 1.0

    durations = Durations()
    for record in known:
        durations.add(record.host, record.seconds, size(record))
    running = [RunningTask(record.host, since, size(record)) for since, record in begun if since >= 0]
    waiting = [record for since, record in begun if since < 0]
    waiting.sort(key=lambda record: place[record.task])
    slots = {host: number for host, (number, _) in HOSTS.items()}
    made = estimate(durations, slots, running, len(waiting), list(map(size, waiting)) if model else ())
    assert made is not None
    truth = ended[-1][0] - now
    return made.seconds / truth, made.least <= truth <= made.most


if __name__ == "__main__":
    main()
