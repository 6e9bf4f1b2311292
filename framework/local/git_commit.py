"""Commit of the project's checkout, in a git repository for its tasks.

framework/shell/git_commit.sh makes the same for hosts.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

_COMMIT = re.compile(rb"[0-9a-f]{40}\n")  # one of SHA-256 needs more than this repository has


def make_repository(project: Path, repository: Path) -> None:
    """Make a repository that holds the commit of the project's checkout alone, without its files.

    There is none without git or a commit, nor if `repository` lies in that checkout, where tasks find the
    checkout's own. Raises OSError.
    """
    commit = _commit_of(project)
    if commit in (b"", _commit_of(repository.parent)):
        return
    content = _git("-C", str(project), "cat-file", "commit", "HEAD")
    for name in ("objects", "refs"):
        (repository / name).mkdir(parents=True)
    for name in ("shallow", "HEAD"):  # shallow: git looks for no parents
        (repository / name).write_bytes(commit)
    _git("--git-dir", str(repository), "hash-object", "-t", "commit", "-w", "--stdin", given=content)


def _commit_of(directory: Path) -> bytes:
    """The commit as git prints it; empty if there is none."""
    commit = _git("-C", str(directory), "rev-parse", "--quiet", "--verify", "HEAD")
    return commit if _COMMIT.fullmatch(commit) else b""


def _git(*words: str, given: bytes = b"") -> bytes:
    """The output of git; empty if it fails, or is not installed."""
    try:
        return subprocess.run(["git", *words], input=given, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return b""
