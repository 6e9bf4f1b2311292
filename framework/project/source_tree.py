"""Source tree of a project: the entries of its directory that belong to it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from framework.project.excluded_names import is_environment, is_excluded
from framework.project.ignore_rules import GIT_FILE, IGNORE_FILE, IgnoreRules

_MOST_SHOWN = 5


class SourceTree:
    """The files, directories and links that belong to a project; others, such as sockets, never do."""

    def __init__(self, project: Path, ignore: Sequence[str] = ()) -> None:
        """`ignore`: patterns of the project's settings. Raises OSError."""
        self.top = project.resolve()
        self._rules = IgnoreRules(self.top, ignore)
        self._environments: dict[Path, list[Path]] = {}  # by the directory that they are in
        self._ignored: list[str] = []  # by .gitignore; directories end with a slash

    def entries(self, directory: Path) -> list[os.DirEntry[str]]:
        """The entries of `directory` (the top or one below it) that belong, sorted by name.

        Raises OSError.
        """
        with os.scandir(directory) as entries:
            return sorted(filter(self._belongs, entries), key=lambda entry: entry.name)

    def walk(self, directory: Path | None = None) -> Iterator[os.DirEntry[str]]:
        """All entries that belong, directories before what is in them. Raises OSError."""
        for entry in self.entries(directory or self.top):
            yield entry
            if entry.is_dir(follow_symlinks=False):
                yield from self.walk(Path(entry.path))

    def environments(self, directory: Path) -> list[Path]:
        """The virtual environments in `directory`, once entries() has read it, and links to such."""
        return self._environments.get(directory, [])

    def notices(self) -> list[str]:
        """What people should know of the entries that were left out so far; one line each."""
        if not self._ignored:
            return []
        inside = Counter(top_entry(name) for name in self._ignored)
        partly = {top_entry(name) for name in self._ignored if top_entry(name) != name}
        names = sorted(inside)
        shown = [f"{name} ({inside[name]} of its entries)" if name in partly else name for name in names]
        more = f" and {len(shown) - _MOST_SHOWN} more" if len(shown) > _MOST_SHOWN else ""
        example = next((name for name in names if name.endswith("/")), names[0])
        return [
            f"left out, as .gitignore says: {', '.join(shown[:_MOST_SHOWN])}{more}; what a task needs of it "
            f"is taken in by a line in {IGNORE_FILE}, as in !/{example}"
        ]

    def _belongs(self, entry: os.DirEntry[str]) -> bool:
        path = Path(entry.path)
        if is_excluded(self.top, path):
            if is_environment(path):
                self._environments.setdefault(path.parent, []).append(path)
            return False
        is_directory = entry.is_dir(follow_symlinks=False)
        rule = self._rules.ignored_by(path, is_directory)
        if rule == GIT_FILE:
            self._ignored.append(path.relative_to(self.top).as_posix() + "/" * is_directory)
        return not rule and (is_directory or entry.is_symlink() or entry.is_file())


def top_entry(name: str) -> str:
    """The entry at the top that a path begins with; a directory ends with a slash."""
    top, slash, _ = name.partition("/")
    return top + slash
