"""SQLite files that other tools read through SQLAlchemy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from framework.errors import FrameworkError


def database_url(file: Path) -> str:
    """The URL of a file for SQLAlchemy, which reads '%' and '?' in it in its own way."""
    return f"sqlite:///{str(file.resolve()).replace('%', '%25').replace('?', '%3F')}"


@contextmanager
def using(file: Path) -> Iterator[None]:
    """Raise FrameworkError for a file that cannot be used as an SQLite database in the block."""
    try:
        yield
    except SQLAlchemyError as error:
        reason = getattr(error, "orig", None) or type(error).__name__
        raise FrameworkError(f"{file}: cannot be used as an SQLite file ({reason})") from error
