"""Schema of the journal, and its migrations."""

from collections.abc import Iterator

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
SCHEMA = (
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


# By version: what makes the next one of it.
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


def updates(version: int) -> Iterator[str]:
    """The statements that bring a journal of an older schema up to date."""
    for older in range(version, VERSION):
        yield from _MIGRATIONS[older]
