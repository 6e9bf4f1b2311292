"""Project of the current code: its needs, and the assignments that are right for it."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from framework.configuration.load import load_code
from framework.errors import FrameworkError, ProjectError
from framework.files import Code
from framework.messages.assignment import Assignment
from framework.messages.identity import Identity
from framework.project.mounts import mounts_text
from framework.project.project import Project
from framework.project.resources import Resources
from framework.worker.disk import disk_shortage


class CurrentProject:
    """The project of a worker, in the version of the code that is current at each call, or in a given one."""

    def __init__(self, identity: Identity, root: Path, data: Path, free_disk: int | None) -> None:
        """`root`: the directory of all versions; `data`: that of the worker. Raises FrameworkError.

        `free_disk`: bytes that have to be free on the disk of `data`; None: what the project says.
        """
        self._identity = identity
        self._root = root
        self._data = data
        self._free_disk = free_disk
        self._framework_version = self.code().framework_version

    def code(self) -> Code:
        """The version that is current now."""
        return Code.current(self._root)

    @property
    def has_newer_framework(self) -> bool:
        """True if the framework is not the one that this process began with."""
        return self.code().framework_version != self._framework_version

    def load(self, code: Code) -> Project:
        """Raises ProjectError if the project is wrong."""
        return cached_project(code, self._identity.project)

    def needs(self, code: Code | None = None) -> Resources:
        """The resources that one task needs."""
        project = self.if_right(code)
        return (project.resources if project else None) or Resources()

    def mounts(self, code: Code) -> str | None:
        """The mounts that tasks need, as the runner names those that it has; None if they are not known."""
        project = self.if_right(code)
        return mounts_text(project.mounts) if project else None

    def disk_shortage(self) -> str:
        """What the disk lacks of the space that tasks need; empty if it has enough."""
        project = self.if_right()
        return disk_shortage(self._data, self._free_disk or (project.free_disk if project else None))

    def read(self, message: object) -> Assignment:
        """The assignment in a message; raises FrameworkError if it is not valid, or not for this worker."""
        assignment = message if isinstance(message, Assignment) else Assignment.from_message(message)
        ours = (self._identity.infrastructure, self._identity.project)
        if (assignment.infrastructure, assignment.project) != ours:
            raise FrameworkError(
                f"task {assignment.id} is of {assignment.infrastructure}/{assignment.project}: not run"
            )
        if problem := self.mismatch(assignment, self.code()):
            raise FrameworkError(f"{problem}: not run")
        return assignment

    def mismatch(self, assignment: Assignment, code: Code) -> str:
        """The reason why an assignment is none of the project in `code`; empty if it is one.

        If the project cannot be read, its metaparameters cannot be told from others: the attempt will fail.
        """
        with suppress(ProjectError):
            if self.load(code).task_id(assignment.parameters) != assignment.task:
                return (
                    f"task {assignment.id} is another one than its metaparameters make with the command of "
                    f"code {code.version}"
                )
        return ""

    def if_right(self, code: Code | None = None) -> Project | None:
        """The project; None if it is wrong: its tasks say what."""
        with suppress(ProjectError):
            return self.load(code or self.code())
        return None


@lru_cache(maxsize=4)
def cached_project(code: Code, name: str) -> Project:
    """The project of one code version; its path carries the version, so it never changes."""
    return load_code(code, name)
