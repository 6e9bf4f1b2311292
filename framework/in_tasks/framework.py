"""Name `framework` in a task: a package of the user that is called so, else ours."""

from __future__ import annotations

import importlib
import importlib.util
import runpy
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_PACKAGES = str(_HERE.parents[1])
_NAME = "framework"


def _other_entries() -> list[str]:
    return [each for each in sys.path if Path(each or ".").resolve() != _HERE]


def _find(path: list[str]) -> ModuleSpec | None:
    """Find the package on a path; directories without any Python file are no package."""
    before = sys.path[:]
    sys.path[:] = path
    try:
        found = importlib.util.find_spec(_NAME)
    finally:
        sys.path[:] = before
    if found is None or found.origin is not None:
        return found
    directories = map(Path, found.submodule_search_locations or ())
    return found if any(any(each.rglob("*.py")) for each in directories) else None


def _import_in_place() -> None:
    """Import the package under the name of this module, which the import system then returns."""
    del sys.modules[_NAME]
    spec = _find(_other_entries()) or _find([_PACKAGES])
    if spec is None:
        raise ModuleNotFoundError(f"No module named {_NAME!r}", name=_NAME)
    module = importlib.util.module_from_spec(spec)
    sys.modules[_NAME] = module
    if spec.loader is not None:  # a package without __init__.py may have none
        spec.loader.exec_module(module)


if __name__ == _NAME:
    _import_in_place()
elif __name__ == "__main__":  # python -m framework
    sys.path[:] = [*_other_entries(), _PACKAGES]
    runpy.run_module(_NAME, run_name="__main__", alter_sys=True)
