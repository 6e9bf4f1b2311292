"""The command line: what the containers run, and what the shell scripts ask the master."""

from __future__ import annotations

import argparse
import json
import logging
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from framework.adaptive import so_far
from framework.errors import FrameworkError, UsageError
from framework.files import Code, MasterFiles
from framework.journal import Journal
from framework.project import Project, load_project
from framework.recovery import recover
from framework.requests import Request, ask
from framework.results import best, best_over_seeds, render_best, render_seeds, write_results
from framework.selection import find_tasks
from framework.status import Status, progress, read_status, summary

# Where infrainit.sh mounts them; tests put them elsewhere.
CODE = Path(os.environ.get("CODE", "/code"))
DATA = Path(os.environ.get("DATA", "/data"))

UNREACHED_SECONDS = 60.0  # how long `watch` bears a master without a status: it may be restarting
LINE_SECONDS = 10.0  # between two lines of progress where there is no terminal to redraw


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
    plan.add_argument("project", type=Path, help="the project's directory")
    plan.add_argument("--json", action="store_true", help="print it as JSON")
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
    ranking = add("best", run_best, "Print the best combinations.")
    ranking.add_argument("number", nargs="?", type=int, default=5)
    add("results", run_results, "Write results.csv now.")
    cancel = add("cancel", run_cancel, "Cancel tasks for good; without any: stop the set until resumed.")
    cancel.add_argument("tasks", nargs="*", metavar="TASK", help="its number in the set, from 1, or its id")
    add("resume", run_resume, "Go on with a set that was stopped.")
    recovery = add("recover", run_recover, "Rebuild the journal from results on the disks of workers.")
    recovery.add_argument("directories", nargs="+", type=Path, metavar="DIRECTORY")
    recovery.add_argument("--project", type=Path, help="the project's directory; default: the current code")
    recovery.add_argument("--journal", type=Path, help="default: the master's own")
    celery = add("celery", run_celery, "Run a command of Celery's own on this infrastructure.")
    celery.add_argument("arguments", nargs=argparse.REMAINDER)
    return parser.parse_args(arguments)


def run_plan(options: argparse.Namespace) -> int:
    project = load_project(options.project)
    space = project.space
    ends = {0, space.count - 1}
    examples = {number: project.argv(space.combination(number)) for number in sorted(ends)}
    if options.json:
        print(json.dumps({"project": project.name, "combinations": space.count, "metaparameters": space.names,
                          "examples": list(examples.values())}, indent=2))  # fmt: skip
        return 0
    print(f"{project.name}: {space.count} combinations of {', '.join(space.names)}")
    for number, argv in examples.items():
        print(f"  {number + 1}: {shlex.join(argv)}")
    return 0


def run_master(_: argparse.Namespace) -> int:
    from framework.broker import Identity
    from framework.dispatch import Master

    Master(Identity.of_container("master"), MasterFiles(DATA), CODE).run()
    return 0


def run_worker(_: argparse.Namespace) -> int:
    from framework.broker import Identity
    from framework.worker import serve

    slots = os.environ.get("SLOTS") or str(os.cpu_count() or 1)
    if not slots.isdecimal() or int(slots) < 1:
        raise UsageError(f"SLOTS is {slots!r}: it must be a number of 1 or more")
    serve(Identity.of_container("worker"), DATA, CODE, int(slots))
    return 0


def run_flower(_: argparse.Namespace) -> int:
    from framework.broker import Identity, make_app

    configuration = Path(__file__).with_name("flower_config.py")
    make_app(Identity.of_container("flower")).start(["flower", f"--conf={configuration}"])
    return 0


def run_celery(options: argparse.Namespace) -> int:
    from framework.broker import Identity, make_app

    make_app(Identity.of_container("master")).start(options.arguments)
    return 0


def run_wait_workers(options: argparse.Namespace) -> int:
    from framework.broker import BROKER_ERRORS, Identity, make_app

    app = make_app(Identity.of_container("master"))
    missing = {f"worker@{host}": host for host in options.hosts}
    deadline = time.monotonic() + options.timeout
    problem = ""
    while missing and time.monotonic() < deadline:
        try:
            replies = app.control.ping(destination=list(missing), timeout=2.0, limit=len(missing))
        except BROKER_ERRORS as error:
            replies, problem = [], f" (the broker: {error})"
            time.sleep(1)
        for reply in replies:
            for node in reply:
                if missing.pop(node, None):
                    print(f"{node} answers", flush=True)
    if missing:
        raise FrameworkError(
            f"no answer in {options.timeout:.0f} s from the workers on {', '.join(missing.values())}{problem}"
        )
    return 0


def run_status(options: argparse.Namespace) -> int:
    status = read_status(MasterFiles(DATA).status)
    print(status.to_json() if options.json else summary(status))
    return 0


def run_watch(options: argparse.Namespace) -> int:
    show = redraw(options.columns) if options.columns > 0 else print_lines()
    reached = time.monotonic()
    while True:
        try:
            status = read_status(MasterFiles(DATA).status)
            reached = time.monotonic()
        except FrameworkError:
            if time.monotonic() - reached > UNREACHED_SECONDS:
                raise
            time.sleep(1)
            continue
        newest = Code.current(CODE).version
        if status.refused_version == newest:
            raise FrameworkError("\n".join(status.notices))
        # A master that has not taken up the newest code yet speaks of an older set.
        ended = status.finished and status.version == newest
        show(status, ended)
        if ended:
            if status.done + status.pruned < status.total:
                cancelled = f", {status.cancelled} were cancelled" if status.cancelled else ""
                raise FrameworkError(
                    f"{status.failed} of {status.total} tasks failed{cancelled}: see results.csv"
                )
            return 0
        if status.stopped and status.idle and status.version == newest:
            show(status, True)
            raise FrameworkError(status.stopped)
        time.sleep(1)


def run_cancel(options: argparse.Namespace) -> int:
    files = MasterFiles(DATA)
    if not options.tasks:
        ask(files.requests, Request("stop"))
        print("stopped: nothing more is sent, and what ran waits to be run again; 'resume' goes on")
        return 0
    with Journal(files.journal, read_only=True) as journal:
        chosen = find_tasks(so_far(current_project(), journal), options.tasks)
    ask(files.requests, Request("cancel", tuple(chosen)))
    with Journal(files.journal, read_only=True) as journal:
        records = journal.records([task for _, task in chosen])
    for number, task in chosen:
        state = records[task].state if task in records else "not known to the master"
        print(f"task {number + 1}, {task}: {state}")
    return 0


def run_resume(_: argparse.Namespace) -> int:
    ask(MasterFiles(DATA).requests, Request("resume"))
    print("the set goes on")
    return 0


def run_recover(options: argparse.Namespace) -> int:
    files = MasterFiles(DATA)
    project = load_project(options.project) if options.project else current_project()
    path = options.journal or files.journal
    with Journal(path) as journal:
        project = so_far(project, journal)
        recovery = recover(project, journal, options.directories)
        write_results(project, journal, path.parent / files.results.name)
    print(recovery.summary())
    if path == files.journal and is_master_alive(files):
        ask(files.requests, Request("reload"))
    return 0


def is_master_alive(files: MasterFiles) -> bool:
    try:
        read_status(files.status)
    except FrameworkError:
        return False
    return True


def redraw(columns: int) -> Callable[[Status, bool], None]:
    def show(status: Status, ended: bool) -> None:
        line = progress(status, columns).ljust(columns)
        print(f"\r{line}", end="\n" if ended else "", file=sys.stderr, flush=True)

    return show


def print_lines() -> Callable[[Status, bool], None]:
    shown, due = "", 0.0

    def show(status: Status, ended: bool) -> None:
        nonlocal shown, due
        line = progress(status, 100)
        if ended or (line != shown and time.monotonic() >= due):
            print(line, file=sys.stderr, flush=True)
            shown, due = line, time.monotonic() + LINE_SECONDS

    return show


def run_best(options: argparse.Namespace) -> int:
    project = current_project()
    if project.metric is None:
        print("project.yml names no metric: there is nothing to rank the results by", file=sys.stderr)
        return 0
    with Journal(MasterFiles(DATA).journal, read_only=True) as journal:
        project = so_far(project, journal)
        if project.search_space.seeds is None:
            print(render_best(project, best(project, journal, options.number)))
        else:
            print(render_seeds(project, best_over_seeds(project, journal, options.number)))
    return 0


def run_results(_: argparse.Namespace) -> int:
    files = MasterFiles(DATA)
    with Journal(files.journal, read_only=True) as journal:
        write_results(so_far(current_project(), journal), journal, files.results)
    return 0


def current_project() -> Project:
    return load_project(Code.current(CODE).project_path, os.environ.get("PROJECT"))
