"""Commands about a running sweep: they ask its master, or read its files."""

import argparse
import sys
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from framework.cli import locations
from framework.cli.best import print_best
from framework.cli.failures import print_failures
from framework.cli.known_sweep import KnownSweep, current_project, find_sweep
from framework.cli.plan import Plan, make_plan, notices_of
from framework.cli.progress import progress_display, wait_for_newest_code, watch
from framework.cli.run_command import run_command
from framework.cli.task_selection import find_tasks
from framework.configuration.load import load_project
from framework.errors import FrameworkError, UsageError
from framework.files import LOCAL_RUNS, Code, LocalFiles, MasterFiles
from framework.journal.recovery import recover
from framework.journal.results_csv import write_results
from framework.journal.store import Journal
from framework.journal.sweep_data import write_sweep
from framework.journal.trials import so_far
from framework.local.data_directory import HOST, default_directory
from framework.master.advice import ON_HOSTS, advice_of
from framework.messages.requests import AGAIN_SECONDS, DRAIN_SECONDS, ControlRequest, ask
from framework.messages.status import read_status
from framework.project.project import Project
from framework.project.resources import Capacity, Resources, why_nowhere
from framework.worker.devices import usable_cpus


def run_plan(options: argparse.Namespace) -> int:
    if options.project is None:
        if options.root or options.run_cap:
            raise UsageError("--root and --run-cap need a project; write it behind 'plan'")
        plan = current_plan(options.journal, options.slots)
    else:
        project = load_project(options.project, options.name, root=options.root, run_cap=options.run_cap)
        for notice in notices_of(project, on_hosts=True):
            print(notice, file=sys.stderr)
        check_hosts(project, options.host)
        files = LocalFiles(default_directory(LOCAL_RUNS, project))
        journal = options.journal or (files.master.journal if files.master.journal.exists() else None)
        slots = {HOST: options.slots or max(1, int(usable_cpus()))}
        plan = make_plan(project, journal, slots, advice_of(run_command(options), files))
    print(plan.to_json() if options.json else plan)
    return 0


def current_plan(journal: Path | None = None, slots: int | None = None) -> Plan:
    """The plan of the running sweep."""
    files = MasterFiles(locations.DATA)
    hosts = {}
    if slots is None and is_master_alive(files):
        hosts = {name: host.slots for name, host in read_status(files.status).hosts.items() if host.is_usable}
    if not any(hosts.values()):
        hosts = {"": slots or 1}
    image = Code.current(locations.CODE).image
    return make_plan(current_project(), journal or files.journal, hosts, ON_HOSTS, image, locations.CODE)


def check_hosts(project: Project, hosts: Sequence[Sequence[str]]) -> None:
    """Raises UsageError if none of these hosts (name, CPUs, MiB of memory, GPUs) can ever run a task."""
    lacking = {}
    for name, *numbers in hosts:
        if not all(map(str.isdecimal, numbers)):
            raise UsageError(f"--host {name}: CPUs, MiB and GPUs have to be whole numbers")
        cpus, memory, gpus = map(int, numbers)
        capacity = Capacity(Fraction(cpus), memory * 2**20, [0] * gpus)
        lacking[name] = capacity.lacks(project.resources or Resources())
    if lacking and all(lacking.values()):
        raise UsageError(why_nowhere(project.name, lacking))


def run_watch(options: argparse.Namespace) -> int:
    since = time.time() - options.past
    watch(MasterFiles(locations.DATA), locations.CODE, progress_display(options.columns, since))
    return 0


def run_pause(_: argparse.Namespace) -> int:
    ask(MasterFiles(locations.DATA).requests, ControlRequest("pause"))
    print("the sweep is paused: nothing more is sent, running tasks are stopped and run again after 'resume'")
    return 0


def run_drain(options: argparse.Namespace) -> int:
    """Have hosts drained, and print for each what it has been sent that has not ended."""
    files, hosts = MasterFiles(locations.DATA), tuple(options.hosts)
    ask(files.requests, ControlRequest("drain", hosts=hosts, seconds=0 if options.end else DRAIN_SECONDS))
    known = read_status(files.status).hosts
    for name in hosts:
        host = known.get(name)
        running, waiting = (host.running, host.reserved) if host else (0, 0)
        unknown = "" if host else " (the master has not heard of it)"
        print(f"{name}: {running} running, {waiting} waiting{unknown}")
    return 0


def run_cancel(options: argparse.Namespace) -> int:
    if not options.tasks:
        raise UsageError("cancel: name tasks; to pause the whole sweep: framework pause")
    chosen = find_tasks(known_sweep(), options.tasks)
    ask(MasterFiles(locations.DATA).requests, ControlRequest("cancel", tuple(chosen)))
    print_states(chosen)
    return 0


def print_states(tasks: Sequence[tuple[int, str]]) -> None:
    with Journal(MasterFiles(locations.DATA).journal, read_only=True) as journal:
        records = journal.records([task for _, task in tasks])
    for number, task in tasks:
        state = records[task].state if task in records else "not known to the master"
        print(f"task {number + 1}, {task}: {state}")


def run_resume(_: argparse.Namespace) -> int:
    ask(MasterFiles(locations.DATA).requests, ControlRequest("resume"))
    print("\n".join(["the sweep is resumed", *current_plan().standing()]))
    return 0


def run_again(options: argparse.Namespace) -> int:
    if bool(options.tasks) == bool(options.which):
        raise UsageError("again: name tasks, or give one of --failed, --outdated and --fresh")
    wait_for_newest_code(MasterFiles(locations.DATA), locations.CODE)
    chosen = find_tasks(known_sweep(), options.tasks)
    ask(
        MasterFiles(locations.DATA).requests,
        ControlRequest("again", tuple(chosen), options.which),
        AGAIN_SECONDS,
    )
    if chosen:
        print_states(chosen)
    else:
        print("\n".join(current_plan().standing()))
    return 0


def run_recover(options: argparse.Namespace) -> int:
    files = MasterFiles(locations.DATA)
    project = load_project(options.project) if options.project else current_project()
    path = options.journal or files.journal
    with Journal(path) as journal:
        project = so_far(project, journal)
        recovery = recover(project, journal, options.directories)
        write_results(project, journal, path.parent / files.results.name)
    print(recovery.summary())
    if path == files.journal and is_master_alive(files):
        ask(files.requests, ControlRequest("reload"))
    return 0


def is_master_alive(files: MasterFiles) -> bool:
    try:
        read_status(files.status)
    except FrameworkError:
        return False
    return True


def run_best(options: argparse.Namespace) -> int:
    sweep = find_sweep(options.project)
    project = sweep.project
    with Journal(sweep.files.journal, read_only=True) as journal:
        if project.metric is None:
            print("project.yml names no metric: there is nothing to rank the results by", file=sys.stderr)
        else:
            sweep.warn_of_results(journal)
            print_best(project, journal, options.number)
        if options.failures:
            print_failures(project, journal, sweep.advice.log_place)
    return 0


def run_results(options: argparse.Namespace) -> int:
    sweep = KnownSweep.of_master()
    files, project = sweep.files, sweep.project
    path = files.all_results if options.all else files.results
    with Journal(files.journal, read_only=True) as journal:
        outdated = sweep.warn_of_results(journal)
        write_results(project, journal, path, removed=options.all)
        write_sweep(project, journal, files.sweep, outdated)
    return 0


def known_sweep() -> Project:
    """The current project with the combinations that are known now."""
    with Journal(MasterFiles(locations.DATA).journal, read_only=True) as journal:
        return so_far(current_project(), journal)
