"""Directories of the hosts that tasks see: the `mounts:` of a project."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Mount:
    """A directory or file of each host that tasks see at `target`."""

    source: str  # absolute, or begins with ~, the home directory of the user on each host
    target: str  # absolute, normalized, without spaces
    is_writable: bool = False

    def __str__(self) -> str:
        """One line, as framework/shell/one_off.sh reads it."""
        return f"{'rw' if self.is_writable else 'ro'} {self.target} {self.source}"

    @property
    def shown(self) -> str:
        """For people to read."""
        return f"{self.source} as {self.target} ({'writable' if self.is_writable else 'read-only'})"


def mounts_text(mounts: Iterable[Mount]) -> str:
    """One line for each mount; the runner's container is told the same, so that the two can be compared."""
    return "\n".join(map(str, mounts))


def holds(directory: str, path: str) -> bool:
    """True if `path` is `directory` or in it; both are absolute and normalized."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def local_problems(mounts: Iterable[Mount]) -> list[str]:
    """A line for each mount that a run without containers cannot give its tasks, with what to do.

    Such a task sees the files of this machine: a mount is right if its target is its source here.
    """
    return [
        f"mounts: {mount.source} is not {mount.target} on this machine ({problem}), and a local run has no "
        f"container to mount it in; {advice}, or use ./infrainit.sh, whose hosts may be this machine"
        for mount in mounts
        for problem, advice in [_local_problem(mount)]
        if problem
    ]


def _local_problem(mount: Mount) -> tuple[str, str]:
    """The reason why tasks here do not find the source at the target, and what to do; or empty texts."""
    source = os.path.expanduser(mount.source)
    if not os.path.exists(source):
        return "there is no such source", "put it there"
    if not os.path.lexists(mount.target):
        command = shlex.join(["sudo", "ln", "-s", source, mount.target])
        return f"there is no {mount.target}", f"run: {command}"
    if not os.path.exists(mount.target) or not os.path.samefile(source, mount.target):
        return f"{mount.target} is something else", "choose another target"
    return "", ""
