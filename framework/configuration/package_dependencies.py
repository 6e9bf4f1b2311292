"""Dependencies that a project which is a Python package lists in its pyproject.toml."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_OF_ITSELF = re.compile(r"([A-Za-z0-9._-]+)\s*\[([^\]]*)\]")


@dataclass(frozen=True)
class PackageDependencies:
    """What a pyproject.toml says of dependencies."""

    required: tuple[str, ...]  # as pip takes them, without those of extras
    extras: dict[str, tuple[str, ...]]
    name: str  # of the package, as it is compared; empty without one
    is_elsewhere: str  # where they are listed if not in [project]; empty: they are there, or there are none

    def of(self, extras: Iterable[str]) -> list[str]:
        """The dependencies, with those of these extras, each once. Raises ValueError for an unknown extra."""
        found, waiting = dict.fromkeys(self.required), [_compared(extra) for extra in extras]
        done = set()
        while waiting:
            extra = waiting.pop(0)
            if extra in done:
                continue
            done.add(extra)
            if extra not in self.extras:
                raise ValueError(f"pyproject.toml has no optional dependencies {extra!r}")
            for text in self.extras[extra]:
                own = _OF_ITSELF.fullmatch(text.strip())
                if own and _compared(own[1]) == self.name:
                    waiting += [_compared(each) for each in own[2].split(",") if each.strip()]
                else:
                    found[text] = None
        return list(found)


def read_package(file: Path) -> PackageDependencies | None:
    """What `file` says of dependencies; None without it. Raises ValueError if it cannot be read."""
    if not file.is_file():
        return None
    try:
        content: dict[str, Any] = _toml().loads(file.read_text(encoding="utf-8"))
    except ValueError as error:  # of tomllib and of UTF-8
        raise ValueError(f"not valid TOML: {error}") from error
    project, extras = content.get("project", {}), {}
    if not isinstance(project, dict):
        raise ValueError("project has to be a table, as in [project]")
    dynamic = project.get("dynamic", [])
    optional = project.get("optional-dependencies", {})
    for extra, texts in optional.items() if isinstance(optional, dict) else ():
        extras[_compared(extra)] = _texts(texts, f"optional-dependencies.{extra}")
    required = _texts(project.get("dependencies", []), "dependencies")
    is_poetry = "dependencies" in content.get("tool", {}).get("poetry", {}) and not required
    elsewhere = "tool.poetry" if is_poetry else "the build's own files" if "dependencies" in dynamic else ""
    return PackageDependencies(required, extras, _compared(str(project.get("name", ""))), elsewhere)


def _texts(value: Any, key: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValueError(f"project.{key} has to be a list of texts, as in ['numpy>=2']")
    return tuple(value)


def _compared(name: str) -> str:
    """The name of a package or an extra as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def _toml() -> Any:
    """The module tomllib of Python 3.11 and newer, which the image has in which projects are asked."""
    try:
        return importlib.import_module("tomllib")
    except ModuleNotFoundError as error:
        raise ValueError("needs Python 3.11 or newer to be read") from error
