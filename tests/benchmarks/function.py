#!/usr/bin/env python3
"""How much time does `function:` save against starting Python for each combination? On tasks/digits.

    tests/benchmarks/function.py [COMBINATIONS]

Needs Python 3.10 with venv, and a package index: scikit-learn is installed into a temporary directory.
Each combination is run as a command and as a function, one after the other, by the code that workers run.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
DIGITS = CHECKOUT / "tasks" / "digits"

# The same training: the shipped program, given its options.
TRAINING = """\
import sys

import numpy

import train


def run(**parameters):
    sys.argv[1:] = [f"--{name}={value}" for name, value in parameters.items() if value is not True]
    sys.argv += [f"--{name}" for name, value in parameters.items() if value is True]
    train.main()


def nothing(**parameters):
    return {"drawn": numpy.random.random()}


if __name__ == "__main__":
    print(f"drawn={numpy.random.random()}")
"""


def main() -> None:
    if os.environ.get("IN_BENCHMARK"):
        with tempfile.TemporaryDirectory() as directory:
            measure(Path(directory), int(sys.argv[1]) if len(sys.argv) > 1 else None)
        return
    with tempfile.TemporaryDirectory() as directory:
        python = install(Path(directory))
        path = f"{python.parent}:{os.environ['PATH']}"
        environment = os.environ | {"IN_BENCHMARK": "1", "PATH": path, "PYTHONPATH": str(CHECKOUT)}
        sys.exit(subprocess.run([python, *sys.argv], env=environment, check=False).returncode)


def install(directory: Path) -> Path:
    """A Python with what tasks/digits and the framework's side of an attempt need."""
    pins = (CHECKOUT / "docker" / "worker" / "requirements.txt").read_text().splitlines()
    yaml = next(pin for pin in pins if pin.startswith("ruamel.yaml"))
    print("installing scikit-learn", file=sys.stderr)
    python = directory / "venv" / "bin" / "python"
    steps: list[list[str | Path]] = [
        [sys.executable, "-m", "venv", directory / "venv"],
        [python, "-m", "pip", "install", "--quiet", "--requirement", DIGITS / "requirements.txt", yaml],
    ]
    for step in steps:
        if subprocess.run(step, check=False).returncode:
            sys.exit("the packages of tasks/digits cannot be installed: see above; they are needed here")
    return python


def measure(directory: Path, most: int | None) -> None:
    from framework.configuration.load import load_project
    from framework.files import WorkerFiles
    from framework.runner.attempt import run_attempt
    from framework.runner.environment import task_environment
    from framework.runner.functions import Call, Functions
    from framework.runner.programs import Command, Program

    project_path = directory / "digits"
    shutil.copytree(DIGITS, project_path)
    (project_path / "call.py").write_text(TRAINING)
    project = load_project(project_path)
    functions = Functions()
    number = 0

    def run(program: Program) -> tuple[float, Mapping[str, object]]:
        nonlocal number
        number += 1
        files = WorkerFiles(directory / "data").attempt(f"{number:016x}", 1)
        found = run_attempt(
            program,
            files,
            project_path,
            task_environment(os.environ, files, CHECKOUT, {}),
            None,
            lambda metrics: None,
            threading.Event(),
        )
        if found.state != "done":
            sys.exit(f"it does not run: {found.reason}")
        return found.seconds, found.metrics

    first, _ = run(Call(functions, "call:nothing", {}))
    functions.close()
    run(Call(functions, "call:run", project.space.combination(0)))  # pays the import
    seconds: dict[str, list[float]] = {"command": [], "function": []}
    for index in range(min(most or project.space.count, project.space.count)):
        parameters = project.space.combination(index)
        as_command, metrics = run(Command(project.argv(parameters)))
        as_function, same = run(Call(functions, "call:run", parameters))
        if metrics != same:
            sys.exit(f"{parameters}: the command found {metrics}, the function {same}")
        seconds["command"].append(as_command)
        seconds["function"].append(as_function)
    functions.close()
    run(Call(functions, "call:nothing", {}))
    idle: dict[str, list[float]] = {"command": [], "function": []}
    drawn = set()
    for _ in range(11):
        idle["command"].append(run(Command(["python", "call.py"]))[0])
        time, metrics = run(Call(functions, "call:nothing", {}))
        idle["function"].append(time)
        drawn.add(metrics["drawn"])
    functions.close()
    if len(drawn) < 11:
        sys.exit(f"calls share their random numbers: {drawn}")

    print(f"medians of {len(seconds['command'])} combinations    command  function  ratio")
    for name, times in (("training", seconds), ("nothing but the imports", idle)):
        command, function = statistics.median(times["command"]), statistics.median(times["function"])
        print(f"{name:29}{command:8.3f} s{function:8.3f} s{command / function:7.1f}")
    print(f"the first call on a worker, which pays the imports: {first:.3f} s")


if __name__ == "__main__":
    main()
