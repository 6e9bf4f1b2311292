"""Results of a sweep, as sweep.json and the files of tasks beside it have them."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from framework.errors import UsageError
from framework.export.sweep_checks import sweep_problem
from framework.files import LOCAL_RUNS, SWEEP_FILE
from framework.messages.metrics import Metric, as_number
from framework.web.curves import printed_metrics

_LARGEST_OUTPUT = 64 * 2**20  # bytes


@dataclass(frozen=True)
class TaskRun:
    """A task that has ended. Times are seconds since the epoch."""

    task: str
    number: int  # in the sweep, from 1
    state: str  # done, failed, pruned or cancelled
    host: str
    started: float | None
    ended: float | None
    reason: str
    code: str
    program: str  # the command line, or the call
    parameters: Mapping[str, Any]
    metrics: Mapping[str, Metric]  # the last value of each
    curves: Mapping[str, Sequence[float]]  # values of each metric that is a number, in their order

    @property
    def name(self) -> str:
        """A name that sorts as the sweep does, and is good for a file."""
        return f"{self.number:06d}-{self.task}"

    @property
    def texts(self) -> dict[str, str]:
        """The metrics that are text."""
        return {
            name: value
            for name, value in self.metrics.items()
            if isinstance(value, str) and as_number(value) is None
        }

    @property
    def facts(self) -> dict[str, str]:
        """What is known besides metaparameters and metrics, as text; what is empty is left out."""
        known = {
            "task": self.task, "number": str(self.number), "state": self.state, "host": self.host,
            "reason": self.reason, "code": self.code, "program": self.program,
        }  # fmt: skip
        return {name: text for name, text in known.items() if text}


@dataclass(frozen=True)
class SweepResults:
    """The results of a sweep."""

    directory: Path
    sweep: Mapping[str, Any]  # the content of sweep.json
    without_curves: Counter[str] = field(default_factory=Counter)  # of the runs so far, by the reason

    @classmethod
    def read(cls, given: Path) -> SweepResults:
        """Read a directory with results, or those of the local runs of a project. Raises UsageError."""
        directory = results_directory(given)
        return cls(directory, _read_sweep(directory / SWEEP_FILE))

    @property
    def project(self) -> str:
        return str(self.sweep["project"])

    @property
    def metric(self) -> str | None:
        """The project's metric, if it names one."""
        metric: str | None = self.sweep["metric"]
        return metric

    @property
    def is_minimized(self) -> bool:
        return bool(self.sweep["goal"] == "minimize")

    @property
    def tasks(self) -> list[dict[str, Any]]:
        """The tasks that have ended, in the order of the sweep."""
        tasks: list[dict[str, Any]] = self.sweep["tasks"]
        return tasks

    def scored(self) -> list[tuple[dict[str, Any], float]]:
        """The tasks that are done and have the metric as a finite number, with it, the best one first."""
        found = []
        for task in self.tasks if self.metric is not None else ():
            value = as_number(task["metrics"].get(self.metric))
            if task["state"] == "done" and value is not None and math.isfinite(value):
                found.append((task, value))
        return sorted(found, key=lambda each: each[1], reverse=not self.is_minimized)

    def best_first(self) -> list[dict[str, Any]]:
        """All tasks that have ended: those with the metric, the best one first, then the others."""
        best = [task for task, _ in self.scored()]
        names = {task["task"] for task in best}
        return [*best, *(task for task in self.tasks if task["task"] not in names)]

    def runs(self) -> Iterator[TaskRun]:
        """The tasks that have ended, in the order of the sweep, with the values that they have printed."""
        for task in self.tasks:
            started, seconds = task["started"], task["seconds"]
            yield TaskRun(
                task=task["task"],
                number=task["number"],
                state=task["state"],
                host=task["host"],
                started=started,
                ended=None if started is None or seconds is None else started + seconds,
                reason=task["reason"],
                code=task["code"],
                program=task["program"],
                parameters=task["parameters"],
                metrics=task["metrics"],
                curves=self._curves(task),
            )

    def _curves(self, task: Mapping[str, Any]) -> dict[str, list[float]]:
        """The values that a task has printed of each metric that has a last value, which ends them."""
        curves: dict[str, list[float]] = {}
        directory = self.directory / "tasks" / task["task"]
        try:
            for line in printed_metrics(directory, self.metric, _LARGEST_OUTPUT):
                for name, value in line.items():
                    if name in task["metrics"] and (number := as_number(value)) is not None:
                        curves.setdefault(name, []).append(number)
        except OSError:
            self.without_curves["has no stdout here"] += 1
        except ValueError as error:
            self.without_curves[f"has a stdout that is {error}"] += 1
        for name, value in task["metrics"].items():
            last = as_number(value)
            if last is None:
                curves.pop(name, None)
            elif name not in curves or not _is_same(curves[name][-1], last):
                curves.setdefault(name, []).append(last)
        return curves

    def notes(self) -> list[str]:
        """What has to be said before the results: how many there are, what is missing, what is outdated."""
        sweep = self.sweep
        states = Counter(task["state"] for task in self.tasks)
        counted = ", ".join(f"{number} {state}" for state, number in states.most_common())
        moment = datetime.fromtimestamp(sweep["written"], tz=timezone.utc)
        notes = [
            f"{self.project}: {len(self.tasks)} of {sweep['combinations']} combinations have ended"
            f"{f' ({counted})' if counted else ''}, as of {moment:%Y-%m-%d %H:%M} UTC"
        ]
        if self.metric is None:
            notes.append("project.yml names no metric: in the order of the sweep")
        else:
            notes.append(f"{self.metric}: {sweep['goal']}; the best one first")
        if len(self.tasks) < sweep["combinations"]:
            notes.append(f"partial: {len(sweep['under_way'])} more are under way, the others wait")
        if not sweep.get("complete", True):
            notes.append("partial: the master still counted the results of the changed sweep")
        if sweep["warning"]:
            notes.append(sweep["warning"])
        if "outdated" not in sweep:
            notes.append("an older version has written this: whether results are outdated is not known")
        elif sweep["outdated"]:
            notes.append(
                f"outdated: {sweep['outdated']} of {states['done']} results were made with other files of "
                "the project, or in another image; the column code says which"
            )
        return [note if note.isprintable() else repr(note) for note in notes]


def results_directory(given: Path) -> Path:
    """The directory that has the results: `given`, or that of the local runs of a project.

    Raises UsageError if it has none, ProjectError for a project that is invalid.
    """
    if (given / SWEEP_FILE).is_file():
        return given
    if not given.exists():
        raise UsageError(f"{given}: no such directory; name a project, or a directory with results")
    if (given / "results.csv").is_file():
        raise UsageError(
            f"{given}: has no {SWEEP_FILE}, since an older version has written it; run the project, or "
            "get_results.sh, again"
        )
    if given.is_dir() and not (given / "project.yml").exists():
        raise UsageError(f"{given}: has neither {SWEEP_FILE}, as results have, nor a project.yml")
    directory = _local_runs(given)
    if not (directory / SWEEP_FILE).is_file():
        raise UsageError(
            f"{given}: has no results of local runs in {directory}; 'framework run' makes them; "
            "those of hosts are where get_results.sh has put them"
        )
    return directory


def _local_runs(project: Path) -> Path:
    # Not needed, and slow to import, where a directory with results is given.
    from framework.configuration.load import load_project
    from framework.local.data_directory import default_directory

    return default_directory(LOCAL_RUNS, load_project(project, is_run_here=False))


def _read_sweep(path: Path) -> dict[str, Any]:
    """The content of sweep.json; raises UsageError if it cannot be read."""
    try:
        sweep = json.loads(path.read_text(encoding="utf-8"))
        if sweep["version"] == 1:
            # Ids name files that are read, and what an export writes and removes; a host has sent them.
            if problem := sweep_problem(sweep):
                raise ValueError(problem)
            return dict(sweep)
    except (OSError, ValueError, KeyError, RecursionError, TypeError) as error:
        raise UsageError(f"{path}: cannot be read ({error})") from error
    raise UsageError(f"{path}: is of another version of this tool")


def _is_same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))
