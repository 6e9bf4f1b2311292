"""Names of files, and files that are written whole or not at all."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from framework.errors import FrameworkError
from framework.files import (
    Code,
    WorkerFiles,
    atomic_file,
    read_regular,
    remove_unfinished,
    write_atomically,
)

ROOT = Path(__file__).parents[2]


def test_code_stays_the_version_it_was(tmp_path: Path) -> None:
    for version in ("111111111111", "222222222222"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "VERSION").write_text(f"framework=f{version}\nproject=p{version}\n")
    current = tmp_path / "current"
    current.symlink_to("111111111111")
    code = Code.current(tmp_path)
    current.unlink()
    current.symlink_to("222222222222")
    assert (code.version, code.framework_version) == ("111111111111", "f111111111111")
    assert (Code.current(tmp_path).version, Code.current(tmp_path).framework_version) == (
        "222222222222",
        "f222222222222",
    )
    assert code.project_path == tmp_path / "111111111111" / "project"


def test_no_code(tmp_path: Path) -> None:
    with pytest.raises(FrameworkError, match="update_files"):
        Code.current(tmp_path)
    with pytest.raises(FrameworkError, match="VERSION"):
        _ = Code(tmp_path).framework_version
    (tmp_path / "VERSION").write_text("framework=\n")
    with pytest.raises(FrameworkError, match="framework="):
        _ = Code(tmp_path).framework_version


def test_attempts_have_directories_of_their_own(tmp_path: Path) -> None:
    files = WorkerFiles(tmp_path).attempt("0123456789abcdef", 2)
    assert files.directory == tmp_path / "tasks" / "0123456789abcdef" / "2"
    assert (files.task, files.attempt) == ("0123456789abcdef", 2)
    assert (
        files.work.parent
        == files.stdout.parent
        == files.stderr.parent
        == files.result.parent
        == files.directory
    )


@pytest.mark.parametrize("content", ["grüße\n", b"\0\xff", ""])
def test_write_atomically(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "a name with spaces"
    path.write_text("before")
    write_atomically(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("fsync", [True, False])
def test_content_is_on_disk_before_its_name_and_the_name_before_the_block_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fsync: bool
) -> None:
    calls: list[tuple[str, str | int]] = []
    replace = os.replace

    def note_fsync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            calls.append(("fsync", os.readlink(f"/proc/self/fd/{descriptor}")))
        else:
            calls.append(("fsync", status.st_size))

    def note_replace(source: str, target: Path) -> None:
        calls.append(("replace", target.name))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    write_atomically(tmp_path / "file", "content", fsync=fsync)
    assert (tmp_path / "file").read_text() == "content"
    expected = [("fsync", len("content")), ("replace", "file"), ("fsync", str(tmp_path))]
    assert calls == (expected if fsync else [("replace", "file")])


def test_what_fails_half_way_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")

    def fail() -> None:
        with atomic_file(path) as file:
            file.write(b"half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        fail()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_has_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.json", "whole")
    (tmp_path / ".hidden").touch()
    program = (
        "import os, pathlib, sys\nfrom framework.files import atomic_file\n"
        "with atomic_file(pathlib.Path(sys.argv[1])) as file:\n    file.write(b'half')\n    os._exit(1)\n"
    )
    for name in ("a.json", "b"):
        subprocess.run([sys.executable, "-c", program, str(tmp_path / name)], cwd=ROOT, check=False)
    assert len(list(tmp_path.iterdir())) == 4
    remove_unfinished(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"a.json", ".hidden"}
    remove_unfinished(tmp_path / "none")


def test_a_regular_file_is_read_up_to_a_limit(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("12345")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "file", 5) == read_regular(tmp_path / "link", 9) == b"12345"
    with pytest.raises(ValueError, match="longer than 4 bytes"):
        read_regular(tmp_path / "file", 4)
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "other", 4)


def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    for path in (tmp_path / "pipe", tmp_path / "device", tmp_path):
        with pytest.raises(ValueError, match="no regular file"):
            read_regular(path, 100)
    assert len(os.listdir("/proc/self/fd")) == before, "no descriptor is left open"
