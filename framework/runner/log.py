"""Log of a runner: the attempts that it was given, and their outcomes.

It survives the death of both sides. Each line is a seal and a record, as JSON. The seal is an HMAC-SHA256 of
the record with a key that the worker keeps where tasks cannot read: a line that a crash has torn, or that a
task has written, is not believed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from framework.files import make_directory, sync_directory

log = logging.getLogger(__name__)

_SMALL = 2**16  # bytes up to which the log is not emptied
_LARGE = 2**25  # bytes from which it is written anew, at least
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass
class Entry:
    """What the runner knows of one attempt."""

    context: Any
    started: float | None = None  # Unix time
    ended: dict[str, Any] | None = None  # fields of its Execution


class RunnerLog:
    """Append-only file of records; those of attempts that are forgotten are removed when it is convenient."""

    def __init__(self, path: Path, key: bytes) -> None:
        """Read what is in `path`. Raises OSError."""
        self.entries: dict[str, Entry] = {}
        self._path = path
        self._key = key
        self._pending: list[bytes] = []
        self._large = _LARGE  # bytes from which it is written anew
        self._size = 0  # bytes of whole lines
        self._is_unsynced = False
        make_directory(path.parent)
        _remove_foreign(path)
        self._file = os.open(path, _FLAGS, 0o600)
        sync_directory(path.parent)
        self._read()
        if not self.entries:
            self._empty()

    def close(self) -> None:
        os.close(self._file)

    # Changes of entries; each is durable after the next sync().

    def give(self, attempt: str, context: Any) -> Entry:
        entry = self.entries[attempt] = Entry(context)
        self._append(given=attempt, context=context)
        return entry

    def start(self, attempt: str, when: float) -> None:
        self.entries[attempt].started = when
        self._append(started=attempt, when=when)

    def end(self, attempt: str, execution: dict[str, Any]) -> None:
        """Write what became of an attempt at once, so that it outlives this process."""
        self.entries[attempt].ended = execution
        self._append(ended=attempt, execution=execution)
        with suppress(OSError):  # sync() tries it again, and raises it
            self._write_pending()

    def forget(self, attempt: str) -> None:
        if self.entries.pop(attempt, None) is not None:
            self._append(forgotten=attempt)

    def sync(self) -> None:
        """Have the disk hold all changes until now. Raises OSError; then it is to be called again."""
        self._write_pending()
        if self._is_unsynced:
            os.fdatasync(self._file)
            self._is_unsynced = False
            self._shrink()

    def _append(self, **record: Any) -> None:
        self._pending.append(self._line(record))

    def _write_pending(self) -> None:
        if not self._pending:
            return
        if os.fstat(self._file).st_size > self._size:
            os.ftruncate(self._file, self._size)  # what is torn, from a crash or from a disk that was full
        content = b"".join(self._pending)
        _write(self._file, content)
        self._size += len(content)
        self._pending = []
        self._is_unsynced = True

    def _line(self, record: dict[str, Any]) -> bytes:
        text = json.dumps(record, separators=(",", ":")).encode()
        return self._seal(text) + b" " + text + b"\n"

    def _seal(self, text: bytes) -> bytes:
        return hmac.new(self._key, text, hashlib.sha256).hexdigest().encode()

    def _shrink(self) -> None:
        """Remove records of attempts that are forgotten, once they are many."""
        if self._size > _SMALL and not self.entries:
            self._empty()
        elif self._size > self._large:
            try:
                self._rewrite()
            except OSError as error:  # the disk is full: it goes on growing
                log.warning("%s: cannot be written anew: %s", self._path, error.strerror)
            self._large = max(_LARGE, 2 * self._size)

    def _empty(self) -> None:
        os.ftruncate(self._file, 0)
        self._size = 0

    def _rewrite(self) -> None:
        """Replace the file by one that holds only what is not forgotten. Raises OSError."""
        lines = []
        for attempt, entry in self.entries.items():
            lines.append(self._line({"given": attempt, "context": entry.context}))
            if entry.started is not None:
                lines.append(self._line({"started": attempt, "when": entry.started}))
            if entry.ended is not None:
                lines.append(self._line({"ended": attempt, "execution": entry.ended}))
        new = self._path.with_name(f".{self._path.name}.new")
        with suppress(FileNotFoundError):
            new.unlink()
        file = os.open(new, _FLAGS | os.O_EXCL, 0o600)
        try:
            _write(file, b"".join(lines))
            os.fdatasync(file)
            os.replace(new, self._path)
        except OSError:
            os.close(file)
            raise
        os.close(self._file)
        self._file = file
        self._size = os.fstat(file).st_size
        sync_directory(self._path.parent)

    # Reading.

    def _read(self) -> None:
        ignored = 0
        with open(self._path, "rb") as file:
            for line in file:
                is_whole = line.endswith(b"\n")
                self._size += len(line) if is_whole else 0
                seal, _, text = line.rstrip(b"\n").partition(b" ")
                if is_whole and hmac.compare_digest(seal, self._seal(text)):
                    self._take(json.loads(text))
                elif line.strip():
                    ignored += 1
        if ignored:
            log.warning("%s: %d lines are ignored: torn, or not the runner's own", self._path, ignored)

    def _take(self, record: dict[str, Any]) -> None:
        if "given" in record:
            self.entries[record["given"]] = Entry(record["context"])
        elif "forgotten" in record:
            self.entries.pop(record["forgotten"], None)
        elif "started" in record and record["started"] in self.entries:
            self.entries[record["started"]].started = record["when"]
        elif "ended" in record and record["ended"] in self.entries:
            self.entries[record["ended"]].ended = record["execution"]


def _write(file: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(file, left) :]


def _remove_foreign(path: Path) -> None:
    """Remove what is no file of ours: a task has put it there. Raises OSError."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.is_symlink() or (path.exists() and not path.is_file()):
        path.unlink()


def running_since(path: Path) -> list[float]:
    """Return the Unix times at which the attempts began that run, for people to be told.

    The seals are not checked. Empty if there is no log.
    """
    starts: dict[str, float] = {}
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return []
    for line in lines:
        try:
            record = json.loads(line.partition(b" ")[2])
            if "started" in record:
                starts[record["started"]] = float(record["when"])
            for end in ("ended", "forgotten"):
                starts.pop(record.get(end), None)
        except (ValueError, TypeError, AttributeError, KeyError):
            continue  # torn
    return list(starts.values())
