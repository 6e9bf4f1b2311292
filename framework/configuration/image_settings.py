"""Readers of `packages:` and `build:`, which make the image that tasks run in on hosts."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from framework.configuration.project_paths import path_in_project
from framework.configuration.yaml_nodes import Node, Problems, ScalarNode, SequenceNode, UnusableNode

_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")  # Debian Policy, section 5.6.1


def read_packages(node: Node, problems: Problems) -> tuple[str, ...]:
    """Names of Debian packages, each once; each mistake is added to `problems`."""
    if not isinstance(node, SequenceNode) or not node.items:
        problems.add(node.position, "packages: has to be a list of Debian packages, as in [git, gcc]")
        return ()
    return tuple(dict.fromkeys(_names(node.items, problems)))


def _names(items: Iterable[Node], problems: Problems) -> Iterable[str]:
    for item in items:
        if isinstance(item, UnusableNode):
            continue
        text = item.text if isinstance(item, ScalarNode) else ""
        if _PACKAGE.fullmatch(text):
            yield text
        else:
            advice = "write its name alone, as in git or libgl1"
            problems.add(item.position, f"packages: {text!r} is not the name of a Debian package; {advice}")


def read_build(node: Node, project: Path) -> str:
    """The path of a Dockerfile from the directory `project`. Raises ValueError."""
    text = node.text if isinstance(node, ScalarNode) else ""
    if not text or any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise ValueError("has to be the path of a Dockerfile in the project, as in Dockerfile")
    path = path_in_project(project, text)
    if not os.path.isfile(project / path):
        raise ValueError(f"{text!r} is a directory; write the path of a Dockerfile, as in Dockerfile")
    return path
