"""Provenance of results: code and image that produced them, and whether they are outdated.

The program is every file of a project (see framework.project.source_tree) but project.yml and parameters.yml,
or the sweep file in their place: what these two say is part of a task's identity, or of the image; of them,
`workdir:` alone counts. Nor is .infrainitignore, which says what else belongs. A new version of the framework
makes no result outdated.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from framework.configuration.workdir_settings import workdir_of
from framework.errors import FrameworkError, JournalError
from framework.files import Code, ProjectFiles
from framework.journal.records import TaskOutcome
from framework.journal.store import Journal
from framework.project.ignore_rules import IGNORE_FILE
from framework.project.source_tree import SourceTree

_DIGITS = 12
_CHUNK = 2**20


class Provenance:
    """The current program and image, and the programs of earlier versions of the code."""

    def __init__(self, journal: Journal, program: str, image: str, code_root: Path | None = None) -> None:
        """`image`: empty if it is unknown; `code_root`: directory of the versions of the code, if any."""
        self._programs = journal.programs()
        self._program = program
        self._image = image
        self._code_root = code_root

    def is_outdated(self, outcome: TaskOutcome) -> bool:
        """True for a result whose program or image is known, and differs from the current one."""
        if outcome.state != "done":
            return False
        program = self._program_of(outcome.code)
        another_image = outcome.image and self._image and outcome.image != self._image
        return bool(another_image) or program not in ("", self._program)

    def _program_of(self, code: str) -> str:
        """The program in a version of the code; empty if it is unknown."""
        if code not in self._programs:
            self._programs[code] = ""
            # The version came in a message: a path is not followed.
            if self._code_root and code == Path(code).name:
                version = Code(self._code_root / code)
                files = ProjectFiles(version.project_path)
                workdir = workdir_of(version.sweep or files.sweep or files.settings)
                with suppress(FrameworkError):
                    self._programs[code] = program_version(files.path, version.sweep, (), workdir)
        return self._programs[code]


def note_program(journal: Journal, code: str, program: str) -> None:
    """Write which program a version of the code holds, for the time when its files are gone."""
    with suppress(JournalError):  # the disk is full: it is written at a later start
        journal.note_program(code, program)


def program_version(
    project: Path, sweep: Path | None = None, ignore: Sequence[str] = (), workdir: str = ""
) -> str:
    """12 hex digits for the names, modes and contents of a project's files, without the sweep file `sweep`.

    `ignore`: patterns of the project's settings; a pushed version has no file that they leave out. `workdir`:
    where the program starts, which counts too.
    Raises FrameworkError.
    """
    digest = hashlib.sha256()
    try:
        for name in sorted(_files(project, sweep, ignore)):
            file = project / name
            mode = file.lstat().st_mode
            if stat.S_ISLNK(mode):
                kind, content = b"link", os.fsencode(file.readlink())
            else:
                kind, content = b"program" if mode & stat.S_IXUSR else b"file", _digest(file)
            digest.update(b"%s\0%s\0%s\0" % (kind, os.fsencode(name), content))
    except OSError as error:
        raise FrameworkError(f"{error.filename}: cannot be read: {error.strerror}") from error
    if workdir:
        digest.update(b"workdir\0%s\0" % os.fsencode(workdir))
    return digest.hexdigest()[:_DIGITS]


def _files(project: Path, sweep: Path | None, ignore: Sequence[str]) -> Iterator[str]:
    """The names, below `project`, of the program's files; a link is a file. Raises OSError."""
    tree = SourceTree(project, ignore)
    files = ProjectFiles(tree.top)
    if sweep is not None:
        sweep = sweep.parent.resolve() / sweep.name
    configuration = (files.settings, files.parameters, sweep or files.sweep, tree.top / IGNORE_FILE)
    for entry in tree.walk():
        path = Path(entry.path)
        if not entry.is_dir(follow_symlinks=False) and path not in configuration:
            yield str(path.relative_to(tree.top))


def _digest(file: Path) -> bytes:
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
    return digest.digest()
