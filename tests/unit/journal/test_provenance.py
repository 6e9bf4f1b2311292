"""What counts as another version of the program, and which results were made by one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from framework.errors import FrameworkError
from framework.journal.provenance import Provenance, note_program, program_version
from framework.journal.records import TaskOutcome
from framework.journal.store import Journal


def make_project(path: Path) -> Path:
    (path / "data").mkdir(parents=True)
    (path / "project.yml").write_text("command: ./train\n")
    (path / "parameters.yml").write_text("x: 1\n")
    (path / "train").write_text("#!/bin/sh\n")
    (path / "data/points").write_bytes(b"1 2 3")
    return path


def test_a_program_is_the_same_wherever_it_is(tmp_path: Path) -> None:
    assert program_version(make_project(tmp_path / "a")) == program_version(make_project(tmp_path / "b c"))


@pytest.mark.parametrize(
    "change",
    [
        lambda path: (path / "train").write_text("#!/bin/bash\n"),
        lambda path: (path / "train").chmod(0o755),
        lambda path: (path / "data/points").rename(path / "points"),
        lambda path: (path / "data/points").unlink(),
        lambda path: (path / "more").touch(),
        lambda path: (path / "link").symlink_to("train"),
        lambda path: (path / "data/link").symlink_to("."),
    ],
)
def test_a_changed_file_makes_another_program(tmp_path: Path, change: object) -> None:
    path = make_project(tmp_path / "p")
    before = program_version(path)
    change(path)  # type: ignore[operator]
    assert program_version(path) != before


def test_what_is_no_part_of_the_program_does_not(tmp_path: Path) -> None:
    path = make_project(tmp_path / "p")
    before = program_version(path)
    (path / "parameters.yml").write_text("x: [1, 2]\n")
    (path / "project.yml").write_text("command: ./train\nretries: 3\n")
    for file in ("results/p/results.csv", "__pycache__/a.pyc", ".git/HEAD", ".venv/pyvenv.cfg", "data/b.pyc"):
        (path / file).parent.mkdir(parents=True, exist_ok=True)
        (path / file).touch()
    os.utime(path / "train", (1, 1))
    (path / "project.yml").unlink()
    (path / "sweep.yaml").write_text("program: train\n")
    os.mkfifo(path / "data/pipe.pyc")
    assert program_version(path) == before
    (path / "data/wide.yaml").write_text("program: train\n")
    assert program_version(path, path / "data/wide.yaml") != before, "sweep.yaml is a file like others then"
    (path / "sweep.yaml").unlink()
    assert program_version(path, path / "data/wide.yaml") == before


def test_the_version_of_a_program_is_the_one_that_journals_know(tmp_path: Path) -> None:
    # Another rule for a project's files, or another digest, would make the results of everybody outdated.
    path = make_project(tmp_path / "p")
    for name in ("data/results/old.csv", "größe/a b.py", "sweep.yaml"):
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text(name)
    for file in path.rglob("*"):
        file.chmod(0o755 if file.name == "train" or file.is_dir() else 0o644)
    (path / "link").symlink_to("train")
    (path / "data/link").symlink_to(".")
    (path / "empty").mkdir()
    assert program_version(path) == "5fd02574367e"
    os.mkfifo(path / "data/pipe")
    (path / ".infrainitignore").write_text("*.tmp\n")
    for name in (
        "results/x",
        "data/__pycache__/b.pyc",
        "data/.git",
        "env/pyvenv.cfg",
        "env/x.py",
        "data/b.pyc",
    ):
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).touch()
    (path / ".venv").symlink_to("env")
    (path / "x.tmp").touch()
    assert program_version(path) == "5fd02574367e"


def test_where_a_program_starts_belongs_to_it(tmp_path: Path) -> None:
    path = make_project(tmp_path / "code/c1/project")
    (path / "project.yml").write_text("command: ../train\nworkdir: ./data\n")
    started = program_version(path, workdir="data")
    assert len({program_version(path), started, program_version(path, workdir="other")}) == 3
    with Journal(tmp_path / "journal.sqlite") as journal:
        result = TaskOutcome("done", "c1", "")
        assert not Provenance(journal, started, "", tmp_path / "code").is_outdated(result)
        assert Provenance(journal, program_version(path), "", tmp_path / "code").is_outdated(result)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(FrameworkError, match=r"nowhere: cannot be read"):
        program_version(tmp_path / "nowhere")


def test_what_is_not_known_is_not_called_outdated(tmp_path: Path) -> None:
    old = program_version(make_project(tmp_path / "code/c2/project"))
    make_project(tmp_path / "outside/project")
    with Journal(tmp_path / "journal.sqlite") as journal:
        note_program(journal, "c1", "p1")
        note_program(journal, "c3", "p3")
        origins = Provenance(journal, "p3", "i3", tmp_path / "code")
        outdated = {
            (code, image): origins.is_outdated(TaskOutcome("done", code, image))
            for code in ("c1", "c2", "c3", "c4", "", "../outside")
            for image in ("i3", "")
        }
        assert outdated == {
            ("c1", "i3"): True, ("c1", ""): True, ("c2", "i3"): True, ("c2", ""): True, ("c3", "i3"): False,
            ("c3", ""): False, ("c4", "i3"): False, ("c4", ""): False, ("", "i3"): False, ("", ""): False,
            ("../outside", "i3"): False, ("../outside", ""): False,
        }  # fmt: skip
        assert origins.is_outdated(TaskOutcome("done", "c3", "i1"))
        assert not origins.is_outdated(TaskOutcome("failed", "c1", "i1"))
        assert not Provenance(journal, "p3", "").is_outdated(TaskOutcome("done", "c3", "i1"))
        assert not Provenance(journal, old, "", tmp_path / "code").is_outdated(TaskOutcome("done", "c2", ""))
