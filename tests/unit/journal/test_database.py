"""Schema of the journal: newer ones are refused, older ones are brought up to date."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from journal_bench import FAILED, TASK, count_combinations, sent, state
from master_bench import Bench

from framework.errors import FrameworkError
from framework.journal.database import VERSION, updates
from framework.journal.store import Journal


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield journal


DOWNGRADES = {
    3: (
        "DROP INDEX tasks_by_sweep",
        "DROP TABLE sweeps",
        "ALTER TABLE tasks DROP COLUMN sweep",
        "PRAGMA user_version = 2",
    ),
    2: (
        "ALTER TABLE tasks DROP COLUMN first",
        "DROP TABLE programs",
        "DROP TABLE reports",
        "DROP INDEX tasks_by_number",
        "PRAGMA user_version = 1",
    ),
}


def downgrade(path: Path, version: int) -> None:
    """Give a closed journal an older schema."""
    connection = sqlite3.connect(path)
    for newer in range(VERSION, version, -1):
        for statement in DOWNGRADES[newer]:
            connection.execute(statement)
    connection.close()


def schema_of(path: Path) -> list[tuple[str, str, list[str]]]:
    """All tables and indexes, and their columns."""
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT type, name FROM sqlite_master ORDER BY name").fetchall()
    columns = {
        name: [row[1] for row in connection.execute(f"PRAGMA table_info({name})")]
        or [row[2] for row in connection.execute(f"PRAGMA index_info({name})")]
        for _, name in found
    }
    connection.close()
    return [(kind, name, sorted(columns[name])) for kind, name in found]


def test_a_newer_journal_is_refused(journal: Journal) -> None:
    journal.close()
    connection = sqlite3.connect(journal.path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    for read_only in (True, False):
        with pytest.raises(FrameworkError, match="newer framework"):
            Journal(journal.path, read_only=read_only)


def test_an_older_journal_is_brought_up_to_date(journal: Journal) -> None:
    sent(journal)
    journal.finish(FAILED, final=True)
    journal.close()
    downgrade(journal.path, 1)
    with pytest.raises(FrameworkError, match="older framework"):
        Journal(journal.path, read_only=True)
    with Journal(journal.path) as updated:
        record = updated.get(TASK)
        assert record is not None
        assert (record.state, record.first, record.parameters["C"]) == ("failed", 1, 0.1)
        assert updated.again([TASK]) == 1
        updated.note_program("c1", "p1")
        assert sent(updated) == 2
        for step, value in ((3, math.nan), (3, 0.5), (9, math.inf)):
            updated.report(TASK, 2, step, value)
        reports = updated.reports()[TASK]
        assert math.isnan(reports[3])
        assert reports[9] == math.inf
        assert [each.task for each in updated.in_order()] == [TASK]
    with Journal(journal.path, read_only=True) as reader:
        assert state(reader) == "sent"
        assert reader.programs() == {"c1": "p1"}


@pytest.mark.parametrize("version", range(1, VERSION))
def test_an_updated_journal_has_the_schema_of_a_new_one(tmp_path: Path, version: int) -> None:
    for name in ("new", "old"):
        Journal(tmp_path / name).close()
    downgrade(tmp_path / "old", version)
    assert schema_of(tmp_path / "old") != schema_of(tmp_path / "new")
    Journal(tmp_path / "old").close()
    assert schema_of(tmp_path / "old") == schema_of(tmp_path / "new")
    with Journal(tmp_path / "old", read_only=True) as reader:
        assert reader._value("PRAGMA user_version") == VERSION


def test_updates_of_the_current_version_are_none() -> None:
    assert list(updates(VERSION)) == []


def test_a_master_takes_the_sweep_of_a_journal_of_schema_2_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bench.run_to_the_end({3: "failed"}) == [1, 2, 3, 4]
    bench.master.close()
    downgrade(bench.files.journal, 2)
    with pytest.raises(FrameworkError, match="older framework"):
        Journal(bench.files.journal, read_only=True)
    bench.write_project(x="[5, 4, 3, 2]")
    bench.master = bench.start()
    assert bench.run_to_the_end() == [5]
    assert (bench.status().done, bench.status().failed) == (3, 1)
    assert [row["x"] for row in bench.rows()] == ["5", "4", "3", "2"]
    bench.master.close()
    calls = count_combinations(monkeypatch)
    bench.master = bench.start()
    assert bench.run_to_the_end() == []
    assert calls == [], "its tasks are marked now"


def test_a_master_takes_the_attempts_under_way_of_a_journal_of_schema_2_up(bench: Bench) -> None:
    bench.messenger.beat("a", slots=2)
    (host, first), (_, second) = bench.turn()
    bench.master.close()
    downgrade(bench.files.journal, 2)
    bench.master = bench.start()
    bench.messenger.result(host, first)
    bench.messenger.beat("a", slots=2, running=[f"{second.task}.1"])
    ((_, third),) = bench.turn()
    assert third.parameters == {"x": 3}
    assert bench.status().done == 1
    bench.messenger.result(host, second)
    bench.messenger.result(host, third)
    assert bench.run_to_the_end() == [4]
    assert {row["attempts"] for row in bench.rows()} == {"1"}
