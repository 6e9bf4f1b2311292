"""Archives of hosts: only what was asked for is kept, and nothing else is touched"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st
from shell import HARMFUL, SHELL, SPACE

ATTEMPTS = ["0123456789abcdef/1", "fedcba9876543210/10"]
PARTS = [
    *(part.replace("/", "_") for part in HARMFUL), "..", ".", "", "a", "files", "result.json", "stdout",
    "a\nb", "-rf", "--to-command=x", "\x1b[31m", "é", "\udcff", "x" * 255, "x" * 300, "*",
    "0123456789abcdef", "1", "tasks", "journal.sqlite3", " ", "\\", "\\n", "a b", "c" * 90,
]  # fmt: skip
KINDS = [
    tarfile.REGTYPE, tarfile.REGTYPE, tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE,
    tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE, b"V",
    b"M", b"N", b"D", b"Z",
]  # fmt: skip
GOALS = [
    "OUTSIDE",
    "OUTSIDE/kept",
    "..",
    "../..",
    "../../../../outside/kept",
    "/etc/passwd",
    "a",
    "files",
    ".",
    "/",
    "/dev/null",
    "x/" * 50 + "y",
    "/proc/self/fd/0",
]
STARTS = [
    *(f"{each}/" for each in ATTEMPTS * 3), "./0123456789abcdef/1/", "./tasks/0123456789abcdef/1/", "", "/",
    "../", "OUTSIDE/", "./files/",
]  # fmt: skip
EXTRA = [
    "path", "linkpath", "size", "mtime", "GNU.sparse.name", "GNU.sparse.major", "GNU.sparse.realsize",
    "SCHILY.xattr.user.a", "uid",
]  # fmt: skip
PATTERN = r"\./tasks/[0-9a-f]{16}/[1-9][0-9]*/result\.json|\./a|\./files/.*"


@dataclass(frozen=True)
class Entry:
    """One entry of an archive."""

    name: str
    kind: bytes
    goal: str
    mode: int
    size: int
    extra: tuple[tuple[str, str], ...]  # of its extended header


@dataclass(frozen=True)
class Archive:
    """Archives one after the other, changed at some places, and cut."""

    verb: str
    archives: tuple[tuple[int, tuple[Entry, ...]], ...]  # format and entries of each
    changes: tuple[tuple[int, int], ...]
    cut: int
    is_honest: bool  # the checksums are those of the files


def strategy(_: Path | None) -> st.SearchStrategy[Archive]:
    part = st.sampled_from(PARTS)
    name = st.builds("{}{}".format, st.sampled_from(STARTS), st.lists(part, max_size=4).map("/".join))
    extra = st.lists(st.tuples(st.sampled_from(EXTRA), name | part), max_size=2).map(tuple)
    entry = st.builds(
        Entry, name, st.sampled_from(KINDS), st.sampled_from(GOALS) | name,
        st.sampled_from([0o644, 0o755, 0, 0o4755, 0o2777, 0o1777]),
        st.sampled_from([0, 1, 1, 100, 20_000]), st.just(()) | extra,
    )  # fmt: skip
    good = [Entry(f"{each}/result.json", tarfile.REGTYPE, "", 0o644, 3, ()) for each in ATTEMPTS]
    entries = st.lists(entry, max_size=6).map(tuple)
    whole = st.builds(lambda more: (*good, *more), st.lists(entry, max_size=2))
    archives = st.lists(
        st.tuples(st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]), entries), min_size=1, max_size=2
    ).map(tuple)
    change = st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=3).map(tuple)
    verb = st.sampled_from(["fetch", "fetch", "named"])
    uncut = st.just(10**9)
    cut = st.integers(0, 20_000) | uncut
    return st.one_of(
        st.builds(
            Archive, verb, whole.map(lambda each: ((tarfile.GNU_FORMAT, each),)), st.just(()), uncut,
            st.just(True),
        ),
        st.builds(Archive, verb, archives, st.just(()), uncut, st.booleans()),
        st.builds(Archive, verb, archives, st.just(()) | change, cut, st.booleans()),
    )  # fmt: skip


def _bytes_of(archive: Archive, outside: str) -> bytes:
    """The archive; OUTSIDE in it is the directory `outside`."""
    written = io.BytesIO()
    for form, entries in archive.archives:
        with tarfile.open(fileobj=written, mode="w", format=form, errors="surrogateescape") as opened:
            for entry in entries:
                info = tarfile.TarInfo(entry.name.replace("OUTSIDE", outside) or "x")
                info.type, info.mode, info.linkname = (
                    entry.kind,
                    entry.mode,
                    entry.goal.replace("OUTSIDE", outside),
                )
                info.devmajor, info.devminor = 1, 3
                has_content = entry.kind in (tarfile.REGTYPE, tarfile.CONTTYPE)
                info.size = entry.size if has_content else 0
                info.pax_headers = {
                    key: value.replace("\0", "").encode(errors="replace").decode()
                    for key, value in entry.extra
                }
                opened.addfile(info, io.BytesIO(b"z" * entry.size) if has_content else None)
    data = bytearray(written.getvalue())
    for at, value in archive.changes:
        data[at % len(data)] = value
    return bytes(data[: archive.cut])


def _sums_of(archive: Archive) -> bytes:
    """What CHECKSUM_SCRIPT prints of the regular files in an attempt."""
    files = {
        entry.name: entry.size
        for _, entries in archive.archives
        for entry in entries
        if entry.kind == tarfile.REGTYPE
    }
    return b"".join(
        hashlib.blake2b(b"z" * size, digest_size=32).hexdigest().encode()
        + b"  "
        + name.encode(errors="surrogateescape")
        + b"\0"
        for name, size in files.items()
        if archive.is_honest
    )


def _state(directory: Path) -> dict[str, object]:
    """All that is in a directory, with what may not change there."""
    found: dict[str, object] = {}
    for path in sorted([directory, *directory.rglob("*")]):
        status = path.lstat()
        found[str(path)] = (status.st_mode, status.st_nlink, path.read_bytes() if path.is_file() else None)
    return found


def check(archive: Archive) -> str:
    with tempfile.TemporaryDirectory(dir=SPACE) as temporary:
        outside, directory = Path(temporary) / "outside", Path(temporary) / "d"
        (outside / "files").mkdir(parents=True)
        (outside / "kept").write_text("kept")
        (outside / "kept").chmod(0o640)
        directory.mkdir()
        (directory / "archive").write_bytes(_bytes_of(archive, str(outside)))
        (directory / "sums").write_bytes(_sums_of(archive))
        (directory / "attempts").write_text("\n".join(ATTEMPTS) + "\n")
        (directory / "pattern").write_text(PATTERN)
        before = _state(outside)
        code = SHELL.run(archive.verb, directory, (0, 1, 2))
        assert _state(outside) == before, "something outside was changed"
        assert set(os.listdir(temporary)) == {"outside", "d"}, os.listdir(temporary)
        known = {"archive", "sums", "attempts", "pattern", "out", "err", "lists", "in", "results", "named"}
        assert set(os.listdir(directory)) <= known, os.listdir(directory)
        count = _check_kept(directory / "results/tasks", directory / "named")
        assert (
            set(os.listdir(directory / "results/tasks")) <= {each[:16] for each in ATTEMPTS}
            if archive.verb == "fetch"
            else True
        )
    return f"{archive.verb}: {'refused' if code else 'taken' if count else 'nothing in it'}"


def _check_kept(*trees: Path) -> int:
    """The number of files in what is kept."""
    count = 0
    for tree in trees:
        for path in tree.rglob("*"):
            status = path.lstat()
            assert stat.S_IFMT(status.st_mode) in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK), (
                f"{path} is special"
            )
            assert not status.st_mode & 0o7000 or path.is_symlink(), f"{path} has mode {status.st_mode:o}"
            if path.is_symlink():
                attempt = tree.joinpath(*path.relative_to(tree).parts[:2])
                place = Path(os.path.realpath(path))  # a link may lead to itself
                around = [place, *place.parents]
                assert attempt.resolve() in around, f"{path} leads to {os.readlink(path)}"
            count += path.is_file()
            assert tree.name == "tasks" or path.is_dir() or status.st_nlink == 1, f"{path} has another name"
    return count
