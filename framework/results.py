"""What comes out of a set: results.csv, and the best combinations."""

import csv
import heapq
import io
import itertools
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import IO

from framework.adaptive import so_far
from framework.census import PAGE, tasks_of
from framework.errors import UsageError
from framework.files import atomic_file
from framework.journal import ENDED, Journal, TaskRecord
from framework.method import SEED
from framework.project import Project
from framework.space import Value, canonical

_FIXED = ("task", "state", "attempts", "host", "started", "seconds", "exit_code", "code", "reason")

BEST_SHOWN = 5  # combinations, if nobody says how many


def write_results(project: Project, journal: Journal, path: Path, *, removed: bool = False) -> None:
    """Write results.csv: a row for each combination of the project that has ended, in the order of the set.

    Columns: the fixed ones, the metaparameters, then every metric that a task reported, the project's first.
    A name that is taken already becomes parameter.NAME or metric.NAME. With `removed` there follow the tasks
    that are not in the set any more, and the metaparameters that only they have. Raises OSError.
    """
    with journal.batch(), atomic_file(path) as file:
        metrics = sorted(journal.metric_names(), key=lambda name: (name != project.metric, name))
        names = list(project.space.names)
        if removed:
            names += sorted(journal.parameter_names() - {*names})
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        writer = csv.writer(_UnixLines(text))
        writer.writerow(column_names(names, metrics))
        of_the_set = set()
        for record in ended(project, journal):
            writer.writerow(_row(record, names, metrics))
            if removed:
                of_the_set.add(record.task)
        for record in journal.ended() if removed else ():
            if record.task not in of_the_set:
                writer.writerow(_row(record, names, metrics))
        text.detach()  # flushes it; the file itself is closed by its owner


def ended(project: Project, journal: Journal) -> Iterator[TaskRecord]:
    """The records of the project's combinations that have ended, in the order of the set."""
    project = so_far(project, journal)
    for start in range(0, project.space.count, PAGE):
        page = tasks_of(project, range(start, min(start + PAGE, project.space.count)))
        records = journal.records(page)
        yield from (records[task] for task in page if task in records and records[task].state in ENDED)


def ranking(project: Project, journal: Journal, number: int) -> str:
    """The `number` best combinations as a table for people; over the seeds if there are any."""
    if project.search_space.seeds is None:
        return render_best(project, best(project, journal, number))
    return render_seeds(project, best_over_seeds(project, journal, number))


def best(project: Project, journal: Journal, number: int) -> list[TaskRecord]:
    """The `number` best done tasks by the project's metric and goal; those without that metric are left out.

    Raises UsageError if the project names no metric.
    """
    scored = _scored(project, journal)
    return [
        record for _, record in heapq.nsmallest(number, scored, key=lambda each: _sign(project) * each[0])
    ]


@dataclass(frozen=True)
class SeedSummary:
    """The project's metric over the seeds of one combination."""

    parameters: Mapping[str, Value]  # without the seed
    mean: float
    deviation: float | None  # of the sample; None if there is only one
    number: int  # of the seeds that are done and have the metric


def best_over_seeds(project: Project, journal: Journal, number: int) -> list[SeedSummary]:
    """The `number` best combinations by the mean of the project's metric over their seeds.

    Raises UsageError if the project names no metric.
    """
    # the seed varies fastest, so that those of one combination follow each other
    groups = itertools.groupby(_scored(project, journal), key=lambda each: canonical(_without_seed(each[1])))
    summaries = (_summary(list(group)) for _, group in groups)
    return heapq.nsmallest(number, summaries, key=lambda summary: _sign(project) * summary.mean)


def _summary(scored: Sequence[tuple[float, TaskRecord]]) -> SeedSummary:
    scores = [score for score, _ in scored]
    deviation = statistics.stdev(scores) if len(scores) > 1 else None
    return SeedSummary(_without_seed(scored[0][1]), statistics.fmean(scores), deviation, len(scores))


def _without_seed(record: TaskRecord) -> dict[str, Value]:
    return {name: value for name, value in record.parameters.items() if name != SEED}


def _scored(project: Project, journal: Journal) -> Iterator[tuple[float, TaskRecord]]:
    """The project's metric of each task that is done and has it, in the order of the set."""
    metric = project.metric
    if metric is None:
        raise UsageError("project.yml names no metric to rank by; add a line such as 'metric: accuracy'")
    for record in ended(project, journal):
        if record.state == "done" and _is_number(record.metrics.get(metric)):
            yield float(record.metrics[metric]), record


def _sign(project: Project) -> int:
    return -1 if project.goal == "maximize" else 1


def render_best(project: Project, records: Iterable[TaskRecord]) -> str:
    """The records as a table for people: the metric, then the metaparameters."""
    names = project.space.names
    rows = [
        [_cell(record.metrics[project.metric or ""]), *_cells(record.parameters, names), record.task]
        for record in records
    ]
    return _table([[project.metric or "", *names, "task"], *rows])


def render_seeds(project: Project, summaries: Iterable[SeedSummary]) -> str:
    """The summaries as a table for people: mean, standard deviation, number of seeds, the metaparameters."""
    names = [name for name in project.space.names if name != SEED]
    rows = []
    for each in summaries:
        deviation = "" if each.deviation is None else f"{each.deviation:.2g}"
        rows.append([f"{each.mean:.6g}", deviation, str(each.number), *_cells(each.parameters, names)])
    return _table([[f"mean {project.metric or ''}", "deviation", "seeds", *names], *rows])


def _cells(parameters: Mapping[str, Value], names: Iterable[str]) -> list[str]:
    """A cell for each name; empty for a metaparameter that the combination does not have."""
    return [_cell(parameters[name]) if name in parameters else "" for name in names]


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def column_names(parameters: Iterable[str], metrics: Iterable[str]) -> list[str]:
    """The header of results.csv, no name twice."""
    names = list(_FIXED)
    for kind, own in (("parameter", parameters), ("metric", metrics)):
        for name in own:
            while name in names:
                name = f"{kind}.{name}"
            names.append(name)
    return names


class _UnixLines:
    """Ends rows with a newline alone; told to, csv.writer of Python < 3.13 quotes no carriage returns."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, row: str) -> int:
        return self._file.write(row.removesuffix("\r\n") + "\n")


def _row(record: TaskRecord, parameters: Iterable[str], metrics: Iterable[str]) -> list[str]:
    fixed = [
        record.task,
        record.state,
        str(record.attempts),
        record.host,
        "" if record.started is None else _timestamp(record.started),
        "" if record.seconds is None else f"{record.seconds:.3f}",
        "" if record.exit_code is None else str(record.exit_code),
        record.code,
        record.reason,
    ]
    values: list[Value | None] = [record.parameters.get(name) for name in parameters]
    values += [record.metrics.get(name) for name in metrics]
    return [*fixed, *("" if value is None else _shown(value) for value in values)]


def _shown(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else repr(value)


def _cell(value: Value) -> str:
    """A value in one line, harmless to a terminal."""
    shown = _shown(value)
    return shown if shown.isprintable() else repr(shown)


def _timestamp(seconds: float) -> str:
    """ISO 8601 in UTC, to the millisecond."""
    moment = datetime.fromtimestamp(seconds, tz=timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
