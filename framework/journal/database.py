"""SQLite database of the journal: schema, migrations, durable transactions."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote

from framework.errors import FrameworkError, JournalError

VERSION = 3
_PROGRAMS = "CREATE TABLE programs (code TEXT PRIMARY KEY, program TEXT NOT NULL)"
_BY_NUMBER = "CREATE INDEX tasks_by_number ON tasks (number, task)"
_REPORTS = """CREATE TABLE reports (
    task TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    step INTEGER NOT NULL,
    value REAL,
    PRIMARY KEY (task, attempt, step)
) WITHOUT ROWID"""
# The sweeps that this journal has served, the current one last. `definition`: a digest of what makes its
# combinations. `complete`: every task of the journal that belongs to the sweep is marked and numbered.
_SWEEPS = """CREATE TABLE sweeps (
    sweep INTEGER PRIMARY KEY,
    definition TEXT NOT NULL,
    complete INTEGER NOT NULL DEFAULT 0
)"""
_BY_SWEEP = "CREATE INDEX tasks_by_sweep ON tasks (sweep, number)"
_SCHEMA = (
    """CREATE TABLE tasks (
        task TEXT PRIMARY KEY,
        number INTEGER NOT NULL,
        parameters TEXT NOT NULL,
        state TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        host TEXT NOT NULL,
        sent REAL NOT NULL,
        started REAL,
        seconds REAL,
        exit_code INTEGER,
        reason TEXT NOT NULL DEFAULT '',
        code TEXT NOT NULL DEFAULT '',
        image TEXT NOT NULL DEFAULT '',
        metrics TEXT NOT NULL DEFAULT '{}',
        first INTEGER NOT NULL DEFAULT 1,
        sweep INTEGER NOT NULL DEFAULT 0
    )""",
    "CREATE INDEX tasks_by_state ON tasks (state, number)",
    """CREATE TABLE attempts (
        task TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        host TEXT NOT NULL,
        state TEXT NOT NULL,
        sent REAL,
        started REAL,
        seconds REAL,
        exit_code INTEGER,
        reason TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (task, attempt)
    ) WITHOUT ROWID""",
    _PROGRAMS,
    _BY_NUMBER,
    _REPORTS,
    _SWEEPS,
    _BY_SWEEP,
    f"PRAGMA user_version = {VERSION}",
)


# By version: the statements that make the next version of it.
_MIGRATIONS = {
    1: (
        "ALTER TABLE tasks ADD COLUMN first INTEGER NOT NULL DEFAULT 1",
        _PROGRAMS,
        _BY_NUMBER,
        _REPORTS,
        "PRAGMA user_version = 2",
    ),
    2: (
        "ALTER TABLE tasks ADD COLUMN sweep INTEGER NOT NULL DEFAULT 0",
        _SWEEPS,
        _BY_SWEEP,
        "PRAGMA user_version = 3",
    ),
}

_BUSY_SECONDS = 10.0
T = TypeVar("T", bound="Database")


class Database:
    """An open SQLite database in WAL mode with synchronous=FULL: what a batch wrote is on the disk after it.

    It may be used from several threads, one batch at a time. Every method raises JournalError if the database
    cannot be read or written now, and FrameworkError if it is damaged.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open the journal at `path`, created if it is missing and not read-only.

        Raises FrameworkError if it is missing and read-only, or was written by a newer framework.
        """
        self.path = path
        self._read_only = read_only
        self._lock = threading.RLock()
        self._depth = 0
        self._broken = False
        if read_only and not path.exists():
            raise FrameworkError(f"{path}: no journal; the master has not started here yet")
        with self._translated():
            self._connection = sqlite3.connect(
                f"file:{quote(str(path.absolute()))}?mode={'ro' if read_only else 'rwc'}",
                uri=True,
                timeout=_BUSY_SECONDS,
                isolation_level=None,  # transactions are begun by batch() alone
                check_same_thread=False,
            )
        self._connection.row_factory = sqlite3.Row
        try:
            self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def __enter__(self: T) -> T:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def batch(self) -> Iterator[None]:
        """One transaction: all that the block writes is on the disk after it, or nothing if the block raises.

        A batch within a batch is part of the outer one. If the journal failed inside, the end of the outer
        batch raises JournalError even if the first error was caught. Read-only: one unchanging view.
        """
        with self._lock:
            if self._depth:
                yield
                return
            self._broken = False
            self._execute("BEGIN" if self._read_only else "BEGIN IMMEDIATE")
            self._depth = 1
            try:
                yield
                self._execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise
            finally:
                self._depth = 0

    def _prepare(self) -> None:
        self._execute("PRAGMA synchronous = FULL")
        if not self._read_only and self._value("PRAGMA journal_mode = WAL") != "wal":
            raise FrameworkError(f"{self.path}: this file system cannot hold the journal; use a local disk")
        with self.batch():
            version = self._value("PRAGMA user_version")
            if version > VERSION:
                raise FrameworkError(
                    f"{self.path}: written by a newer framework (schema {version}, not {VERSION}); "
                    "push the newer code with update_files.sh"
                )
            if version == 0 and self._read_only:
                raise FrameworkError(
                    f"{self.path}: the journal is empty; the master has not started here yet"
                )
            if 0 < version < VERSION and self._read_only:
                raise FrameworkError(
                    f"{self.path}: written by an older framework; the master brings it up to date"
                )
            for statement in _SCHEMA if version == 0 else updates(version):
                self._execute(statement)

    def _execute(self, statement: str, *values: object) -> sqlite3.Cursor:
        with self._lock, self._translated():
            return self._connection.execute(statement, values)

    def _execute_many(self, statement: str, rows: Iterable[Sequence[object]]) -> int:
        """Execute a statement once for each row of values; returns the number of rows that it has changed."""
        with self._lock, self._translated():
            return self._connection.executemany(statement, rows).rowcount

    def _change(self, statement: str, *values: object) -> bool:
        return self._execute(statement, *values).rowcount > 0

    def _rows(self, statement: str, *values: object) -> list[sqlite3.Row]:
        with self._lock, self._translated():
            return self._connection.execute(statement, values).fetchall()

    def _value(self, statement: str) -> Any:
        return self._rows(statement)[0][0]

    def _row(self, statement: str, *values: object) -> sqlite3.Row | None:
        rows = self._rows(statement, *values)
        return rows[0] if rows else None

    @contextmanager
    def _translated(self) -> Iterator[None]:
        if self._depth and self._broken:
            # SQLite may have ended the transaction by itself: what is written now would stay.
            raise JournalError(f"{self.path}: an earlier write of this batch failed; nothing of it is kept")
        try:
            yield
        except sqlite3.OperationalError as error:
            self._broken = True
            raise JournalError(
                f"{self.path}: {error}; is the disk full, or the directory not writable?"
            ) from error
        except sqlite3.DatabaseError as error:
            self._broken = True
            raise FrameworkError(
                f"{self.path}: the journal is damaged ({error}); move it away to begin a new one"
            ) from error

    def _roll_back(self) -> None:
        # After a full disk SQLite may have done it already; a failure here must not hide the first one.
        if self._connection.in_transaction:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")


def updates(version: int) -> Iterator[str]:
    """The statements that bring a journal of an older schema up to date."""
    for older in range(version, VERSION):
        yield from _MIGRATIONS[older]
