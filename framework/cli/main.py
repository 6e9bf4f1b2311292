"""Parser of the command line, and its exit codes."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from framework.cli import locations
from framework.cli.master_commands import (
    run_again,
    run_best,
    run_cancel,
    run_plan,
    run_recover,
    run_results,
    run_resume,
    run_status,
    run_watch,
)
from framework.cli.services import run_celery, run_flower, run_master, run_wait_workers, run_worker
from framework.configuration.load import load_project
from framework.errors import FrameworkError, UsageError
from framework.files import LocalFiles
from framework.journal.ranking import BEST_SHOWN


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code: 0, 1 for a failure, 2 for wrong usage or an invalid project."""
    options = parse(arguments)
    # Celery and Flower configure their own loggers; ours go to stderr, which Docker keeps.
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        command: Callable[[argparse.Namespace], int] = options.run
        return command(options)
    except FrameworkError as error:
        for line in str(error).splitlines():
            print(line, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="framework", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[argparse.Namespace], int], description: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=description, description=description)
        command.set_defaults(run=run)
        return command

    plan = add("plan", run_plan, "Check a project and say what would run.")
    plan.add_argument("project", nargs="?", type=Path,
                      help="its directory, or a W&B sweep file; default: what the master runs")  # fmt: skip
    add_sweep(plan)
    plan.add_argument(
        "--journal", type=Path, metavar="FILE", help="default: the master's, or that of earlier runs here"
    )
    plan.add_argument("--slots", type=positive, metavar="N", help="how many tasks run at a time")
    plan.add_argument("--json", action="store_true", help="print it as JSON")
    plan.add_argument("--host", nargs=4, action="append", default=[], metavar=("NAME", "CPUS", "MIB", "GPUS"),
                      help="one of the worker hosts: fail if none of them has what a task needs")  # fmt: skip
    local = add("run", run_local, "Run a project's set on this machine alone: no Docker, no broker.")
    local.add_argument("project", type=Path, help="the project's directory, or a W&B sweep file")
    add_sweep(local)
    local.add_argument(
        "--slots", type=positive, metavar="N", help="tasks at a time (default: one for each CPU)"
    )
    local.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help=f"for journal, results, files of tasks (default: {locations.LOCAL_RUNS}/NAME)",
    )
    local.add_argument("--name", help="of the project (default: as its directory or sweep file)")
    add_which(local)
    add("master", run_master, "Run the master (in its container).")
    add("worker", run_worker, "Run a worker (in its container).")
    add("flower", run_flower, "Run Flower (in its container).")
    status = add("status", run_status, "Say how far the set has come.")
    status.add_argument("--json", action="store_true", help="print it as JSON")
    wait = add("wait-workers", run_wait_workers, "Wait until the workers of these hosts answer.")
    wait.add_argument("hosts", nargs="+", metavar="HOST")
    wait.add_argument("--timeout", type=float, default=120.0, metavar="SECONDS")
    watch = add("watch", run_watch, "Show progress until the set is finished; fail if a task failed.")
    watch.add_argument("--columns", type=int, default=0, help="redraw one line this wide; 0: print lines")
    best = add("best", run_best, "Print the best combinations.")
    best.add_argument("number", nargs="?", type=int, default=BEST_SHOWN)
    results = add("results", run_results, "Write results.csv now.")
    results.add_argument(
        "--all", action="store_true", help="all_results.csv, with values removed from the set"
    )
    cancel = add("cancel", run_cancel, "Cancel tasks for good; without any: stop the set until resumed.")
    cancel.add_argument("tasks", nargs="*", metavar="TASK", help="its number in the set, from 1, or its id")
    add("resume", run_resume, "Go on with a set that was stopped.")
    again = add("again", run_again, "Run tasks again although they have ended.")
    again.add_argument("tasks", nargs="*", metavar="TASK", help="its number in the set, from 1, or its id")
    add_which(again)
    recovery = add("recover", run_recover, "Rebuild the journal from results on the disks of workers.")
    recovery.add_argument("directories", nargs="+", type=Path, metavar="DIRECTORY")
    recovery.add_argument("--project", type=Path, help="the project's directory; default: the current code")
    recovery.add_argument("--journal", type=Path, help="default: the master's own")
    celery = add("celery", run_celery, "Run a command of Celery's own on this infrastructure.")
    celery.add_argument("arguments", nargs=argparse.REMAINDER)
    return parser.parse_args(arguments)


def add_sweep(command: argparse.ArgumentParser) -> None:
    """What a W&B sweep file leaves to the command line."""
    command.add_argument(
        "--run-cap", type=positive, metavar="N", help="the most tasks, in place of the project's run_cap"
    )
    command.add_argument(
        "--root",
        type=Path,
        metavar="DIR",
        help="the directory of a W&B sweep file's project, in which the path of its program begins "
        "(default: the nearest one, from the file upwards in its git repository, that has the program)",
    )


def add_which(command: argparse.ArgumentParser) -> None:
    """Which tasks are run again although they have ended."""
    which = command.add_mutually_exclusive_group()
    for option, value, description in (
        ("--failed", "failed", "run again all that failed"),
        (
            "--outdated",
            "outdated",
            "run again all that were done with other files of the project, or in another image, than now",
        ),
        ("--fresh", "all", "run again all: done, failed and cancelled ones"),
    ):
        which.add_argument(option, dest="which", action="store_const", const=value, help=description)


def positive(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of 1 or more")
    return int(text)


def run_local(options: argparse.Namespace) -> int:
    from framework.cli.local_run import run_and_tell

    if options.name and Path(options.name).name != options.name:
        raise UsageError(f"--name is {options.name!r}: it must be a name without '/'")
    project = load_project(options.project, options.name, root=options.root, run_cap=options.run_cap)
    files = LocalFiles((options.data or locations.LOCAL_RUNS / project.name).resolve())
    return run_and_tell(project, files, options.slots, options.which)
