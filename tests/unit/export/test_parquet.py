"""Parquet: what pandas reads back."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from framework.export.data_frame import frame_of
from framework.export.parquet import export
from framework.export.sweep_results import SweepResults


def test_types_and_what_has_to_be_said_survive(results: SweepResults, tmp_path: Path) -> None:
    assert export(results, tmp_path / "table.parquet") == f"pandas.read_parquet('{tmp_path}/table.parquet')"
    table, frame = pd.read_parquet(tmp_path / "table.parquet"), frame_of(results)
    assert table.attrs["notes"] == results.notes()
    assert list(table.columns) == list(frame.columns)
    for name in ("depth", "flag", "started", "accuracy", "attempts"):
        assert table[name].dtype == frame[name].dtype
    pd.testing.assert_frame_equal(
        table.drop(columns=["kernel", "note"]), frame.drop(columns=["kernel", "note"])
    )
    assert [json.loads(value) for value in table.kernel[:3]] == ["rbf", "rbf", [1, "a"]], (
        "several types: JSON"
    )
    assert table.note.tolist() == ["good", None, None, None, None, None]
