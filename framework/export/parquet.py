"""Parquet file of the results of a sweep."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pyarrow  # noqa: F401  # pandas writes with it

from framework.export.data_frame import frame_of
from framework.export.sweep_results import SweepResults
from framework.files import atomic_file

_TEXT = (str, type(None), type(pd.NA))  # what a column of texts can hold


def export(results: SweepResults, target: Path) -> str:
    """Write the data frame of framework.results(); a column of several types has JSON. Raises OSError."""
    frame = frame_of(results)
    table = pd.DataFrame(frame)
    table.attrs = frame.attrs  # they are written, too
    for name in frame.columns:
        if frame[name].dtype == object and not all(isinstance(value, _TEXT) for value in frame[name]):
            table[name] = [None if value is pd.NA else json.dumps(value) for value in frame[name]]
    with atomic_file(target, fsync=False) as file:
        table.to_parquet(file)
    return f"pandas.read_parquet({str(target)!r})"
