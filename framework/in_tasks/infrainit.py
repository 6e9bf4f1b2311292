"""Name `infrainit` in a task: report(), also beside a package `framework` of the user."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

_PACKAGES = str(Path(__file__).resolve().parents[2])


def _import_report() -> Any:
    """Import the framework's report(), and leave what is imported as `framework` as it is."""
    theirs = _take_out()
    sys.path.insert(0, _PACKAGES)
    try:
        return importlib.import_module("framework.report").report
    finally:
        sys.path.remove(_PACKAGES)
        _take_out()
        sys.modules.update(theirs)


def _take_out() -> dict[str, Any]:
    names = [name for name in sys.modules if name.partition(".")[0] == "framework"]
    return {name: sys.modules.pop(name) for name in names}


report = _import_report()
