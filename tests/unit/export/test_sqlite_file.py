"""SQLite files: their URLs, and what is said of those that are none."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from framework.errors import FrameworkError
from framework.export.sqlite_file import database_url, using


def test_any_name_is_that_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "it's 100%20 ?#&.db"
    engine = create_engine(database_url(file))
    with using(file), engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (x)"))
    engine.dispose()
    assert [each.name for each in tmp_path.iterdir()] == [file.name]


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    file = tmp_path / "nowhere" / "x.db"
    with (
        pytest.raises(FrameworkError, match=r"x.db: cannot be used as an SQLite file \(unable to open"),
        using(file),
    ):
        create_engine(database_url(file)).connect()
