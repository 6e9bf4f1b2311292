"""Cost of results.csv and of a restart for a large sweep, beside one enumeration: run it by hand.

    python tests/benchmarks/results.py [COMBINATIONS]

A thousand tasks of a sweep of 100,000 combinations are done. Printed are the times of results.csv, of
the tally of a restarted master and of `plan`, each as a share of the time of one enumeration
(combination and task id of each), which is measured in the same run: medians of five.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from framework.configuration.load import load_project
from framework.journal.provenance import Provenance
from framework.journal.results_csv import write_results
from framework.journal.store import Journal
from framework.journal.tally import tally_sweep, tasks_of
from framework.messages.assignment import AttemptResult
from framework.scheduler.queue import IndexedQueue

DONE = 1000
RUNS = 5


def main() -> None:
    combinations = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as directory:
        measure(Path(directory), combinations)


def measure(directory: Path, combinations: int) -> None:
    (directory / "project.yml").write_text("command: train\n")
    (directory / "parameters.yml").write_text(f"x: {{range: [0, {combinations}, 1]}}\n")
    project = load_project(directory)
    with Journal(directory / "journal.sqlite") as journal:
        provenance = Provenance(journal, "p1", "")
        queue = IndexedQueue(project, journal, provenance)
        while not queue.is_counted:
            queue.count_known()
        with journal.batch():
            for number in range(0, combinations, max(1, combinations // DONE)):
                parameters = project.space.combination(number)
                task = project.task_id(parameters)
                attempt = journal.assign(task, number, parameters, "a", 1.0)
                result = AttemptResult(task, attempt, "a", "done", 1.0, 1.0, 0, "", {}, "v1", "", "i", "p")
                journal.finish(result, final=True)
        whole = median(lambda: tasks_of(project, range(combinations)))
        print(f"one enumeration of {combinations} combinations: {whole:.2f} s")
        for name, run in (
            ("results.csv", lambda: write_results(project, journal, directory / "results.csv")),
            ("restart", lambda: IndexedQueue(project, journal, provenance)),
            ("plan", lambda: tally_sweep(project, journal, provenance)),
        ):
            print(f"{name:<12} {100 * median(run) / whole:6.2f} % of it")


def median(run: Callable[[], object]) -> float:
    """Seconds."""
    times = []
    for _ in range(RUNS):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


if __name__ == "__main__":
    main()
