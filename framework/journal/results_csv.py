"""Writer of results.csv."""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import IO

from framework.files import atomic_file
from framework.journal.records import TaskRecord
from framework.journal.store import Journal
from framework.project.project import Project
from framework.space.values import Value

_FIXED = ("task", "state", "attempts", "host", "started", "seconds", "exit_code", "code", "reason")


def write_results(project: Project, journal: Journal, path: Path, *, removed: bool = False) -> None:
    """Write results.csv: a row for each task of the journal's current sweep that has ended, in its order.

    Columns: the fixed ones, the metaparameters, then every metric that a task reported, the project's first.
    A name that is taken already becomes parameter.NAME or metric.NAME. With `removed` there follow the tasks
    that are not in the sweep any more, and the metaparameters that only they have. Raises OSError.
    """
    with journal.batch(), atomic_file(path) as file:
        metrics = sorted(journal.metric_names(), key=lambda name: (name != project.metric, name))
        names = list(project.space.names)
        if removed:
            names += sorted(journal.parameter_names() - {*names})
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        writer = csv.writer(_UnixLines(text))
        writer.writerow(column_names(names, metrics))
        for record in journal.ended_members():
            writer.writerow(_row(record, project.complete(record.number, record.parameters), names, metrics))
        for record in journal.ended_others() if removed else ():
            writer.writerow(_row(record, record.parameters, names, metrics))
        text.detach()  # flushes it; the file itself is closed by its owner


def column_names(parameters: Iterable[str], metrics: Iterable[str]) -> list[str]:
    """The header of results.csv, no name twice."""
    names = dict.fromkeys(_FIXED)
    for kind, own in (("parameter", parameters), ("metric", metrics)):
        for name in own:
            while name in names:
                name = f"{kind}.{name}"
            names[name] = None
    return list(names)


class _UnixLines:
    """Ends rows with a newline alone: csv.writer itself would not quote CR then, before Python 3.13."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, row: str) -> int:
        return self._file.write(row.removesuffix("\r\n") + "\n")


def _row(
    record: TaskRecord, complete: Mapping[str, Value], parameters: Iterable[str], metrics: Iterable[str]
) -> list[str]:
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
    return [*fixed, *_cells(complete, parameters), *_cells(record.metrics, metrics)]


def _cells(known: Mapping[str, Value], names: Iterable[str]) -> list[str]:
    return [shown(known[name]) if name in known else "" for name in names]


def shown(value: Value) -> str:
    if value is None or isinstance(value, bool | list | dict):
        return json.dumps(value, ensure_ascii=False)
    return value if isinstance(value, str) else repr(value)


def _timestamp(seconds: float) -> str:
    """ISO 8601 in UTC, to the millisecond."""
    moment = datetime.fromtimestamp(seconds, tz=timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
