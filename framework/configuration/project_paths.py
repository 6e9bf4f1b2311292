"""Paths that files of a project name: each has to lead to something in the project."""

from __future__ import annotations

import os
from pathlib import Path


def path_in_project(project: Path, text: str, start: str = "") -> str:
    """The path from the directory `project` to what `text` names, which begins in `start`, a directory there.

    Raises ValueError if it leads out of the project, also by a link, or to nothing.
    """
    path = os.path.normpath(os.path.join(start, text))
    if os.path.isabs(text) or text.startswith("~") or path.split(os.sep, 1)[0] == os.pardir:
        raise ValueError(
            f"{text!r} leads out of the project; put it there, and write its path in the project"
        )
    found = project / path
    if not os.path.exists(found):
        raise ValueError(f"there is no {text!r} among the files of the project that go to hosts")
    if not found.resolve().is_relative_to(project.resolve()):
        raise ValueError(f"{text!r} is a link that leads out of the project; put what it leads to there")
    return path
