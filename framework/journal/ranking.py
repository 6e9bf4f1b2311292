"""Ranking of results by the project's metric."""

import heapq
import itertools
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from framework.errors import UsageError
from framework.journal.records import TaskRecord
from framework.journal.results_csv import shown
from framework.journal.store import Journal
from framework.messages.metrics import as_number
from framework.project.project import Project
from framework.space.sampling import SEED
from framework.space.values import Value, canonical

BEST_SHOWN = 5  # combinations, by default


def ranking(project: Project, journal: Journal, number: int) -> str:
    """The `number` best combinations as a table; with seeds, the means over them. Empty if there are none."""
    if project.search_space.seeds is None:
        records = best(project, journal, number)
        return render_best(project, records) if records else ""
    summaries = best_over_seeds(project, journal, number)
    return render_seeds(project, summaries) if summaries else ""


def best(project: Project, journal: Journal, number: int) -> list[TaskRecord]:
    """The `number` best done tasks by the project's metric and goal; tasks without that metric are left out.

    Raises UsageError if the project names no metric.
    """
    return [record for _, record in best_values(project, journal, number)]


def best_values(project: Project, journal: Journal, number: int) -> list[tuple[float, TaskRecord]]:
    """The tasks of best(), each behind its value of the metric. Raises UsageError as best() does."""
    return heapq.nsmallest(number, _scored(project, journal), key=lambda each: _sign(project) * each[0])


@dataclass(frozen=True)
class SeedSummary:
    """The project's metric over the seeds of one combination."""

    parameters: Mapping[str, Value]  # without the seed
    mean: float
    deviation: float | None  # standard deviation of the sample; None if there is only one
    number: int  # seeds that are done and have the metric


def best_over_seeds(project: Project, journal: Journal, number: int) -> list[SeedSummary]:
    """The `number` best combinations by the mean of the project's metric over their seeds.

    Raises UsageError if the project names no metric.
    """
    # The seed varies fastest: the tasks of one combination follow each other.
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
    """The project's metric of each task that is done and has it, in the order of the sweep."""
    metric = project.metric
    if metric is None:
        raise UsageError(
            "project.yml names no metric to rank by; add lines as 'metric: accuracy' and 'goal: maximize'"
        )
    for record in journal.ended_members():
        score = as_number(record.metrics.get(metric))
        if record.state == "done" and score is not None and math.isfinite(score):
            complete = replace(record, parameters=project.complete(record.number, record.parameters))
            yield score, complete


def _sign(project: Project) -> int:
    return -1 if project.goal == "maximize" else 1


def render_best(project: Project, records: Iterable[TaskRecord]) -> str:
    """The records as a table: the metric, then the metaparameters."""
    names = project.space.names
    rows = [
        [_cell(record.metrics[project.metric or ""]), *_cells(record.parameters, names), record.task]
        for record in records
    ]
    return _table([[project.metric or "", *names, "task"], *rows])


def render_seeds(project: Project, summaries: Iterable[SeedSummary]) -> str:
    """The summaries as a table: mean, standard deviation, number of seeds, the metaparameters."""
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


def _cell(value: Value) -> str:
    """A value in one line, harmless to a terminal."""
    text = shown(value)
    return text if text.isprintable() else repr(text)
