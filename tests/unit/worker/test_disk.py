"""Shortage of disk space: an absolute minimum, and a share of large disks."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from framework.worker.disk import LEAST_FREE_BYTES, disk_shortage


@pytest.mark.parametrize(
    ("total", "free", "shortage"),
    [
        (10**9, LEAST_FREE_BYTES, ""),
        (10**9, LEAST_FREE_BYTES - 1, "only 199 MB are free on its disk, of 200 MB that are needed"),
        (100 * 10**9, 10**9, ""),
        (100 * 10**9, 10**9 - 1, "only 999 MB are free on its disk, of 1000 MB that are needed"),
    ],
)
def test_a_disk_lacks_space_below_a_minimum_or_a_share_of_it(
    monkeypatch: pytest.MonkeyPatch, total: int, free: int, shortage: str
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(total=total, used=0, free=free))
    assert disk_shortage(Path("/")) == shortage


def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    assert disk_shortage(tmp_path / "missing") == (
        f"{tmp_path / 'missing'} cannot be used (No such file or directory)"
    )
