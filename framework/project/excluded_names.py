"""Excluded names: files that belong to no project, and virtual environments."""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from pathlib import Path

EXCLUDED_FILES = Path(__file__).with_name("excluded_files")


def _patterns() -> dict[str, list[str]]:
    """The patterns of excluded_files by their kind."""
    found: dict[str, list[str]] = {"anywhere": [], "top": [], "holding": []}
    for line in EXCLUDED_FILES.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            kind, pattern = line.split()
            found[kind].append(pattern)
    return found


_PATTERNS = _patterns()


def is_excluded(project: Path, path: Path) -> bool:
    """True if `path` is no part of the project; the directory that it is in belongs to the project."""
    return (
        is_excluded_anywhere(path.name)
        or (path.parent == project and _matches(path.name, "top"))
        or is_environment(path)
    )


def is_excluded_anywhere(name: str) -> bool:
    """True if an entry of this name is no part of a project, wherever it is."""
    return _matches(name, "anywhere")


def is_environment(path: Path) -> bool:
    """True if `path` is a virtual environment, or a link to one."""
    return os.path.isdir(path) and any(next(path.glob(each), None) for each in _PATTERNS["holding"])


def _matches(name: str, kind: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in _PATTERNS[kind])
