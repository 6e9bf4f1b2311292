"""Values that a project wants from the user: taken from the environment or from files.

framework/shell/user_values.sh reads the same for tasks on hosts.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from framework.errors import ProjectError
from framework.files import ProjectFiles, read_regular
from framework.project.project import Project
from framework.project.variables import Wanted

LONGEST_VALUE = 100_000  # bytes; the kernel takes 131,072 with the name
_MOST = 2**26  # bytes of a file that tasks get as a file


def collect_values(project: Project, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables that tasks of `project` get from this machine; of a file, its content or its path.

    Raises ProjectError with everything that is missing. No message has a value.
    """
    return _collect(project, [(each, _key(each)) for each in project.variables.wanted], environment)


def collect_notify_values(project: Project, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The values that `notify:` of `project` gets from this machine; raises ProjectError likewise."""
    wanted = project.notify.wanted if project.notify else ()
    return _collect(project, [(each, "notify") for each in wanted], environment)


def _key(wanted: Wanted) -> str:
    return "secrets" if wanted.is_secret else "environment"


def _collect(
    project: Project, needed: Iterable[tuple[Wanted, str]], environment: Mapping[str, str]
) -> dict[str, str]:
    """`needed`: each with the key of the project's file that asks for it."""
    values: dict[str, str] = {}
    problems = []
    file = project.sweep_file or ProjectFiles(project.path).settings
    for wanted, key in needed:
        try:
            values[wanted.name] = _read(wanted, project.path, environment)
        except ValueError as error:
            problems.append(f"{file}:{wanted.place}: {key}: {wanted.name} {error}")
    if problems:
        raise ProjectError(problems)
    return values


def _read(wanted: Wanted, project: Path, environment: Mapping[str, str]) -> str:
    """The value of one variable. Raises ValueError."""
    if wanted.file is not None:
        return _read_file(wanted, wanted.file, project)
    value = environment.get(wanted.name)
    if value is None:
        file = f"name a file, as in {wanted.name}: {{file: ~/.token}}"
        raise ValueError(f"is not set here; export it, or {file if wanted.is_secret else 'write its value'}")
    if wanted.is_secret and not value:
        raise ValueError("is empty here; export its value")
    return value


def _read_file(wanted: Wanted, shown: str, project: Path) -> str:
    path = Path(shown).expanduser()
    try:
        mode = path.stat().st_mode
        content = read_regular(path, _MOST)
    except OSError as error:
        raise ValueError(f"is in {shown}, which cannot be read: {error.strerror}; correct it") from error
    except ValueError as error:
        raise ValueError(f"is in {shown}, which is {error}; correct it") from error
    if mode & 0o077:
        raise ValueError(f"is in {shown}, which others may read (mode {mode & 0o777:03o}); chmod 600 {shown}")
    if path.resolve().is_relative_to(project.resolve()):
        raise ValueError(f"is in {shown}, in the project, which goes to every host; put it elsewhere")
    if not content.strip(b"\r\n"):
        raise ValueError(f"is in {shown}, which is empty; write it there")
    if wanted.as_file:
        return str(path)
    content = content.rstrip(b"\r\n")
    if b"\0" in content:
        raise ValueError(f"is in {shown}, which has NUL characters, as no variable can; add as: file")
    if len(content) > LONGEST_VALUE:
        raise ValueError(f"is in {shown}, which is longer than {LONGEST_VALUE} bytes; add as: file")
    return os.fsdecode(content)
