"""Parser of the command line, and its exit codes."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from framework.cli.changes import run_changes
from framework.cli.examples import OF_ALL, epilog_of
from framework.cli.explain import run_explain, run_where
from framework.cli.export import run_export
from framework.cli.master_commands import (
    run_again,
    run_best,
    run_cancel,
    run_drain,
    run_pause,
    run_plan,
    run_recover,
    run_results,
    run_resume,
    run_watch,
)
from framework.cli.needs import run_needs, run_root
from framework.cli.project_files import run_files
from framework.cli.report_page import run_report
from framework.cli.run_command import run_command
from framework.cli.selected_tasks import FORMS, run_select
from framework.cli.services import run_celery, run_flower, run_master, run_wait_workers, run_worker
from framework.cli.status_command import run_status
from framework.configuration.import_file import import_file
from framework.configuration.load import load_project
from framework.configuration.resource_settings import size_in_bytes
from framework.errors import FrameworkError, UsageError
from framework.export.targets import TARGETS
from framework.files import LOCAL_RUNS, LocalFiles
from framework.journal.ranking import BEST_SHOWN
from framework.messages.requests import DRAIN_SECONDS
from framework.version_use import use_version

Run: TypeAlias = Callable[[argparse.Namespace], int]
Add: TypeAlias = Callable[[str, Run, str], argparse.ArgumentParser]

TASK = "number of the task in the sweep, from 1, or its id"


class CommandParser(argparse.ArgumentParser):
    """Parser of one command: what it does not know is an error with its usage, not with that of all."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        known, rest = super().parse_known_args(args, namespace)
        if rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return known, rest


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code: 0, 1 for a failure, 2 for wrong usage or an invalid project."""
    options = parse(arguments)
    use_version(Path(__file__).resolve().parents[2])  # it stays until this process ends
    # Celery and Flower configure their own loggers; the framework's write to stderr, which Docker keeps.
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        command: Run = options.run
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
    """Return the options of one command; `run` among them is the function that runs it."""
    return make_parser().parse_args(arguments)


@cache
def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line; to make it takes longer than to parse."""
    parser = argparse.ArgumentParser(
        prog="framework", description="Run sweeps of metaparameters on your own hosts.", epilog=OF_ALL
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=CommandParser)

    def add(name: str, run: Run, description: str) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name,
            help=description,
            description=description,
            epilog=epilog_of(name),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.set_defaults(run=run)
        return command

    _add_plan(add)
    _add_run(add)
    _add_import(add)
    _add_reports(add)
    _add_requests(add)
    _add_recover(add)
    _add_services(add)
    return parser


def _add_plan(add: Add) -> None:
    plan = add("plan", run_plan, "Check a project and print what would run.")
    plan.add_argument(
        "project",
        nargs="?",
        type=Path,
        help="directory of the project, or a W&B sweep file (default: the code that the master runs)",
    )
    _add_sweep(plan)
    _add_name(plan)
    plan.add_argument(
        "--journal",
        type=Path,
        metavar="FILE",
        help="journal with the results so far (default: the master's, or that of local runs)",
    )
    plan.add_argument("--slots", type=positive, metavar="N", help="number of tasks that run at a time")
    plan.add_argument("--json", action="store_true", help="print JSON")
    plan.add_argument(
        "--host",
        nargs=4,
        action="append",
        default=[],
        metavar=("NAME", "CPUS", "MIB", "GPUS"),
        help="a worker host; the command fails if no host has what a task needs",
    )


def _add_run(add: Add) -> None:
    run = add("run", run_local, "Run a project's sweep on this machine, without Docker and without a broker.")
    run.add_argument("project", type=Path, help="directory of the project, or a W&B sweep file")
    _add_sweep(run)
    run.add_argument(
        "--slots", type=positive, metavar="N", help="number of tasks at a time (default: one for each CPU)"
    )
    run.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help=f"directory for journal, results and files of tasks (default: {LOCAL_RUNS}/NAME, with "
        "digits behind it if another project has that name)",
    )
    run.add_argument(
        "--free-disk",
        type=size,
        metavar="SIZE",
        help="space that must be free on the disk, as in 500M or 4G (default: that of project.yml, or 200M)",
    )
    _add_name(run)
    _add_which(run)


def _add_import(add: Add) -> None:
    description = "Print a search space of NNI, Hydra, Ray Tune, Determined or Guild as parameters.yml."
    command = add("import", run_import, description)
    command.add_argument("file", type=Path, help="file of one of these tools")


def _add_reports(add: Add) -> None:
    status = add("status", run_status, "Print the progress of the sweep.")
    status.add_argument(
        "--json", action="store_true", help="print JSON: one document, or with -f one in each line"
    )
    status.add_argument(
        "-f",
        "--follow",
        action="store_true",
        help="show it until interrupted: on a terminal a live view, else a line for each change",
    )
    status.add_argument(
        "--every", type=positive, metavar="SECONDS", help="print a line at least that often, changed or not"
    )
    # For check_celery_status.sh, which shows what another machine says.
    status.add_argument("--from", dest="source", type=Path, help=argparse.SUPPRESS)
    status.add_argument("--host", dest="hosts", action="append", default=[], help=argparse.SUPPRESS)
    watch = add("watch", run_watch, "Show progress until the sweep has ended; fail if a task failed.")
    watch.add_argument(
        "--columns", type=int, default=0, help="redraw one line of this width (default: 0, print lines)"
    )
    watch.add_argument(
        "--past", type=int, default=0, metavar="SECONDS", help="print also the events of the last SECONDS"
    )
    changes = add("changes", run_changes, "Print what the code that was pushed last changes in the sweep.")
    changes.add_argument("version", help="version of the code that the master had before")
    explain = add("explain", run_explain, "Print where a task is, why it waits, and what became of it.")
    explain.add_argument("tasks", nargs="+", metavar="TASK", help=TASK)
    _add_project(explain)
    best = add("best", run_best, "Print the best combinations.")
    best.add_argument(
        "number",
        nargs="?",
        type=int,
        default=BEST_SHOWN,
        help=f"number of combinations (default: {BEST_SHOWN})",
    )
    best.add_argument("--failures", action="store_true", help="then the failed tasks, grouped by reason")
    _add_project(best)
    report = add("report", run_report, "Write a page with tables and plots of results: one HTML file.")
    report.add_argument(
        "results", type=Path, help="directory with results, or project with results of local runs"
    )
    report.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="(default: report.html beside the results)"
    )
    export = add(
        "export", run_export, "Write results for other tools; what an earlier export wrote is replaced."
    )
    export.add_argument(
        "results", type=Path, help="directory with results, or project with results of local runs"
    )
    for target in TARGETS:
        export.add_argument(f"--{target.option}", type=Path, metavar=target.metavar, help=target.description)
    results = add("results", run_results, "Write results.csv now.")
    results.add_argument(
        "--all",
        action="store_true",
        help="write all_results.csv, which includes combinations that were removed from the sweep",
    )
    select = add("select", run_select, "Print the ids of tasks of the results that were written last.")
    select.add_argument("which", nargs="+", metavar="WHICH", help=FORMS)
    select.add_argument(
        "--results", type=Path, metavar="DIRECTORY", help="that has results (default: the master's)"
    )


def _add_requests(add: Add) -> None:
    cancel = add("cancel", run_cancel, "Cancel tasks for good.")
    cancel.add_argument("tasks", nargs="*", metavar="TASK", help=TASK)
    add(
        "pause",
        run_pause,
        "Pause the sweep: nothing more is sent, running tasks are stopped and wait to be run again.",
    )
    add("resume", run_resume, "Resume a sweep that is paused or was stopped.")
    drain = add(
        "drain",
        run_drain,
        f"Send hosts nothing more for {DRAIN_SECONDS:.0f} s, and have them hand back what has not begun.",
    )
    drain.add_argument("hosts", nargs="+", metavar="HOST", help="name of a worker host")
    drain.add_argument("--end", action="store_true", help="send them tasks again")
    again = add("again", run_again, "Run tasks again that have ended.")
    again.add_argument("tasks", nargs="*", metavar="TASK", help=TASK)
    _add_which(again)


def _add_sweep(command: argparse.ArgumentParser) -> None:
    """Add the options for what a W&B sweep file leaves to the command line."""
    _add_run_cap(command)
    command.add_argument(
        "--root",
        type=Path,
        metavar="DIR",
        help="the directory of a W&B sweep file's project, in which the path of its program begins "
        "(default: the nearest one, from the file upwards in its git repository, that has the program)",
    )


def _add_run_cap(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--run-cap", type=positive, metavar="N", help="the most tasks, in place of the project's run_cap"
    )


def _add_name(command: argparse.ArgumentParser) -> None:
    command.add_argument("--name", help="name of the project (default: that of its directory or sweep file)")


def _add_project(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--project",
        type=Path,
        metavar="PROJECT",
        help="directory or W&B sweep file: its local runs (default: what the master here runs)",
    )


def _add_which(command: argparse.ArgumentParser) -> None:
    """Add the options that select tasks to be run again although they have ended."""
    which = command.add_mutually_exclusive_group()
    for option, value, description in (
        ("--failed", "failed", "run all failed tasks again"),
        (
            "--outdated",
            "outdated",
            "run all tasks again whose results were made with other files of the project or in another image",
        ),
        ("--fresh", "all", "run all tasks again: done, failed and cancelled ones"),
    ):
        which.add_argument(option, dest="which", action="store_const", const=value, help=description)


def _add_recover(add: Add) -> None:
    recover = add("recover", run_recover, "Rebuild the journal from the results on the disks of workers.")
    recover.add_argument("directories", nargs="+", type=Path, metavar="DIRECTORY", help="data of one worker")
    recover.add_argument(
        "--project", type=Path, help="directory of the project (default: the code that the master runs)"
    )
    recover.add_argument("--journal", type=Path, help="journal to be written (default: the master's)")


def _add_services(add: Add) -> None:
    add("master", run_master, "Run the master, in its container.")
    add("worker", run_worker, "Run a worker, in its container.")
    add("flower", run_flower, "Run Flower, in its container.")
    needs = add("needs", run_needs, "Print what the scripts have to know of a project.")
    needs.add_argument("project", type=Path, help="directory of the project, or a W&B sweep file")
    _add_sweep(needs)
    _add_name(needs)
    files = add("files", run_files, "Print the entries of a directory that belong to its project.")
    files.add_argument("project", type=Path, help="directory of the project, or a W&B sweep file")
    _add_sweep(files)
    _add_name(files)
    root = add("root", run_root, "Print the directory of a W&B sweep file's project.")
    root.add_argument("project", type=Path, help="W&B sweep file, or directory with one")
    _add_run_cap(root)
    where = add("where", run_where, "Print id, attempt and host of the latest attempt of a task.")
    where.add_argument("task", metavar="TASK", help=TASK)
    wait = add("wait-workers", run_wait_workers, "Wait until the workers on these hosts answer.")
    wait.add_argument("hosts", nargs="+", metavar="HOST", help="name of a worker host")
    wait.add_argument(
        "--timeout", type=float, default=120.0, metavar="SECONDS", help="longest wait (default: 120)"
    )
    celery = add("celery", run_celery, "Run one of Celery's own commands on this infrastructure.")
    celery.add_argument("arguments", nargs=argparse.REMAINDER, help="command of Celery and its arguments")


def positive(text: str) -> int:
    """Return the number that `text` writes; the type of options that count something."""
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of 1 or more")
    return int(text)


def size(text: str) -> int:
    """Return the bytes that `text` writes; the type of options that are a size."""
    try:
        return size_in_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} {error}") from error


def run_local(options: argparse.Namespace) -> int:
    """Run a sweep on this machine; raises UsageError for a name that is no name of a directory."""
    from framework.cli.local_run import run_and_report
    from framework.local.data_directory import default_directory

    if options.name and Path(options.name).name != options.name:
        raise UsageError(f"--name is {options.name!r}: it must be a name without '/'")
    project = load_project(options.project, options.name, root=options.root, run_cap=options.run_cap)
    data = options.data or default_directory(LOCAL_RUNS, project)
    if not options.data and data.name != project.name and not data.exists():
        print(f"{data.with_name(project.name)} belongs to another project: {data} is used", file=sys.stderr)
    if options.free_disk:
        project = replace(project, free_disk=options.free_disk)
    return run_and_report(
        project, LocalFiles(data.resolve()), options.slots, options.which, run_command(options)
    )


def run_import(options: argparse.Namespace) -> int:
    print(import_file(options.file), end="")
    return 0
