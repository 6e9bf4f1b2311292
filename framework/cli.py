"""The command line: what the containers run, and what the shell scripts ask the master."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

from framework.adaptive import so_far
from framework.devices import usable_cpus
from framework.errors import FrameworkError, UsageError
from framework.files import Code, LocalFiles, MasterFiles
from framework.identity import Identity
from framework.journal import Journal
from framework.plan import Plan, make_plan
from framework.project import Project, load_project
from framework.recovery import recover
from framework.requests import AGAIN_SECONDS, Request, ask
from framework.resources import Capacity, Resources, why_nowhere
from framework.results import BEST_SHOWN, ranking, write_results
from framework.selection import find_tasks
from framework.status import read_status, summary
from framework.watch import progress_display, wait_for_newest_code, watch

# Where infrainit.sh mounts them; tests put them elsewhere.
CODE = Path(os.environ.get("CODE", "/code"))
DATA = Path(os.environ.get("DATA", "/data"))

LOCAL = Path("results/local")  # get_results.sh puts nothing there, and results/ is no part of a project


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
    plan.add_argument("project", nargs="?", type=Path, help="its directory; default: what the master runs")
    plan.add_argument(
        "--journal", type=Path, metavar="FILE", help="default: the master's, or that of earlier runs here"
    )
    plan.add_argument("--slots", type=positive, metavar="N", help="how many tasks run at a time")
    plan.add_argument("--json", action="store_true", help="print it as JSON")
    plan.add_argument("--host", nargs=4, action="append", default=[], metavar=("NAME", "CPUS", "MIB", "GPUS"),
                      help="one of the worker hosts: fail if none of them has what a task needs")  # fmt: skip
    local = add("run", run_local, "Run a project's set on this machine alone: no Docker, no broker.")
    local.add_argument("project", type=Path, help="the project's directory")
    local.add_argument(
        "--slots", type=positive, metavar="N", help="tasks at a time (default: one for each CPU)"
    )
    local.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help=f"for journal, results, files of tasks (default: {LOCAL}/NAME)",
    )
    local.add_argument("--name", help="of the project (default: as its directory)")
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


def run_plan(options: argparse.Namespace) -> int:
    if options.project is None:
        plan = current_plan(options.journal, options.slots)
    else:
        project = load_project(options.project)
        check_hosts(project, options.host)
        earlier = LocalFiles(LOCAL / project.name).master.journal
        journal = options.journal or (earlier if earlier.exists() else None)
        plan = make_plan(project, journal, options.slots or max(1, int(usable_cpus())))
    print(plan.to_json() if options.json else plan)
    return 0


def current_plan(journal: Path | None = None, slots: int | None = None) -> Plan:
    """What the master does."""
    files = MasterFiles(DATA)
    if slots is None and is_master_alive(files):
        slots = sum(host.slots for host in read_status(files.status).hosts.values() if host.alive)
    return make_plan(
        current_project(), journal or files.journal, slots or 1, os.environ.get("IMAGE", ""), CODE
    )


def check_hosts(project: Project, hosts: Sequence[Sequence[str]]) -> None:
    """Raises UsageError if none of these hosts (name, CPUs, MiB of memory, GPUs) can ever run a task."""
    lacking = {}
    for name, *numbers in hosts:
        if not all(map(str.isdecimal, numbers)):
            raise UsageError(f"--host {name}: CPUs, MiB and GPUs have to be whole numbers")
        cpus, memory, gpus = map(int, numbers)
        lacking[name] = Capacity(Fraction(cpus), memory * 2**20, gpus).lacks(project.resources or Resources())
    if lacking and all(lacking.values()):
        raise UsageError(why_nowhere(project.name, lacking))


def run_local(options: argparse.Namespace) -> int:
    from framework.terminal import run_and_tell

    name = options.name or options.project.resolve().name
    if Path(name).name != name:
        raise UsageError(f"--name is {name!r}: it must be a name without '/'")
    files = LocalFiles((options.data or LOCAL / name).resolve())
    return run_and_tell(load_project(options.project, name), files, options.slots, options.which)


def run_master(_: argparse.Namespace) -> int:
    from framework.broker import connect, make_app
    from framework.dispatch import Master
    from framework.link import Link

    identity = Identity.of_container("master")
    app = make_app(identity)
    Master(identity, MasterFiles(DATA), CODE).run(lambda: Link(app, connect(identity)))
    return 0


def run_worker(_: argparse.Namespace) -> int:
    from framework.inbox import serve

    slots = os.environ.get("SLOTS", "")
    if slots and (not slots.isdecimal() or int(slots) < 1):
        raise UsageError(f"SLOTS is {slots!r}: it must be a number of 1 or more")
    serve(Identity.of_container("worker"), DATA, CODE, int(slots) if slots else None)
    return 0


def run_flower(_: argparse.Namespace) -> int:
    from framework.broker import make_app

    configuration = Path(__file__).with_name("flower_config.py")
    make_app(Identity.of_container("flower")).start(["flower", f"--conf={configuration}"])
    return 0


def run_celery(options: argparse.Namespace) -> int:
    from framework.broker import make_app

    make_app(Identity.of_container("master")).start(options.arguments)
    return 0


def run_wait_workers(options: argparse.Namespace) -> int:
    from framework.broker import BROKER_ERRORS, make_app

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
    watch(MasterFiles(DATA), CODE, progress_display(options.columns))
    return 0


def run_cancel(options: argparse.Namespace) -> int:
    files = MasterFiles(DATA)
    if not options.tasks:
        ask(files.requests, Request("stop"))
        print("stopped: nothing more is sent, and what ran waits to be run again; 'resume' goes on")
        return 0
    chosen = find_tasks(set_so_far(), options.tasks)
    ask(files.requests, Request("cancel", tuple(chosen)))
    print_states(chosen)
    return 0


def print_states(tasks: Sequence[tuple[int, str]]) -> None:
    with Journal(MasterFiles(DATA).journal, read_only=True) as journal:
        records = journal.records([task for _, task in tasks])
    for number, task in tasks:
        state = records[task].state if task in records else "not known to the master"
        print(f"task {number + 1}, {task}: {state}")


def run_resume(_: argparse.Namespace) -> int:
    ask(MasterFiles(DATA).requests, Request("resume"))
    print("\n".join(["the set goes on", *current_plan().standing()]))
    return 0


def run_again(options: argparse.Namespace) -> int:
    if bool(options.tasks) == bool(options.which):
        raise UsageError("which tasks? name some, or say one of --failed, --outdated and --fresh")
    wait_for_newest_code(MasterFiles(DATA), CODE)
    chosen = find_tasks(set_so_far(), options.tasks)
    ask(MasterFiles(DATA).requests, Request("again", tuple(chosen), options.which), AGAIN_SECONDS)
    if chosen:
        print_states(chosen)
    else:
        print("\n".join(current_plan().standing()))
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


def run_best(options: argparse.Namespace) -> int:
    project = current_project()
    if project.metric is None:
        print("project.yml names no metric: there is nothing to rank the results by", file=sys.stderr)
        return 0
    with Journal(MasterFiles(DATA).journal, read_only=True) as journal:
        print(ranking(project, journal, options.number))
    return 0


def run_results(options: argparse.Namespace) -> int:
    files = MasterFiles(DATA)
    path = files.all_results if options.all else files.results
    with Journal(files.journal, read_only=True) as journal:
        write_results(current_project(), journal, path, removed=options.all)
    return 0


def set_so_far() -> Project:
    """The current project with the combinations that are known until now."""
    with Journal(MasterFiles(DATA).journal, read_only=True) as journal:
        return so_far(current_project(), journal)


def current_project() -> Project:
    return load_project(Code.current(CODE).project_path, os.environ.get("PROJECT"))
