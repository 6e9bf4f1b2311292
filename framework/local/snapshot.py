"""Snapshot of a project: a read-only copy that the tasks of a local run use.

Tasks find the project's files in their working directory. Were they the user's own, a program that writes a
file which is there already would change it for the user and for every other task; and nobody could say which
code produced a result if the files were edited meanwhile. As on a host, tasks cannot write into the copy;
root can, as its permissions have no limits.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from framework.errors import FrameworkError
from framework.files import REPOSITORY, Code
from framework.local.git_commit import make_repository
from framework.project.excluded_names import EXCLUDED_FILES, is_excluded_anywhere
from framework.project.source_tree import SourceTree

_CHUNK = 2**20  # bytes read at once
_MARKER = "VERSION"  # written when a copy is complete


def take_snapshot(
    project: Path,
    root: Path,
    keep_out: Path,
    properties: Mapping[str, str] | None = None,
    ignore: Sequence[str] = (),
) -> Code:
    """Make `project` as it is now the one version under `root`, and the current one; earlier ones go.

    `keep_out`: a directory that is not copied if it is in the project. A virtual environment is no part of
    the project, but the copy has a link to it in its place, so that `command: .venv/bin/python train.py`
    works: it is large, and works where it was made only. `properties`: further ones of the version. `ignore`:
    patterns of files that are left out.
    Raises FrameworkError.
    """
    framework = Path(__file__).parents[1]
    try:
        if root.exists():
            make_removable(root)
            shutil.rmtree(root)
        new = root / "new"
        new.mkdir(parents=True)
        (new / "framework").symlink_to(framework)
        make_repository(project, new / REPOSITORY)
        digest = _Digest()
        tree = SourceTree(project, ignore)
        _copy(tree, tree.top, new / "project", keep_out.resolve(), digest)
        lines = {"framework": _digest_of_sources(framework), "project": digest.short(), **(properties or {})}
        versions = "".join(f"{name}={value}\n" for name, value in lines.items())
        (new / _MARKER).write_text(versions)
        # Begins with a letter: 123e45678901 in results.csv would be read as a number.
        version = f"c{hashlib.sha256(versions.encode()).hexdigest()[:12]}"
        new.rename(root / version)
        (root / "current").symlink_to(version)
    except OSError as error:
        raise FrameworkError(
            f"{error.filename or project}: cannot be copied to run it ({error.strerror})"
        ) from error
    return Code.current(root)


def keep_written(code: Path, written: Path) -> None:
    """Move files that tasks wrote into the versions in `code` to `written`, before the versions are removed.

    Raises FrameworkError.
    """
    try:
        for marker in code.glob(f"*/{_MARKER}"):
            version = Code(marker.parent.resolve())  # `current` is one of them
            make_removable(version.path)
            target = written / f"{version.version}-{marker.stat().st_ctime_ns}"
            for name in changed_files(version):
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                (version.project_path / name).rename(target / name)
    except OSError as error:
        raise FrameworkError(f"{error.filename}: cannot be kept in {written} ({error.strerror})") from error


def make_removable(root: Path) -> None:
    """Let the owner remove with rm -r what take_snapshot() has made, when no task runs. Raises OSError."""
    for path, _, _ in os.walk(root):
        os.chmod(path, 0o755)


def changed_files(code: Code) -> list[str]:
    """The files of the project that tasks wrote into or added, which they could not do on a host."""
    since = (code.path / _MARKER).stat().st_ctime_ns
    changed = (
        file.relative_to(code.project_path)
        for file in _regular_files(code.project_path)
        if file.stat().st_ctime_ns > since
    )
    return sorted(str(file) for file in changed if not any(map(is_excluded_anywhere, file.parts)))


class _Digest:
    """Of names, modes and content."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, *parts: bytes) -> None:
        for part in parts:
            self._hash.update(b"%d:%b" % (len(part), part))

    def short(self) -> str:
        return self._hash.hexdigest()[:12]


def _digest_of_sources(framework: Path) -> str:
    """The framework's version: names and contents of its modules, and of the rule for a project's files."""
    digest = _Digest()
    sources = [*framework.rglob("*.py"), *framework.rglob(EXCLUDED_FILES.name)]
    for file in sorted(sources):
        digest.add(os.fsencode(file.relative_to(framework)), file.read_bytes())
    return digest.short()


def _copy(tree: SourceTree, source: Path, target: Path, keep_out: Path, digest: _Digest) -> None:
    """Copy the entries of a directory that belong to the project, read-only; link its environments."""
    target.mkdir()
    chosen = tree.entries(source)
    for environment in tree.environments(source):
        (target / environment.name).symlink_to(environment)
    for entry in chosen:
        path, copy, name = Path(entry.path), target / entry.name, os.fsencode(entry.name)
        if path == keep_out:
            continue
        if entry.is_symlink():
            link = os.readlink(path)
            copy.symlink_to(link)
            digest.add(b"link", name, os.fsencode(link))
        elif entry.is_dir():
            digest.add(b"directory", name)
            _copy(tree, path, copy, keep_out, digest)
            digest.add(b"end")
        else:
            executable = bool(entry.stat().st_mode & stat.S_IXUSR)
            digest.add(b"program" if executable else b"file", name, _copy_file(path, copy))
            copy.chmod(0o555 if executable else 0o444)
    if any(entry.name.endswith(".py") for entry in chosen):
        (target / "__pycache__").mkdir(
            exist_ok=True
        )  # so that Python compiles a module once, and not for each task
    target.chmod(0o555)


def _copy_file(source: Path, target: Path) -> bytes:
    """Copy content and times; returns the digest of the content."""
    digest = hashlib.sha256()
    with source.open("rb") as original, target.open("xb") as copy:
        while chunk := original.read(_CHUNK):
            digest.update(chunk)
            copy.write(chunk)
        times = os.fstat(original.fileno())
    os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))
    return digest.digest()


def _regular_files(directory: Path) -> Iterator[Path]:
    for path, _, names in os.walk(directory):
        yield from (file for name in names if not (file := Path(path, name)).is_symlink() and file.is_file())
