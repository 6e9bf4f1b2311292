"""Shortage of disk space: an absolute figure, whatever the size of the disk."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from framework.worker.disk import LEAST_FREE_BYTES, disk_shortage


@pytest.mark.parametrize("total", [10**9, 20 * 10**12])
@pytest.mark.parametrize(
    ("free", "needed", "shortage"),
    [
        (LEAST_FREE_BYTES, None, ""),
        (LEAST_FREE_BYTES - 1, None, "only 199 MiB are free on its disk, of 200 MiB (free_disk)"),
        (2**30, 2**30, ""),
        (2**30 - 1, 2**30, "only 1023 MiB are free on its disk, of 1024 MiB (free_disk)"),
        (5 * 2**20, 2**20, ""),
    ],
)
def test_a_disk_lacks_space_below_what_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, total: int, free: int, needed: int | None, shortage: str
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(total=total, used=0, free=free))
    assert disk_shortage(Path("/"), needed) == shortage


def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    assert disk_shortage(tmp_path / "missing") == (
        f"{tmp_path / 'missing'} cannot be used (No such file or directory)"
    )
