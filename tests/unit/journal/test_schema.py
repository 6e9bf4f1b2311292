"""Schema of the journal: newer ones are refused, older ones are brought up to date."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from journal_bench import FAILED, TASK, sent, state

from framework.errors import FrameworkError
from framework.journal.store import Journal


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield journal


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
    connection = sqlite3.connect(journal.path)
    for statement in (
        "DROP INDEX tasks_by_sweep",
        "DROP TABLE sweeps",
        "ALTER TABLE tasks DROP COLUMN sweep",
        "ALTER TABLE tasks DROP COLUMN first",
        "DROP TABLE programs",
        "DROP TABLE reports",
        "DROP INDEX tasks_by_number",
        "PRAGMA user_version = 1",
    ):
        connection.execute(statement)
    connection.close()
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
