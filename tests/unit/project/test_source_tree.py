"""The source tree: entries that belong, and what is said of the others; rules have tests of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from framework.project.source_tree import SourceTree


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("b/x.py", "b/x.pyc", "a.py", "env/pyvenv.cfg", "b/data/big", "results/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "linked").symlink_to("env")
    return tmp_path


def test_entries_are_sorted_and_a_directory_comes_before_what_is_in_it(project: Path) -> None:
    tree = SourceTree(project, ["data/"])
    assert [entry.name for entry in tree.entries(project)] == ["a.py", "b"]
    assert [str(Path(entry.path).relative_to(project)) for entry in tree.walk()] == ["a.py", "b", "b/x.py"]


def test_environments_are_named_once_their_directory_was_read(project: Path) -> None:
    tree = SourceTree(project)
    assert tree.environments(project) == []
    tree.entries(project)
    assert sorted(tree.environments(project)) == [project / "env", project / "linked"]


def test_only_what_git_leaves_out_is_said(project: Path) -> None:
    tree = SourceTree(project, ["data/"])
    assert list(tree.walk())
    assert tree.notices() == []
    (project / ".gitignore").write_text("/b/*.py\nenv\n")
    tree = SourceTree(project, ["data/"])
    assert list(tree.walk())
    (notice,) = tree.notices()
    assert notice.startswith("left out, as .gitignore says: b/ (1 of its entries); ")


def test_the_directory_must_be_readable(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(SourceTree(tmp_path / "nowhere").walk())
