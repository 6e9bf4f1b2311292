"""Working directory of an attempt: its own directories, with links to the project's files."""

from __future__ import annotations

import errno
import heapq
import logging
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Tuple

from framework.files import METRICS_FILE, REPOSITORY
from framework.project.excluded_names import is_excluded_anywhere

log = logging.getLogger(__name__)

MOST_ENTRIES = (
    300  # directories and links that are made for an attempt, beside those at the top and in workdir
)
_MOST_NAMED = 3  # directories that a warning names
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_CHANGED_BY_TASK = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENOTEMPTY, errno.EEXIST)

_Parts = Tuple[str, ...]  # path below the project; () for the project itself


@dataclass(frozen=True)
class ProjectTree:
    """Directories and links that an attempt finds in place of its project."""

    directories: Sequence[tuple[_Parts, Sequence[tuple[str, str]]]]  # parents first; links: name, content
    shared: Sequence[_Parts]  # directories that are links themselves, the smallest first


@lru_cache(maxsize=4)
def project_tree(project: Path, workdir: str = "") -> ProjectTree:
    """Return the tree of one version of a project, which never changes; warn of directories that are links.

    A task may write into the directories of its project, so each attempt has its own. Those with the fewest
    entries come first, as long as no more than MOST_ENTRIES are made. The others, which hold data, are links
    to the copy of the project that all tasks share, and that they can only read. `workdir`, in which the
    program starts, is made anew in any case, as is the top. `.git` is a link to the repository of the
    version, if it has one. Raises OSError.
    """
    links: dict[_Parts, list[tuple[str, str]]] = {}
    at_top = [entry for entry in _entries(project, None) if entry.name != METRICS_FILE]
    waiting: list[tuple[int, _Parts, list[os.DirEntry[str]]]] = [(0, (), at_top)]
    started_in = Path(workdir).parts
    left = MOST_ENTRIES
    while waiting and waiting[0][0] <= left:
        cost, parts, entries = heapq.heappop(waiting)
        left -= cost
        links[parts] = []
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                each = (*parts, entry.name)
                is_needed = each == started_in[: len(each)]
                below = _entries(Path(entry.path), None if is_needed else MOST_ENTRIES + 1)
                heapq.heappush(waiting, (0 if is_needed else len(below), each, below))
            else:
                links[parts].append((entry.name, _link_content(parts, entry)))
    shared = [parts for _, parts, _ in sorted(waiting, key=lambda each: each[:2])]
    repository = project.parent / REPOSITORY
    if (repository / "HEAD").exists():
        links[()].append((".git", str(repository)))
    for parts in shared:
        links[parts[:-1]].append((parts[-1], os.path.join(project, *parts)))
    if shared:
        _warn(shared)
    return ProjectTree(tuple(links.items()), shared)


def _warn(shared: Sequence[_Parts]) -> None:
    more = len(shared) - _MOST_NAMED
    log.warning(
        "tasks can write nothing below %s%s: the project's directories have more than %d entries, so only "
        "the smallest are made anew for each task; these are links to the copy that all tasks share",
        ", ".join(os.path.join(*parts) for parts in shared[:_MOST_NAMED]),
        f" and {more} more" if more > 0 else "",
        MOST_ENTRIES,
    )


def _entries(directory: Path, most: int | None) -> list[os.DirEntry[str]]:
    """Return entries of a directory that belong to a project, at most so many."""
    with os.scandir(directory) as entries:
        return list(islice((entry for entry in entries if not is_excluded_anywhere(entry.name)), most))


def _link_content(parts: _Parts, entry: os.DirEntry[str]) -> str:
    """Return the content of the link for a file, or for a link of the project.

    A link to something in the project means the attempt's own; any other leads to where the project's leads.
    """
    if entry.is_symlink():
        content = os.readlink(entry.path)
        goal = os.path.normpath(os.path.join(*parts, content))
        if not os.path.isabs(goal) and goal.split(os.sep)[0] != os.pardir:
            return content
    return entry.path


class WorkingDirectory:
    """Working directory of one attempt: what it finds of its project, beside what the task writes."""

    def __init__(self, path: Path, project: Path, workdir: str = "") -> None:
        """Use the directory `path` for a task of the project in the absolute path `project`.

        `workdir`: path of the directory, below the project, in which its program starts.
        """
        self.path = path
        self._project = project
        self._workdir = workdir
        self._tree = ProjectTree((), ())
        self._made: dict[str, int] = {}  # ctime of each link that means the attempt's own files

    def fill(self) -> None:
        """Make directories and links; what is there already stays. Raises OSError."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._tree = project_tree(self._project, self._workdir)
        for parts, links in self._tree.directories:
            directory = os.path.join(self.path, *parts)
            if parts:
                with suppress(FileExistsError):
                    os.mkdir(directory)
            for name, content in links:
                link = os.path.join(directory, name)
                with suppress(FileExistsError):
                    os.symlink(content, link)
                    if not os.path.isabs(content):
                        self._made[os.path.join(*parts, name)] = os.lstat(link).st_ctime_ns

    def clear(self) -> None:
        """Remove the links, and then directories that are empty; whatever the task wrote stays.

        Nothing is followed out of the working directory: a task may have replaced a directory by a link.
        """
        for parts, links in reversed(self._tree.directories):
            try:
                with self._opened(parts) as directory:
                    for name, content in links:
                        self._remove_link(directory, parts, name, content)
                if parts:
                    with self._opened(parts[:-1]) as directory:
                        os.rmdir(parts[-1], dir_fd=directory)
            except OSError as error:
                if error.errno not in _CHANGED_BY_TASK:
                    path = os.path.join(self.path, *parts)
                    log.warning("%s: cannot remove the links in it: %s", path, error.strerror)

    @contextmanager
    def _opened(self, parts: _Parts) -> Iterator[int]:
        """Open a directory of the attempt, without following links."""
        directory = os.open(self.path, _DIRECTORY)
        try:
            for part in parts:
                below = os.open(part, _DIRECTORY, dir_fd=directory)
                os.close(directory)
                directory = below
            yield directory
        finally:
            os.close(directory)

    def _remove_link(self, directory: int, parts: _Parts, name: str, content: str) -> None:
        """Remove a link if it is still the one that was made."""
        with suppress(FileNotFoundError):
            found = os.lstat(name, dir_fd=directory)
            if not stat.S_ISLNK(found.st_mode) or os.readlink(name, dir_fd=directory) != content:
                return
            if os.path.isabs(content) or self._made.get(os.path.join(*parts, name)) == found.st_ctime_ns:
                os.unlink(name, dir_fd=directory)
