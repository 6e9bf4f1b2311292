"""What `framework run` costs for each task, beside a plain loop that starts the same program: run it by hand.

    .venv/bin/python tests/benchmarks/local.py [TASKS [ROUNDS]]

Prints the median milliseconds of a task of either, in turns, one task at a time, and their ratio. Start-up is
left out: it is measured with a set of one task and said apart.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    tasks = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    plain, ours, start = [], [], []
    for _ in range(rounds):
        plain.append(1000 * seconds_of_loop(tasks) / tasks)
        start.append(seconds_of_run(1))
        ours.append(1000 * (seconds_of_run(tasks + 1) - start[-1]) / tasks)
    ratio = statistics.median(mine / theirs for mine, theirs in zip(ours, plain, strict=True))
    print(f"plain loop     {statistics.median(plain):6.2f} ms for each task")
    print(f"framework run  {statistics.median(ours):6.2f} ms for each task, {ratio:.1f} times as much")
    print(f"               {statistics.median(start):6.2f} s for a set of one task")


def seconds_of_loop(tasks: int) -> float:
    began = time.perf_counter()
    for number in range(tasks):
        subprocess.run(["true", f"--x={number}"], check=True)
    return time.perf_counter() - began


def seconds_of_run(tasks: int) -> float:
    with tempfile.TemporaryDirectory() as directory:
        project = Path(directory) / "project"
        project.mkdir()
        (project / "project.yml").write_text('command: "true"\n')
        (project / "parameters.yml").write_text(f"x: {{range: [0, {tasks}, 1]}}\n")
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "framework", "run", str(project), "--slots=1", f"--data={directory}/data"],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            stderr=subprocess.DEVNULL,
            check=True,
        )
        return time.perf_counter() - began


if __name__ == "__main__":
    main()
