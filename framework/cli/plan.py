"""Command `plan`: size of a sweep, results so far, and expected duration."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from framework.errors import FrameworkError
from framework.files import AttemptFiles
from framework.journal.provenance import Provenance, program_version
from framework.journal.store import Journal
from framework.journal.tally import tally_sweep
from framework.journal.trials import most_combinations, so_far
from framework.master.advice import Advice
from framework.messages.status import Estimate, expectation, outdated_results
from framework.project.command_line import unset_variables
from framework.project.outside_paths import outside_paths
from framework.project.project import Project
from framework.project.source_tree import SourceTree
from framework.project.variables import Variables
from framework.runner.environment import attempt_variables
from framework.scheduler.estimate import LATEST, Durations, estimate
from framework.scheduler.longest_first import learn_rest, longest_first
from framework.text import printable
from framework.worker.task_variables import SHARE_NAMES


@dataclass(frozen=True)
class Results:
    """Results of earlier runs for the combinations of a sweep, counted."""

    done: int
    failed: int
    cancelled: int
    pruned: int
    outdated: int  # done ones that other files of the project or another image have produced
    seconds: float | None  # median duration of a task; None if none is done


@dataclass(frozen=True)
class Plan:
    """Plan of a sweep: its size, and what is left to run."""

    project: str
    combinations: int
    metaparameters: tuple[str, ...]
    method: str
    examples: list[str]  # program of the first and of the last combination; empty if they are not known yet
    to_run: int
    slots: int  # assumed number of tasks that run at a time
    estimate: Estimate | None  # of what is left to run; None if it is unknown
    variables: Variables  # what tasks get beside the framework's own
    results: Results | None  # None without a journal
    mounts: list[str]  # directories of the hosts that tasks see
    setup: list[str]  # words of the command that runs on each host first
    renew: str  # what to type to renew outdated results
    notify: str = ""  # who is told what becomes of it

    @property
    def seconds(self) -> float | None:
        """Expected duration of what is left to run; None if it is unknown."""
        return self.estimate.seconds if self.estimate else None

    def to_json(self) -> str:
        content = asdict(self) | {"seconds": self.seconds}
        del content["renew"], content["variables"]
        content["environment"] = [*self.variables.values, *self.variables.passed]
        content["secrets"] = list(self.variables.secrets)
        return json.dumps(content, indent=2)

    def __str__(self) -> str:
        lines = [f"{self.project}: {self.combinations} combinations of {', '.join(self.metaparameters)}"]
        for number, example in zip((1, self.combinations), self.examples, strict=False):
            lines.append(f"  {number}: {printable(example)}")
        if not self.examples:
            lines.append(f"  {self.method} chooses each from the results so far, when a host has a free slot")
        lines += [f"  mounts {mount}" for mount in self.mounts]
        if self.setup:
            lines.append(f"  setup of each host: {printable(shlex.join(self.setup))}")
        if self.notify:
            lines.append(f"  notify: {self.notify}")
        return "\n".join(lines + [f"  {line}" for line in self.variables.lines() + self.standing()])

    def standing(self) -> list[str]:
        """Return lines that count the results and what is left to run; none without a journal."""
        if self.results is None:
            return []
        results = self.results
        cancelled = f", {results.cancelled} cancelled" if results.cancelled else ""
        cancelled += f", {results.pruned} pruned" if results.pruned else ""
        expected = ""
        if self.estimate:
            expected = f" with {self.slots} at a time, {expectation(self.estimate)}"
        elif self.to_run:
            expected = "; how long is not known yet"
        lines = [f"{results.done} done, {results.failed} failed{cancelled}; {self.to_run} to run{expected}"]
        if results.outdated:
            lines.append(outdated_results(results.outdated, results.done, self.renew))
        return lines


def notices_of(project: Project, on_hosts: bool) -> list[str]:
    """What people should know of a sweep before it runs; one line each."""
    notices = list(project.notices)
    method, combinations = project.method, most_combinations(project)
    if method.name != "grid" and method.run_cap is not None and combinations < method.run_cap:
        notices.append(
            f"{project.name}: run_cap is {method.run_cap}, but there are only {combinations} different "
            "combinations; none runs twice"
        )
    of_setup = {"SETUP_DIR": ""} if project.setup else {}
    of_task = attempt_variables(AttemptFiles(Path(), "", 1), Path(), {}, of_setup)
    for name in unset_variables(
        project.command, {*os.environ, *of_task, *SHARE_NAMES, *project.variables.names}
    ):
        notices.append(
            f"{project.name}: ${{envvar:{name}}} is not set here; as in W&B, {name} is passed then"
        )
    if not on_hosts and (keys := project.settings_of_hosts):
        notices.append(
            f"{project.name}: {' and '.join(f'{key}:' for key in keys)} "
            f"{'are' if len(keys) > 1 else 'is'} for hosts; tasks run here with what is installed here"
        )
    try:
        tree = SourceTree(project.path, project.ignore)
        return notices + outside_paths(project, tree, on_hosts) + tree.notices()
    except OSError as error:
        raise FrameworkError(f"{error.filename}: cannot be read: {error.strerror}") from error


def make_plan(
    project: Project,
    journal: Path | None,
    slots: Mapping[str, int],
    advice: Advice,
    image: str = "",
    code_root: Path | None = None,
) -> Plan:
    """Return the plan of a sweep; results are counted if a journal of earlier runs is given.

    `slots`: the number of tasks that run at a time, by host. `image` and `code_root`: see Provenance. Raises
    FrameworkError if the journal is missing or cannot be read.
    """
    space, total = project.space, most_combinations(project)
    results, ended, expected = None, 0, None
    if journal is not None:
        with Journal(journal, read_only=True) as opened:
            program = program_version(project.path, project.sweep_file, project.ignore, project.workdir)
            provenance = Provenance(opened, program, image, code_root)
            rest = learn_rest(project, opened)
            durations = rest.durations if rest else Durations(opened.latest_timed(LATEST))
            results, ended = _count(so_far(project, opened), opened, provenance, durations.median)
            sizes = [rest.sizes[number] for number in longest_first(rest.sizes)] if rest else []
            expected = estimate(durations, slots, (), total - ended, sizes)
    ends = {0, space.count - 1} if space.count else set()
    return Plan(
        project=project.name,
        combinations=total,
        metaparameters=tuple(space.names),
        method=project.method.name,
        examples=[project.shown(space.combination(number)) for number in sorted(ends)],
        to_run=total - ended,
        slots=sum(slots.values()),
        estimate=expected,
        variables=project.variables,
        results=results,
        setup=list(project.setup),
        mounts=[mount.shown for mount in project.mounts],
        renew=advice.renew,
        notify=project.notify.shown if project.notify else "",
    )


def _count(
    project: Project, journal: Journal, provenance: Provenance, seconds: float | None
) -> tuple[Results, int]:
    """The results of earlier runs, and how many combinations have ended."""
    tally = tally_sweep(project, journal, provenance)
    counts = (tally.done, tally.failed, tally.cancelled, tally.pruned, tally.outdated)
    return Results(*counts, seconds), tally.ended
