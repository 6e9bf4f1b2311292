"""Reader of `workdir:`, the directory of a project in which its tasks start."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from framework.configuration.yaml_nodes import (
    MappingNode,
    Node,
    Problems,
    ScalarNode,
    nearest,
    read_yaml,
)
from framework.project.source_tree import SourceTree


def read_workdir(node: Node, project: Path, ignore: Sequence[str]) -> str:
    """The path of a directory below `project` that its tasks have; empty for the project itself.

    `ignore`: patterns of the project's settings. Raises ValueError.
    """
    text = node.text if isinstance(node, ScalarNode) else ""
    path = Path(text)
    if not text or path.is_absolute() or os.pardir in path.parts or text.startswith("~"):
        raise ValueError(
            "has to be the path of a directory in the project, from its own, as in src; without .."
        )
    try:
        tree = SourceTree(project, ignore)
        directory = tree.top
        for part in path.parts:
            entries = tree.entries(directory)
            known = [each.name for each in entries if each.is_dir(follow_symlinks=False)]
            if part not in known:
                raise ValueError(_problem(text, directory / part, known))
            directory /= part
    except OSError as error:
        raise ValueError(f"{error.filename} cannot be read ({error.strerror})") from error
    return _normalized(text)


def workdir_of(settings: Path) -> str:
    """The path in project.yml or a sweep file that was checked before; empty without one."""
    node = read_yaml(settings, Problems())
    entries = node.entries if isinstance(node, MappingNode) else ()
    found = (entry.node for entry in entries if entry.name == "workdir")
    return next((_normalized(node.text) for node in found if isinstance(node, ScalarNode)), "")


def _normalized(text: str) -> str:
    path = Path(text).as_posix()
    return "" if path == "." else path


def _problem(text: str, missing: Path, known: Sequence[str]) -> str:
    if missing.is_symlink():
        return f"{text!r}: {missing.name} is a link; name the directory that it leads to"
    if os.path.isdir(missing):
        return f"{text!r}: {missing.name} is left out of the files that tasks have; see docs/projects.md"
    if os.path.exists(missing):
        return f"{text!r}: {missing.name} is no directory"
    advice = nearest(missing.name, known) if known else "write the path of one"
    return f"there is no directory {text!r} in the project; {advice}"
