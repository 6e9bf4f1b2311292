"""What tasks of local runs can ask git."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from framework.local.snapshot import take_snapshot
from framework.runner.working_directory import WorkingDirectory


@pytest.fixture(autouse=True)
def _no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    project = tmp_path / "checkout/project"
    (project / "src").mkdir(parents=True)
    (project / "src/train.py").touch()
    return project


def git(directory: Path, *words: str) -> str:
    return subprocess.run(
        ["git", "-C", str(directory), *words], check=True, capture_output=True, text=True
    ).stdout.strip()


def commit(project: Path, *options: str) -> str:
    git(project.parent, "init", "--quiet")
    git(project, "add", ".")
    git(project, "-c", "user.name=a", "-c", "user.email=b", "commit", "--quiet", "--message", "a", *options)
    return git(project, "rev-parse", "HEAD")


def task(project: Path, data: Path) -> tuple[str, WorkingDirectory]:
    """The version of the code, and the directory of a task of it."""
    code = take_snapshot(project, data / "code", data)
    work = WorkingDirectory(data / f"tasks/{len(list(data.iterdir()))}/files", code.project_path.absolute())
    work.fill()
    return code.version, work


def test_a_task_asks_for_the_commit(project: Path, tmp_path: Path) -> None:
    first = commit(project)
    version, work = task(project, tmp_path / "a")
    assert git(work.path / "src", "rev-parse", "HEAD") == first
    assert git(work.path, "log", "--format=%H %s") == f"{first} a"
    work.clear()
    assert not list(work.path.iterdir())
    second = commit(project, "--allow-empty")
    again, work = task(project, tmp_path / "b")
    assert again == version, "a commit alone makes no new version"
    assert git(work.path, "log", "--format=%H %s") == f"{second} a"


def test_in_the_checkout_itself_it_finds_the_checkouts_own(project: Path) -> None:
    commit(project)
    _, work = task(project, project.parent / "results/local/project")
    assert not (work.path / ".git").exists()
    assert git(work.path, "rev-parse", "--show-toplevel") == str(project.parent)


def test_without_a_commit_or_git_there_is_none(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(project.parent, "init", "--quiet")
    _, work = task(project, tmp_path / "a")
    assert not (work.path / ".git").is_symlink()
    commit(project)
    monkeypatch.setenv("PATH", "/nowhere")
    _, work = task(project, tmp_path / "b")
    assert not (work.path / ".git").is_symlink()
