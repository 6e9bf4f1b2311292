"""Files of a project that its Dockerfile copies: what its image is made of."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from framework.configuration.yaml_nodes import Position, Problems

_EVERYTHING = "."
_COPY = re.compile(r"\s*(?:COPY|ADD)\s+(.*)", re.IGNORECASE | re.DOTALL)
_MOUNT = re.compile(r"\s*RUN\s+(?:--\S+\s+)*--mount=(?!type=(?:cache|tmpfs|secret|ssh)\b)", re.IGNORECASE)
_FROM = re.compile(r"\s*FROM\s+\S", re.IGNORECASE)
_FLAG = re.compile(r"\s*--([a-z-]+)(?:=(\S*))?(?=\s)", re.IGNORECASE)
_UNCLEAR = re.compile(r"[$\\\"']|<<")  # variables, escapes, words in quotes, text in the Dockerfile itself
_PATTERN = re.compile(r"[*?\[]")
_REMOTE = re.compile(r"(?:https?|git|ftp)://|git@")
_MOST_BYTES = 2**20


def read_dockerfile(project: Path, path: str, problems: Problems) -> tuple[str, ...]:
    """Paths in the project on which the image of the Dockerfile at `path` depends, itself included.

    `.`, all of the project, where it is not certain. Each mistake is added to `problems`.
    """
    file = project / path
    try:
        text = file.read_bytes()[:_MOST_BYTES].decode("utf-8")
    except OSError as error:
        problems.add(Position(file, 1, 1), f"cannot be read ({error.strerror})")
        return ()
    except UnicodeDecodeError as error:
        problems.add(Position(file, 1, 1), f"byte {error.start} is not UTF-8; save the file as UTF-8")
        return ()
    found = dict.fromkeys([path])
    if (project / ".dockerignore").is_file():
        found[".dockerignore"] = None
    if re.match(r"#\s*escape\s*=", text, re.IGNORECASE):
        found[_EVERYTHING] = None
    is_dockerfile = False
    for number, instruction in _instructions(text):
        is_dockerfile |= _FROM.match(instruction) is not None
        if _MOUNT.match(instruction):
            found[_EVERYTHING] = None
        elif copy := _COPY.match(instruction):
            for source in _sources(copy[1]):
                if (source_path := os.path.normpath(source.lstrip("/") or ".")).split(os.sep)[0] == os.pardir:
                    problems.add(
                        Position(file, number, 1),
                        f"{source!r} leads out of the project, which is all that a build sees; put it there",
                    )
                elif os.path.exists(project / source_path):
                    found[source_path] = None
    if not is_dockerfile:
        problems.add(Position(file, 1, 1), "no Dockerfile: nothing in it begins with FROM")
    return tuple(found)


def _instructions(text: str) -> Iterator[tuple[int, str]]:
    """The instructions with the numbers of their first lines; comments left out, continued lines joined."""
    first, joined = 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#") or not line.strip():
            continue
        first = first or number
        if line.rstrip().endswith("\\"):
            joined += line.rstrip()[:-1] + " "
            continue
        yield first, joined + line
        first, joined = 0, ""
    if joined:
        yield first, joined


def _sources(text: str) -> list[str]:
    """The directories and files in the arguments of COPY or ADD; `.` where they are not certain."""
    while flag := _FLAG.match(text):
        if flag[1].lower() == "from":
            return []
        text = text[flag.end() :]
    text = text.strip()
    if text.startswith("["):
        try:
            words = [str(word) for word in json.loads(text)]
        except ValueError:
            return [_EVERYTHING]
        if any("$" in word or "\\" in word for word in words):
            return [_EVERYTHING]
    elif _UNCLEAR.search(text):
        return [_EVERYTHING]
    else:
        words = text.split()
    return [_before_pattern(word) for word in words[:-1] if not _REMOTE.match(word)]


def _before_pattern(word: str) -> str:
    """The directory in which a pattern begins to match; a word without one as it is."""
    match = _PATTERN.search(word)
    return word if match is None else os.path.dirname(word[: match.start()]) or _EVERYTHING
