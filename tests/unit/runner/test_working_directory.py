"""Working directories: what a task finds of its project, and what is left when it has ended."""

from __future__ import annotations

import logging
import shutil
import time
from pathlib import Path

import pytest

from framework.runner import working_directory
from framework.runner.working_directory import WorkingDirectory, project_tree


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Make a project of its own for each test, as what is known of one is kept by its path."""
    project = tmp_path / "project"
    for name in ("train.py", "checkpoints/.keep", "data/a/1.jpg", "data/a/2.jpg", "data/b/3.jpg"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(name)
    (project / "empty").mkdir()
    return project


@pytest.fixture
def work(project: Path) -> WorkingDirectory:
    work = WorkingDirectory(project.parent / "t/1/files", project)
    work.fill()
    return work


def content(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def is_own(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def test_a_task_finds_the_project_with_directories_of_its_own(project: Path, work: WorkingDirectory) -> None:
    assert content(work.path) == content(project)
    assert all(is_own(work.path / name) for name in ("checkpoints", "data", "data/a", "data/b", "empty"))
    assert (work.path / "data/a/1.jpg").readlink() == project / "data/a/1.jpg"
    assert sorted(path.name for path in work.path.rglob("*.jpg")) == ["1.jpg", "2.jpg", "3.jpg"]
    work.clear()
    assert content(work.path) == []


@pytest.mark.parametrize("files_at_top", [1, 1000])
def test_a_directory_that_exists_for_output_is_not_shared_by_tasks(
    tmp_path: Path, files_at_top: int, caplog: pytest.LogCaptureFixture
) -> None:
    project = tmp_path / "project"
    (project / "checkpoints").mkdir(parents=True)
    (project / "checkpoints/.gitkeep").touch()
    for number in range(files_at_top):
        (project / str(number)).touch()
    tasks = [WorkingDirectory(tmp_path / "tasks" / name / "1/files", project) for name in "ab"]
    for task in tasks:
        task.fill()
    for task in tasks:
        (task.path / "checkpoints/best.pt").write_text(str(task.path))
    for task in tasks:
        task.clear()
        assert content(task.path) == ["checkpoints", "checkpoints/best.pt"]
        assert (task.path / "checkpoints/best.pt").read_text() == str(task.path)
    assert content(project / "checkpoints") == [".gitkeep"]
    assert caplog.messages == []


def test_what_a_task_wrote_or_replaced_stays(project: Path, work: WorkingDirectory) -> None:
    (work.path / "checkpoints/best.pt").write_text("mine")
    (work.path / "train.py").unlink()
    (work.path / "train.py").write_text("mine, too")
    shutil.rmtree(work.path / "data/b")
    (work.path / "data/b").symlink_to("a")
    (work.path / "data/a/new").mkdir()
    before = content(project)
    work.clear()
    assert content(work.path) == [
        "checkpoints", "checkpoints/best.pt", "data", "data/a", "data/a/new", "data/b", "train.py",
    ]  # fmt: skip
    assert content(project) == before


def test_nothing_is_removed_outside_of_the_directory(project: Path, work: WorkingDirectory) -> None:
    outside = project.parent / "outside"
    (outside / "a").mkdir(parents=True)
    (outside / "a/1.jpg").symlink_to(project / "data/a/1.jpg")  # looks like one that was made for the task
    shutil.rmtree(work.path / "data")
    (work.path / "data").symlink_to(outside)
    work.clear()
    assert content(outside) == ["a", "a/1.jpg"]


def test_a_task_may_remove_everything(work: WorkingDirectory, caplog: pytest.LogCaptureFixture) -> None:
    shutil.rmtree(work.path)
    work.clear()
    assert caplog.messages == []


def test_a_link_in_the_project_means_the_tasks_own_files(project: Path) -> None:
    (project / "latest").symlink_to("checkpoints")
    (project / "data/up").symlink_to("../checkpoints/.keep")
    (project / "outside").symlink_to("../somewhere")
    (project / "data/absolute").symlink_to("/somewhere")
    (project / "again").symlink_to("checkpoints")
    work = WorkingDirectory(project.parent / "t/1/files", project)
    work.fill()
    assert (work.path / "latest").readlink() == Path("checkpoints")
    assert (work.path / "data/up").readlink() == Path("../checkpoints/.keep")
    assert (work.path / "outside").readlink() == project / "outside"
    assert (work.path / "data/absolute").readlink() == project / "data/absolute"
    (work.path / "latest/best.pt").write_text("mine")
    (work.path / "again").unlink()
    time.sleep(0.02)  # longer than a tick of the clock of the file system
    (work.path / "again").symlink_to("checkpoints")  # the task's own, although it looks like ours
    work.clear()
    assert content(work.path) == ["again", "checkpoints", "checkpoints/best.pt"]


def test_the_smallest_directories_are_made_and_the_others_are_links(
    project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(working_directory, "MOST_ENTRIES", 4)
    for number in range(9):
        (project / "data/a" / str(number)).touch()
    work = WorkingDirectory(project.parent / "t/1/files", project)
    for _ in range(2):
        work.fill()
        assert content(work.path / "data") == ["a", "b", "b/3.jpg"]
        assert (work.path / "data/a").readlink() == project / "data/a"
        assert all(is_own(work.path / name) for name in ("checkpoints", "data/b", "empty"))
        work.clear()
        assert content(work.path) == []
    assert len(caplog.messages) == 1
    assert "below data/a: the project's directories have more than 4 entries" in caplog.text


def test_entries_at_the_top_are_always_there(
    project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(working_directory, "MOST_ENTRIES", 0)
    monkeypatch.setattr(working_directory, "_MOST_NAMED", 1)
    caplog.set_level(logging.WARNING)
    tree = project_tree(project)
    assert [parts for parts, _ in tree.directories] == [(), ("empty",)]
    assert {name for name, _ in tree.directories[0][1]} == {"train.py", "checkpoints", "data"}
    assert "below checkpoints and 1 more" in caplog.text


def test_what_python_keeps_is_not_linked(project: Path) -> None:
    (project / "checkpoints/__pycache__").mkdir()
    work = WorkingDirectory(project.parent / "t/2/files", project)
    work.fill()
    assert content(work.path / "checkpoints") == [".keep"]


def test_the_directory_in_which_a_task_starts_is_its_own(
    project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(working_directory.MOST_ENTRIES + 50):
        for name in ("data/a", "src/deep", "src"):
            (project / name).mkdir(parents=True, exist_ok=True)
            (project / name / f"{number}.py").touch()
    work = WorkingDirectory(project.parent / "t/2/files", project, "src/deep")
    work.fill()
    assert all(is_own(work.path / name) for name in ("src", "src/deep", "checkpoints"))
    assert content(work.path / "src") == content(project / "src")
    assert (work.path / "data/a").is_symlink()
    assert "below data/a:" in caplog.text
    (work.path / "src/deep/out").touch()
    work.clear()
    assert content(work.path) == ["src", "src/deep", "src/deep/out"]
    assert project_tree(project).shared, "without it, src is data like any other"
