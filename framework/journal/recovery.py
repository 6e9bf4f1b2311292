"""Recovery of a journal from the results on the disks of workers."""

from __future__ import annotations

import errno
import json
import logging
import os
import stat
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from framework.errors import FrameworkError, MessageError, UsageError
from framework.files import AttemptFiles, WorkerFiles
from framework.journal.records import ENDED
from framework.journal.store import Journal
from framework.messages.assignment import AttemptResult
from framework.project.project import Project

log = logging.getLogger(__name__)

_MOST_ATTEMPTS = 1_000_000  # of a task; a program may have written what is found, and the next one counts on
_PAGE = 512  # combinations looked up, and written, at once
_LARGEST = 4 << 20  # bytes of a result; 500 metrics of 200 characters each need a fraction of it
_SPOOL = WorkerFiles(Path()).spool.name
_RESULT = AttemptFiles(Path(), "", 0).result.name


@dataclass
class Recovery:
    """The results that were found, taken and skipped."""

    found: int = 0
    taken: int = 0
    skipped: Counter[str] = field(default_factory=Counter)  # by reason
    ended: int = 0  # tasks of the sweep with a terminal record

    def summary(self) -> str:
        lines = [
            f"{self.found} results found, {self.taken} taken; {self.ended} tasks of the sweep have ended"
        ]
        lines += [f"{count} skipped: {why}" for why, count in sorted(self.skipped.items())]
        return "\n".join(lines)


def recover(project: Project, journal: Journal, directories: Sequence[Path]) -> Recovery:
    """Write all results under `directories` that belong to the project into the journal.

    The same rules hold as for results from the broker: an attempt that is done ends its task, one that failed
    ends it if it was tried as often as the project allows, and a terminal record is never overwritten.
    Raises UsageError if a directory does not exist.
    """
    for directory in directories:
        if not directory.is_dir():
            raise UsageError(f"{directory}: no such directory")
    recovery = Recovery()
    files: dict[str, list[Path]] = {}
    for file in find_results(directories):
        recovery.found += 1
        try:
            result = _read(file, project)
        except (FrameworkError, OSError, ValueError, RecursionError) as error:
            log.warning("%s: %s", file, error)
            recovery.skipped[_kind(error)] += 1
        else:
            files.setdefault(result.task, []).append(file)
    journal.open_sweep(project.definition)
    numbers = iter(range(project.space.count))
    while page := list(islice(numbers, _PAGE)):
        with journal.batch():
            tasks = {project.task_id(project.space.combination(number)): number for number in page}
            for task, number in tasks.items():
                if task in files:
                    _take(project, journal, number, task, files.pop(task), recovery)
            records = journal.records(list(tasks))
            journal.mark((tasks[task], task) for task in records)
            recovery.ended += sum(record.state in ENDED for record in records.values())
    journal.complete_sweep()
    others = sum(map(len, files.values()))
    if others:
        recovery.skipped["their tasks are not in the sweep as it is now"] = others
    return recovery


def find_results(directories: Iterable[Path]) -> Iterator[Path]:
    """Every file that can hold a result: result.json of attempts, and the spools of workers."""
    seen = set()
    for directory in directories:
        for path, folders, names in os.walk(directory):
            folders.sort()
            if _RESULT in names:
                folders.clear()  # below it are only files of the task
                names = [_RESULT]
            elif Path(path).name != _SPOOL:
                continue
            for file in (Path(path) / name for name in sorted(names) if name.endswith(".json")):
                # The directory's links are followed, not the file's own: what a task left is not opened so.
                known = Path(os.path.realpath(path), file.name)
                if known not in seen:
                    seen.add(known)
                    yield file


def _read(file: Path, project: Project) -> AttemptResult:
    result = AttemptResult.from_message(json.loads(_content(file)))
    if result.project != project.name:
        raise UsageError("they belong to another project")
    if result.attempt > _MOST_ATTEMPTS:
        raise UsageError("the numbers of their attempts are impossible")
    return result


def _content(file: Path) -> bytes:
    """Read a file that a task may have put there: a link, a FIFO, a file without an end."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link; a socket, or a device that is not there
            raise UsageError("they are no regular files") from error
        raise
    with open(descriptor, "rb") as opened:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UsageError("they are no regular files")
        content = opened.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise UsageError(f"they are larger than {_LARGEST >> 20} MiB")
    return content


def _kind(error: Exception) -> str:
    match error:
        case UsageError():
            return str(error)
        case OSError():
            return f"they cannot be read ({error.strerror})"
        case MessageError():
            return "they are not exactly results"
        case _:
            return "they are no JSON"


def _take(
    project: Project, journal: Journal, number: int, task: str, files: Sequence[Path], recovery: Recovery
) -> None:
    """Write the results of one task; if several attempts are done, the last one counts."""
    results = [_read(file, project) for file in files]
    results.sort(key=lambda result: (result.attempt, result.started))
    done = [result for result in reversed(results) if result.state == "done"]
    results = done + [result for result in results if result.state != "done"]
    journal.adopt(task, number, project.space.combination(number), time.time())
    for result in results:
        if not journal.is_new(result):
            recovery.skipped["they are in the journal already"] += 1
            continue
        failures = journal.attempts_ended(task, ("failed", "timeout")) + (result.state != "stopped")
        journal.finish(result, final=result.state != "stopped" and project.gives_up_after(failures))
        recovery.taken += 1
