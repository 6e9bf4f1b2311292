"""Ignore rules: what .gitignore, .infrainitignore and `ignore:` leave out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pathspec.patterns.gitignore.base import GitIgnorePatternError
from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

IGNORE_FILE = ".infrainitignore"  # at the top of a project
GIT_FILE = ".gitignore"
_REQUIRED = ("project.yml", "parameters.yml")  # at the top: no rule leaves them out


@dataclass(frozen=True)
class _Rules:
    """The patterns of one file, or of `ignore:`, for what is below `directory`."""

    name: str  # of the file
    directory: Path
    patterns: tuple[GitIgnoreSpecPattern, ...]  # the last one comes first

    def verdict(self, path: Path, is_directory: bool) -> bool | None:
        """True if they ignore `path`, False if they take it in, None if they say nothing of it.

        As in git, what matches a directory above it says nothing of it; but where a rule that is not git's
        takes that directory in, it takes in what is below.
        """
        name = path.relative_to(self.directory).as_posix() + "/" * is_directory
        above = False
        for pattern in self.patterns:
            end = _directory_end(pattern, name)
            if end in (0, len(name)):
                return pattern.include
            above |= end is not None and not pattern.include
        return False if above and self.name != GIT_FILE else None


def _directory_end(pattern: GitIgnoreSpecPattern, name: str) -> int | None:
    """Where the directory ends that `pattern` matches in `name`: at its end, or before it for one above.

    0 if it matches a file, or whatever it is; None if it does not match.
    """
    matches = list(pattern.regex.finditer(name)) if pattern.regex else []
    if not matches:
        return None
    return matches[-1].end("ps_d") if matches[-1].groupdict().get("ps_d") else 0


class IgnoreRules:
    """The rules of one project, in git's order: the last one that matches decides.

    That is, the .gitignore files from the top of the git repository down to the entry's directory, then the
    project's .infrainitignore, then `ignore:` in its settings. Where they ignore the project's own directory,
    those above it do not count: the user has named it.
    """

    def __init__(self, project: Path, ignore: Sequence[str] = ()) -> None:
        """`project` is without links. Raises OSError."""
        self._project = project
        self._of_git: dict[Path, tuple[_Rules, ...]] = {project.parent: _above(project)}
        lines = _lines(project / IGNORE_FILE)
        self._own = (*_rules(IGNORE_FILE, project, lines), *_rules("ignore:", project, ignore))

    def ignored_by(self, path: Path, is_directory: bool) -> str:
        """The name of the file (or `ignore:`) that leaves out an entry; empty if it belongs to the project.

        The directory that it is in belongs to the project. Raises OSError.
        """
        if path.parent == self._project and path.name in _REQUIRED:
            return ""
        return _ignored_by(path, is_directory, [*self._for(path.parent), *self._own])

    def _for(self, directory: Path) -> tuple[_Rules, ...]:
        """The rules of .gitignore files for the entries of a directory."""
        if directory not in self._of_git:
            own = _rules(GIT_FILE, directory, _lines(directory / GIT_FILE))
            self._of_git[directory] = (*self._for(directory.parent), *own)
        return self._of_git[directory]


def pattern_problem(pattern: str) -> str:
    """What is wrong with a pattern; empty if nothing is."""
    if "\n" in pattern:
        return f"{pattern!r} has several lines; write a list with one pattern each"
    try:
        GitIgnoreSpecPattern(pattern)
    except (GitIgnorePatternError, re.error):
        return f"{pattern!r} is no pattern; write it as in .gitignore, as in 'data/' or '*.ckpt'"
    return ""


def ignore_file_problems(project: Path) -> list[tuple[int, str]]:
    """What is wrong in the project's .infrainitignore, each with the number of its line. Raises OSError."""
    problems = (
        (number, pattern_problem(line)) for number, line in enumerate(_lines(project / IGNORE_FILE), 1)
    )
    return [(number, problem) for number, problem in problems if problem]


def _ignored_by(path: Path, is_directory: bool, rules: Sequence[_Rules]) -> str:
    for each in reversed(rules):
        verdict = each.verdict(path, is_directory)
        if verdict is not None:
            return each.name if verdict else ""
    return ""


def _above(project: Path) -> tuple[_Rules, ...]:
    """The rules of the git repository for the project's own directory; none if they ignore it."""
    directories = [project, *project.parents]
    top = next((number for number, each in enumerate(directories) if (each / ".git").exists()), 0)
    rules: list[_Rules] = []
    for number in range(top, 0, -1):
        directory, below = directories[number], directories[number - 1]
        rules += _rules(GIT_FILE, directory, _lines(directory / GIT_FILE))
        if _ignored_by(below, True, rules):
            return ()
    return tuple(rules)


def _rules(name: str, directory: Path, lines: Iterable[str]) -> tuple[_Rules, ...]:
    """One set of rules, or none; lines that are no pattern are left out, as git does."""
    patterns = [GitIgnoreSpecPattern(line) for line in lines if not pattern_problem(line)]
    patterns = [each for each in reversed(patterns) if each.include is not None]
    return (_Rules(name, directory, tuple(patterns)),) if patterns else ()


def _lines(file: Path) -> list[str]:
    """The lines of a file; none if there is no such file, or a link in its place, which git ignores, too."""
    if file.is_symlink() or not file.is_file():
        return []
    text = file.read_text(encoding="utf-8", errors="surrogateescape")
    return text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
