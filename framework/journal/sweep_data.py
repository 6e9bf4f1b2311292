"""Writer of sweep.json: results of a sweep with the types of their values."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from framework.files import atomic_file
from framework.journal.records import TaskRecord
from framework.journal.store import Journal
from framework.journal.trials import most_combinations
from framework.journal.unreported_metric import metric_warning
from framework.project.project import Project

VERSION = 1  # of the format


def write_sweep(project: Project, journal: Journal, path: Path, outdated: int) -> None:
    """Write the tasks of the journal's current sweep that have ended or are under way, and all attempts.

    `outdated`: the number of done tasks that other files of the project, or another image, have made.
    Tasks are in the order of the sweep, `attempts` in no order; times are seconds since the epoch. A metric
    that is no finite number is a text. Raises OSError.
    """
    with journal.batch(), atomic_file(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        head = json.dumps(_head(project, journal, outdated), ensure_ascii=False)
        text.write(f'{head[:-1]}, "tasks": [')
        _write_items(text, (_task(project, record) for record in journal.ended_members()))
        text.write('], "under_way": [')
        _write_items(text, _under_way(project, journal))
        text.write('], "attempts": [')
        _write_items(text, map(asdict, journal.member_attempts()))
        text.write("]}\n")
        text.detach()  # flushes it; the file itself is closed by its owner


def _head(project: Project, journal: Journal, outdated: int) -> dict[str, Any]:
    return {
        "version": VERSION,
        "project": project.name,
        "metric": project.metric,
        "goal": project.goal,
        "written": time.time(),
        "combinations": most_combinations(project),
        "parameters": list(project.space.names),
        "metrics": sorted(journal.metric_names(), key=lambda name: (name != project.metric, name)),
        "warning": metric_warning(project, journal),
        "outdated": outdated,
        "complete": journal.is_sweep_complete(),  # false: results of a changed sweep are still being counted
    }


def _task(project: Project, record: TaskRecord) -> dict[str, Any]:
    return {
        "task": record.task,
        "number": record.number + 1,
        "state": record.state,
        "attempts": record.attempts,
        "host": record.host,
        "started": record.started,
        "seconds": record.seconds,
        "exit_code": record.exit_code,
        "code": record.code,
        "reason": record.reason,
        "parameters": project.complete(record.number, record.parameters),
        "metrics": record.metrics,
        "program": project.shown(record.parameters),
    }


def _under_way(project: Project, journal: Journal) -> Iterator[dict[str, Any]]:
    attempts = journal.under_way()
    records = journal.records([attempt.task for attempt in attempts])
    for attempt in attempts:
        task = _task(project, records[attempt.task])
        yield {**task, "host": attempt.host, "attempts": attempt.attempt, "started": attempt.started}


def _write_items(file: IO[str], items: Iterable[Mapping[str, Any]]) -> None:
    separator = "\n"
    for item in items:
        file.write(f"{separator}{json.dumps(item, ensure_ascii=False)}")
        separator = ",\n"
