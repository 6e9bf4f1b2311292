"""Paths that lead out of a project, where its tasks do not find what is there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from framework.files import ProjectFiles
from framework.project.mounts import holds
from framework.project.project import Project
from framework.project.source_tree import SourceTree

_MOST_SHOWN = 5
_MOST_BYTES = 2**18  # of a file that is searched; larger ones are data
_SUFFIXES = (
    "", ".cfg", ".conf", ".env", ".ini", ".jl", ".json", ".lua", ".pl", ".py", ".r", ".rb", ".sh", ".toml",
    ".txt", ".yaml", ".yml",
)  # fmt: skip
_PATH = re.compile(r"(?<![\w./\\-])(?:\./)*((?:\.\./)+[\w.@+%=-]+(?:/[\w.@+%=-]+)*)")
_COMMENT = re.compile(r"\s*(?:#|//)")


def outside_paths(project: Project, tree: SourceTree, on_hosts: bool) -> list[str]:
    """Return a line for each path in the project that leads out of it, with what to do.

    These are words of the command, links, and paths in files of code and settings; the last ones only if they
    lead to something. Words and paths begin in the project's `workdir`. A task has a directory of its own,
    from which `../data` is another path than from the project's directory. Absolute links are named if it is
    to run `on_hosts`, which lack what they lead to unless it is mounted. `tree`: that of the project. Raises
    OSError.
    """
    top = tree.top
    start = project.workdir
    command = [word for word in project.command if _leads_out(word.rpartition("=")[2], start)]
    settings = project.sweep_file or ProjectFiles(project.path).settings
    found = [f"{_position(settings, word)}: {word!r} in the command" for word in command]
    seen = {word.rpartition("=")[2] for word in command}
    for entry in tree.walk():
        path = Path(entry.path)
        if path.is_symlink():
            found += _link(project, path.relative_to(top), on_hosts)
        elif path.suffix.lower() in _SUFFIXES and path.is_file() and path.stat().st_size <= _MOST_BYTES:
            for position, outside in _paths_in(top, start, path):
                if outside not in seen:
                    seen.add(outside)
                    found.append(f"{project.path / path.relative_to(top)}:{position}: {outside!r}")
    other = "mount it by mounts: in project.yml" if on_hosts else "write an absolute path"
    advice = f"move it into the project, or {other}"
    lines = [f"{each} leads out of the project, and tasks will not find it; {advice}" for each in found]
    more = len(lines) - _MOST_SHOWN
    return lines[:_MOST_SHOWN] + ([f"and {more} more paths that lead out of the project"] if more > 0 else [])


def _position(file: Path, word: str) -> str:
    """The file, with the line and the column of the first place where the word stands as it is."""
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if (column := line.find(word)) >= 0:
            return f"{file}:{number}:{column + 1}"
    return str(file)


def _leads_out(path: str, start: str = "") -> bool:
    """True for a relative path that begins in `start`, and leads out of the project."""
    return os.path.normpath(os.path.join(start, path)).split(os.sep, 1)[0] == os.pardir


def _link(project: Project, link: Path, on_hosts: bool) -> list[str]:
    """The link, if it leads out of the project to where nothing is mounted."""
    target = os.readlink(project.path / link)
    if os.path.isabs(target):
        is_mounted = any(holds(mount.target, os.path.normpath(target)) for mount in project.mounts)
        leads_out = on_hosts and not is_mounted
    else:
        leads_out = _leads_out(str(link.parent / target))
    if leads_out:
        return [f"{project.path / link}: the link to {target!r}"]
    return []


def _paths_in(top: Path, start: str, file: Path) -> Iterator[tuple[str, str]]:
    """Paths in a file that lead out of the project to something, each with its line and column."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except ValueError:
        return  # no text
    for number, line in enumerate(lines, 1):
        if "../" not in line or _COMMENT.match(line):
            continue
        for match in _PATH.finditer(line):
            if _leads_out(match[1], start) and _leads_to_something(top / start / match[1]):
                yield f"{number}:{match.start() + 1}", match[1]


def _leads_to_something(path: Path) -> bool:
    """True if there is such a path, or may be: in the check before a push, files stand for directories."""
    try:
        path.stat()
    except NotADirectoryError:
        return True
    except OSError:
        return False
    return True
