"""Kept lines: the last objects, numbered over the lives of several processes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from framework.scheduler.kept_lines import KeptLines


def test_the_last_objects_are_kept_with_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "file"
    kept = KeptLines(path, most=2)
    kept.save()
    assert not path.exists(), "nothing to keep"
    assert [kept.add({"text": text}) for text in "abc"] == [1, 2, 3]
    kept.save()
    again = KeptLines(path, most=2)
    assert again.count == 3
    assert again.read() == [{"number": 2, "text": "b"}, {"number": 3, "text": "c"}]
    assert again.add({"text": "d"}) == 4


@pytest.mark.parametrize(
    "damage",
    [lambda path: path.write_text("{half"), lambda path: path.write_text("[" * 100_000), os.mkfifo],
    ids=["half", "nested", "pipe"],
)
def test_a_damaged_file_is_begun_anew(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    path = tmp_path / "file"
    damage(path)
    kept = KeptLines(path, most=2)
    kept.add({})
    kept.save()
    assert KeptLines(path, most=2).read() == [{"number": 1}]


def test_what_is_no_object_is_no_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text('[1]\n{"number": 1}\n')
    with pytest.raises(ValueError, match="no objects"):
        KeptLines(tmp_path / "file", most=2).read()
