"""Command `files`: what the scripts send of a project's directory to hosts."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from framework.configuration.ignore_settings import ignore_of
from framework.errors import FrameworkError, ProjectError
from framework.files import ProjectFiles
from framework.project.ignore_rules import IGNORE_FILE
from framework.project.source_tree import SourceTree

_MOST_SHOWN = 5


def run_files(options: argparse.Namespace) -> int:
    """Print the path of each entry that belongs to the project, ended by a NUL; directories come first.

    Paths begin with `./`. What people should know of the others goes to stderr. Raises ProjectError for names
    that the scripts cannot send, FrameworkError for directories that cannot be read.
    """
    path: Path = options.project
    directory = options.root or (path if path.is_dir() else path.parent)
    settings = path if path.is_file() else ProjectFiles(path).sweep or ProjectFiles(path).settings
    try:
        tree = SourceTree(directory, ignore_of(settings))
        names = [os.path.relpath(entry.path, tree.top) for entry in tree.walk()]
    except OSError as error:
        raise FrameworkError(f"{error.filename}: cannot be read: {error.strerror}") from error
    if unusable := [name for name in names if _has_control_character(name)]:
        raise ProjectError([_problem(directory / name) for name in unusable[:_MOST_SHOWN]])
    for notice in (*_of_environments(tree.environments(tree.top)), *tree.notices()):
        print(notice, file=sys.stderr)
    sys.stdout.flush()
    sys.stdout.buffer.write(b"".join(b"./%b\0" % os.fsencode(name) for name in names))
    sys.stdout.buffer.flush()
    return 0


def _has_control_character(name: str) -> bool:
    return any(character < " " or character == "\x7f" for character in name)


def _problem(path: Path) -> str:
    return f"{str(path)!r}: has a control character in its name; rename it, or leave it out by {IGNORE_FILE}"


def _of_environments(environments: Sequence[Path]) -> Iterable[str]:
    if names := ", ".join(path.name for path in environments if not path.is_symlink()):
        yield f"left out: the virtual environment {names}; list packages in requirements.txt"
