"""Sweeps of metaparameters on many hosts. User programs need only `from framework import report`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from framework.report import report

if TYPE_CHECKING:
    import os

    from framework.export.data_frame import Results

__all__ = ["report", "results"]


def results(directory: str | os.PathLike[str]) -> Results:
    """Results as a pandas data frame, the best row first: `framework.results("results/digits")`.

    `directory` has results, or is a project that 'framework run' has run. Not for tasks: it needs Python 3.10
    and the framework's packages. Raises UsageError if there are no results, or pandas is missing.
    """
    from pathlib import Path

    from framework.export.targets import missing_package

    try:
        from framework.export.data_frame import read_frame
    except ModuleNotFoundError as error:
        raise missing_package("framework.results()", error, "pandas") from error
    return read_frame(Path(directory))
