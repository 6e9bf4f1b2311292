"""Plotly's program for browsers, as its Python package has it."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from framework.errors import UsageError
from framework.text import how_to_install

_IN_PACKAGE = Path("package_data", "plotly.min.js")


def read_plotly() -> str:
    """The text of plotly.min.js: the file that $PLOTLY names, or that of the package plotly.

    Raises UsageError if there is none.
    """
    if named := os.environ.get("PLOTLY"):
        return Path(named).read_text(encoding="utf-8")
    spec = find_spec("plotly")
    if spec is None or spec.origin is None:
        raise UsageError(f"the plots of a page need Plotly; {how_to_install('report')}")
    return (Path(spec.origin).parent / _IN_PACKAGE).read_text(encoding="utf-8")
