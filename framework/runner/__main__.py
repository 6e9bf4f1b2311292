"""Program `runner`: python3 -I -S framework/runner/__main__.py OPTION…, in the image of a project."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    # The link /code/current is followed once: a push never mixes two versions in one process.
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from framework.runner.isolation import hide_memory, keep_descriptors
from framework.runner.log import running_since
from framework.runner.runner import Options, Runner


def main() -> int:
    """Run until the runner is told to end; returns its exit code."""
    parser = argparse.ArgumentParser(prog="runner", description="executes the tasks of a worker")
    parser.add_argument("--link", type=Path, metavar="SOCKET", help="socket on which the worker listens")
    parser.add_argument("--connection", type=int, metavar="N", help="descriptor of a socket to the worker")
    parser.add_argument("--log", type=Path, required=True, metavar="FILE", help="record of attempts")
    parser.add_argument("--tasks", type=Path, metavar="DIR", help="directories of the attempts")
    parser.add_argument("--code", type=Path, metavar="DIR", help="versions of the code, with a link current")
    parser.add_argument("--values", type=Path, metavar="FILE", help="values from the user's machine")
    parser.add_argument(
        "--running",
        action="store_true",
        help="print how many attempts run, and for how many seconds the longest has, and end",
    )
    options = parser.parse_args()
    if options.running:
        return _print_running(options.log)
    if options.tasks is None or (options.link is None) == (options.connection is None):
        parser.error("give --tasks, and either --link or --connection")
    logging.basicConfig(level=logging.WARNING, format="runner: %(message)s")
    keep_descriptors()
    hide_memory()
    return asyncio.run(
        _run(
            Options(
                options.log, options.tasks, options.link, options.connection, options.code, options.values
            )
        )
    )


def _print_running(log: Path) -> int:
    starts = running_since(log)
    seconds = int(time.time() - min(starts)) if starts else 0
    sys.stdout.write(f"{len(starts)} {max(0, seconds)}\n")
    return 0


async def _run(options: Options) -> int:
    return await Runner(options).run()


if __name__ == "__main__":
    sys.exit(main())
