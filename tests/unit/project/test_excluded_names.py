"""Excluded names: each rule of excluded_files, alone and on what it must not touch."""

from __future__ import annotations

from pathlib import Path

import pytest

from framework.project import excluded_names
from framework.project.excluded_names import EXCLUDED_FILES, is_environment, is_excluded


@pytest.fixture
def project(tmp_path: Path) -> Path:
    project = tmp_path / "results"  # the name means something inside of a project only
    for name in (
        "train.py", "a.pyc", "A.PYC", "pyc", ".github/x", ".gitignore", "results/x", "data/results/x",
        "data/__pycache__/b", "data/b.pyc", "data/.git", "env/pyvenv.cfg", "data/my env/pyvenv.cfg",
        "pyvenv.cfg",
    ):  # fmt: skip
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).touch()
    (project / "linked env").symlink_to("env")
    (project / "dangling").symlink_to("nowhere")
    return project


def names(project: Path, directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if not is_excluded(project, path))


def test_entries_of_a_project_are_those_that_no_rule_excludes_by_name(project: Path) -> None:
    assert names(project, project) == [
        ".github", ".gitignore", "A.PYC", "dangling", "data", "pyc", "pyvenv.cfg", "train.py",
    ]  # fmt: skip
    assert names(project, project / "data") == ["results"]
    assert names(project, project / "data/results") == ["x"]


def test_a_virtual_environment_is_one_by_its_file_alone(project: Path) -> None:
    assert [is_environment(project / name) for name in ("env", "linked env", "data/my env")] == [True] * 3
    assert not any(is_environment(project / name) for name in ("data", "train.py", "dangling", "nowhere"))


def test_a_pattern_excludes_a_whole_name(project: Path) -> None:
    assert is_excluded(project, project / "data/x.pyc")
    assert not any(is_excluded(project, project / name) for name in ("x.pyc.txt", "results.csv", "my.git"))


@pytest.mark.parametrize(
    "name",
    [".DS_Store", "._train.py", ".train.py.swp", ".train.py.swo", "train.py~", ".#train.py", "#train.py#",
     ".vscode", ".idea", ".ipynb_checkpoints", ".pytest_cache"],
)  # fmt: skip
def test_what_editors_and_systems_leave_is_no_part_of_a_project(project: Path, name: str) -> None:
    assert is_excluded(project, project / name)
    assert is_excluded(project, project / "data" / name)


def test_each_line_of_the_file_is_a_rule_of_a_known_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = EXCLUDED_FILES.read_text().splitlines()
    assert sum(not line.startswith("#") for line in lines) == sum(map(len, excluded_names._PATTERNS.values()))
    monkeypatch.setattr(excluded_names, "EXCLUDED_FILES", tmp_path / "excluded_files")
    (tmp_path / "excluded_files").write_text("somewhere  x\n")
    with pytest.raises(KeyError, match="somewhere"):
        excluded_names._patterns()
