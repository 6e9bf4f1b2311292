"""Data frame of the results of a sweep: types as in sweep.json, the best row first."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from framework.export.sweep_results import SweepResults
from framework.journal.results_csv import column_names
from framework.messages.metrics import as_number

_INT64 = range(-(2**63), 2**63)
_LAST = ("state", "attempts", "host", "started", "seconds", "exit_code", "code", "reason", "task")


class Results(pd.DataFrame):
    """A data frame that says what its rows are, and what is missing; what is made of it is a plain one."""

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        plain: type[pd.DataFrame] = pd.DataFrame
        return plain

    @property
    def notes(self) -> list[str]:
        """What has to be known of the results."""
        return list(self.attrs["notes"])

    def __repr__(self) -> str:
        return "\n".join([*self.notes, super().__repr__()])

    def _repr_html_(self) -> str | None:
        table = super()._repr_html_()
        return table and f"<p>{'<br>'.join(map(html.escape, self.notes))}</p>{table}"


def read_frame(given: Path) -> Results:
    """The results in a directory, or of the local runs of a project: a row for each task that has ended.

    Columns are named as in results.csv; the index is the number of the combination. Raises UsageError.
    """
    return frame_of(SweepResults.read(given))


def frame_of(results: SweepResults) -> Results:
    """The data frame of some results."""
    tasks = results.best_first()
    parameters, metrics = results.sweep["parameters"], results.sweep["metrics"]
    names = column_names(parameters, metrics)
    own = names[len(names) - len(parameters) - len(metrics) :]
    of_parameters, of_metrics = own[: len(parameters)], own[len(parameters) :]
    columns: dict[str, Any] = {
        column: _column([task["parameters"].get(name, pd.NA) for task in tasks])
        for name, column in zip(parameters, of_parameters, strict=True)
    }
    columns |= {
        column: _metric([task["metrics"].get(name, pd.NA) for task in tasks])
        for name, column in zip(metrics, of_metrics, strict=True)
    }
    columns |= {name: _fixed(name, [task[name] for task in tasks]) for name in _LAST}
    first = of_metrics[:1] if results.metric in metrics[:1] else []
    index = pd.Index([task["number"] for task in tasks], dtype="int64", name="number")
    frame = Results(columns, columns=list(dict.fromkeys([*first, *columns])), index=index)
    frame.attrs = {
        "project": results.project, "metric": results.metric, "goal": results.sweep["goal"],
        "notes": results.notes(),
    }  # fmt: skip
    return frame


def _fixed(name: str, values: Sequence[Any]) -> Any:
    if name == "started":
        return pd.to_datetime(pd.array(values, dtype="Float64"), unit="s", utc=True, errors="coerce")
    if name in ("attempts", "exit_code"):
        return _column([pd.NA if value is None else value for value in values])
    return pd.array(values, dtype="float64") if name == "seconds" else _objects(values)


def _column(values: Sequence[Any]) -> Any:
    """A column of numbers or booleans, if all values are such, or null (pd.NA); else of the values as such.

    pd.NA stands for a value that a combination does not have.
    """
    known = [value for value in values if value is not pd.NA and value is not None]
    kinds = {type(value) for value in known}
    is_complete = len(known) == len(values)
    if kinds == {bool}:
        return pd.array(values, dtype="bool" if is_complete else "boolean")
    if kinds == {int} and all(value in _INT64 for value in known):
        return pd.array(values, dtype="int64" if is_complete else "Int64")
    if kinds in ({float}, {int, float}):
        return pd.array(values, dtype="float64" if is_complete else "Float64")
    return _objects(values)


def _metric(values: Sequence[Any]) -> Any:
    """A column of numbers, if all values are such, with NaN for a task that has not reported the metric."""
    numbers = [as_number(value) for value in values]
    if any(number is None and value is not pd.NA for number, value in zip(numbers, values, strict=True)):
        return _objects(values)
    if all(isinstance(value, int) and value in _INT64 for value in values):
        return pd.array(values, dtype="int64")
    return pd.array(numbers, dtype="float64")


def _objects(values: Iterable[Any]) -> Any:
    """A column of any values; lists among them are values."""
    return pd.Series(list(values), dtype="object").to_numpy()
