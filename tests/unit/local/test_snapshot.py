"""What of a project is run, and by what name it goes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from framework.files import Code
from framework.local.snapshot import changed_files, keep_written, make_removable, take_snapshot


@pytest.fixture
def project(tmp_path: Path) -> Path:
    project = tmp_path / "project"
    (project / "library").mkdir(parents=True)
    (project / "library/a.py").write_text("A = 1\n")
    (project / "run.sh").write_text("exit 0\n")
    (project / "run.sh").chmod(0o755)
    (project / "link").symlink_to("library/a.py")
    return project


def snapshot(project: Path, data: Path | None = None) -> Code:
    return take_snapshot(project, project.parent / "data/code", data or project.parent / "data")


def content(code: Code) -> list[str]:
    found = (path.relative_to(code.project_path) for path in code.project_path.rglob("*"))
    return sorted(str(path) for path in found if path.name != "__pycache__")


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_snapshot_has_all_files_read_only_and_is_the_current_version(project: Path) -> None:
    code = snapshot(project)
    assert content(code) == ["library", "library/a.py", "link", "run.sh"]
    assert (code.project_path / "link").readlink() == Path("library/a.py")
    modes = [mode(code.project_path / name) for name in ("library/a.py", "run.sh", "library", "")]
    assert modes == [0o444, 0o555, 0o555, 0o555]
    assert (code.path / "framework/report.py").is_file()
    assert Code.current(project.parent / "data/code") == code


def test_a_version_keeps_what_was_said_beside_the_project(project: Path) -> None:
    code = snapshot(project)
    assert (code.sweep, code.run_cap) == (None, None)
    root = project.parent / "data/code"
    other = take_snapshot(project, root, project.parent, {"sweep": "a b/wide.yaml", "run_cap": "7"})
    assert (other.sweep, other.run_cap) == (other.project_path / "a b/wide.yaml", 7)
    assert other.version != code.version


def test_python_can_keep_what_it_compiles(project: Path) -> None:
    code = snapshot(project)
    caches = [path.relative_to(code.project_path) for path in code.project_path.rglob("__pycache__")]
    assert caches == [Path("library/__pycache__")]
    assert mode(code.project_path / caches[0]) == 0o755


def test_a_snapshot_can_be_removed_when_its_run_has_ended(project: Path) -> None:
    outside = project.parent / "outside"
    outside.mkdir(mode=0o700)
    (project / "link out").symlink_to(outside)
    code = snapshot(project)
    make_removable(code.path)
    assert [mode(code.project_path / name) for name in ("", "library")] == [0o755, 0o755]
    assert mode(outside) == 0o700


def test_what_is_no_part_of_a_project_is_left_out(project: Path) -> None:
    for name in (".git/x", "results/x", "library/__pycache__/a.pyc", "b.pyc", "data here/x"):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).touch()
    (project / "library/results").mkdir()
    (project / "environment").mkdir()
    (project / "environment/pyvenv.cfg").touch()
    (project / "library/linked").symlink_to("../environment")
    os.mkfifo(project / "pipe")
    code = snapshot(project, project / "data here")
    assert content(code) == [
        "environment", "library", "library/a.py", "library/linked", "library/results", "link", "run.sh",
    ]  # fmt: skip
    for environment in ("environment", "library/linked"):
        assert (code.project_path / environment).readlink() == project / environment


def test_what_the_users_rules_leave_out_is_not_copied(project: Path) -> None:
    first = snapshot(project)
    for name in ("x.log", "library/x.ckpt", ".venv/pyvenv.cfg"):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).touch()
    (project.parent / ".git").mkdir()
    (project.parent / ".gitignore").write_text("*.log\n.venv\ndata/\n")
    code = take_snapshot(project, project.parent / "data/code", project.parent / "data", ignore=["*.ckpt"])
    assert content(code) == [".venv", "library", "library/a.py", "link", "run.sh"]
    assert (code.project_path / ".venv").readlink() == project / ".venv"
    assert code.version == first.version


def test_a_virtual_environment_makes_no_other_version(project: Path) -> None:
    first = snapshot(project).version
    (project / ".venv").mkdir()
    (project / ".venv/pyvenv.cfg").touch()
    assert snapshot(project).version == first


def test_the_version_tells_every_change_of_the_framework(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    framework = tmp_path / "framework"
    monkeypatch.setattr("framework.local.snapshot.__file__", str(framework / "local/snapshot.py"))
    versions = []
    for name in ("errors.py", "local/snapshot.py", "project/excluded_files", "shell/files.sh"):
        (framework / name).parent.mkdir(parents=True, exist_ok=True)
        (framework / name).touch()
        versions.append(snapshot(project).framework_version)
    assert len(set(versions)) == 3
    assert versions[-2] == versions[-1]  # shell runs no task


@pytest.mark.parametrize(
    "change",
    [
        lambda project: (project / "library/a.py").write_text("A = 2\n"),
        lambda project: (project / "run.sh").rename(project / "walk.sh"),
        lambda project: (project / "run.sh").chmod(0o644),
        lambda project: (project / "library/a.py").rename(project / "a.py"),
        lambda project: ((project / "link").unlink(), (project / "link").symlink_to("run.sh")),
        lambda project: (project / "empty").mkdir(),
    ],
    ids=["content", "name", "mode", "place", "link", "directory"],
)
def test_the_version_tells_every_change_and_nothing_else(
    project: Path, change: Callable[[Path], object]
) -> None:
    first = snapshot(project).version
    os.utime(project / "run.sh", (1, 1))
    assert snapshot(project).version == first
    change(project)
    changed = snapshot(project)
    assert changed.version != first
    assert [path.name for path in sorted((project.parent / "data/code").iterdir())] == sorted(
        [changed.version, "current"]
    )


def test_files_that_tasks_changed_or_added_are_named(project: Path) -> None:
    code = snapshot(project)
    assert changed_files(code) == []
    file = code.project_path / "library/a.py"
    file.chmod(0o644)  # as root need not
    file.write_text("A = 3\n")
    (code.project_path / "library/cache").touch()
    (code.project_path / "library/__pycache__/a.pyc").touch()
    assert changed_files(code) == ["library/a.py", "library/cache"]
    assert (project / "library/a.py").read_text() == "A = 1\n"


def test_files_that_tasks_wrote_are_kept_when_their_copy_goes(project: Path) -> None:
    written = project.parent / "data/written"
    for text in ("first", "second"):
        code = snapshot(project)
        (code.project_path / "library").chmod(0o755)
        (code.project_path / "library/best.txt").write_text(text)
        keep_written(code.path.parent, written)
    snapshot(project)
    kept = [path for path in written.rglob("*") if path.is_file()]
    assert sorted(path.read_text() for path in kept) == ["first", "second"]
    assert {path.relative_to(written).parts[1:] for path in kept} == {("library", "best.txt")}
    assert all(path.relative_to(written).parts[0].startswith(code.version) for path in kept)


def test_a_file_that_cannot_be_read_is_named(project: Path) -> None:
    (project / "run.sh").chmod(0)
    as_user = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    program = (
        "import sys; from pathlib import Path; from framework.local.snapshot import take_snapshot\n"
        "path = Path(sys.argv[1]); take_snapshot(path, path.parent / 'code', path.parent)"
    )
    command = [*as_user, sys.executable, "-c", program, str(project)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert f"FrameworkError: {project}/run.sh: cannot be copied to run it (Permission denied)" in done.stderr
