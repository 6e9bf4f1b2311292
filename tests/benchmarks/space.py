"""Planning 1,000,000 combinations against 1,000: time and memory, both measured now, so that ratios compare.

python -m tests.benchmarks.space
"""

import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from framework.configuration.load import load_project

REPEATS = 5
SIZES = (1_000, 1_000_000, 10**12)
RULES = "exclude: [{a: 1, b: 2}]\nc: {values: [1, 2], when: {b: 3}}\n"


def main() -> None:
    print(
        f"{'combinations':>14}  {'method':8}{'load ms':>10}{'peak MB':>10}{'one, µs':>10}   against the first"
    )
    for method in ("grid", "random"):
        first = None
        for size in SIZES:
            with TemporaryDirectory() as directory:
                measured = measure(Path(directory), size, method)
            first = first or measured
            ratios = "  ".join(f"x{mine / base:.1f}" for mine, base in zip(measured, first, strict=True))
            seconds, peak, each = measured
            print(
                f"{size:14,}  {method:8}{seconds * 1e3:10.1f}{peak / 1e6:10.2f}{each * 1e6:10.1f}   {ratios}"
            )


def measure(directory: Path, size: int, method: str) -> tuple[float, float, float]:
    """Seconds to load the project, the peak of memory in bytes, and seconds for one combination."""
    (directory / "project.yml").write_text(f"command: run\nmethod: {method}\n")
    side = round(size**0.5)
    (directory / "parameters.yml").write_text(
        f"a: {{range: [0, {side + 1}]}}\nb: {{range: [0, {side + 1}]}}\n{RULES}"
    )
    seconds = least(lambda: load_project(directory))
    tracemalloc.start()
    space = load_project(directory).space
    numbers = range(0, space.count, max(1, space.count // 1000))
    for number in numbers:
        space.combination(number)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    each = least(lambda: [space.combination(number) for number in numbers]) / len(numbers)
    return seconds, peak, each


def least(action: Callable[[], object]) -> float:
    durations = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        action()
        durations.append(time.perf_counter() - began)
    return min(durations)


if __name__ == "__main__":
    sys.exit(main())
