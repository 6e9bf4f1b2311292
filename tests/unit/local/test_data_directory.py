"""Data directories of local runs: one for each project, and none is lost."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from framework.configuration.load import load_project
from framework.files import LocalFiles
from framework.journal.store import Journal
from framework.local.data_directory import default_directory, other_owner, owner, record_owner
from framework.project.project import Project

RUNS = Path("results/local")


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make_project(path: str, command: str = "python train.py") -> Project:
    Path(path).mkdir(parents=True, exist_ok=True)
    Path(path, "project.yml").write_text(f"command: {command}\n")
    Path(path, "parameters.yml").write_text("x: [1, 2]\n")
    return load_project(Path(path))


def run(project: Project, path: Path, recorded: bool = True) -> Path:
    """Leave what a run of the first task leaves in its directory."""
    files = LocalFiles(path)
    files.path.mkdir(parents=True)
    with Journal(files.master.journal) as journal:
        parameters = project.space.combination(0)
        journal.assign(project.task_id(parameters), 0, parameters, "local", 1.0)
    if recorded:
        record_owner(files, project)
    return path


def test_projects_of_one_name_have_a_directory_each() -> None:
    first, second, third = (make_project(f"{parent}/it's me") for parent in "abc")
    assert default_directory(RUNS, first) == RUNS / "it's me"
    run(first, RUNS / "it's me")
    assert default_directory(RUNS, first) == RUNS / "it's me"
    others = [default_directory(RUNS, project) for project in (second, third)]
    assert [path.name[:-6] for path in others] == ["it's me-"] * 2
    assert len(set(others)) == 2
    run(second, others[0])
    shutil.rmtree(first.path)
    assert default_directory(RUNS, second) == others[0], "its own, although the other one is free"


def test_a_directory_without_a_record_belongs_to_the_project_whose_tasks_it_has() -> None:
    owner_, stranger = make_project("a/p"), make_project("b/p", "python other.py")
    run(owner_, RUNS / "p", recorded=False)
    assert owner(LocalFiles(RUNS / "p")) is None
    assert default_directory(RUNS, stranger) != RUNS / "p"
    assert default_directory(RUNS, owner_) == RUNS / "p"


def test_a_project_that_was_moved_keeps_its_directory() -> None:
    run(make_project("a/p"), RUNS / "p")
    Path("a").rename("b")
    assert default_directory(RUNS, load_project(Path("b/p"))) == RUNS / "p"
    assert default_directory(RUNS, make_project("c/p", "python other.py")) != RUNS / "p"


def test_a_checkout_that_was_moved_keeps_its_directories(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(make_project("checkout/tasks/p"), "checkout" / RUNS / "p")
    shutil.copytree("checkout", "copy")
    monkeypatch.chdir(directory / "copy")
    assert owner(LocalFiles(RUNS / "p")) == directory / "copy/tasks/p"
    assert default_directory(RUNS, load_project(Path("tasks/p"))) == RUNS / "p"


def test_another_project_that_uses_a_directory_is_known() -> None:
    first, second = make_project("a/p"), make_project("b/p")
    files = LocalFiles(run(first, RUNS / "p"))
    assert other_owner(files, first) is None
    assert other_owner(files, second) == first.path.resolve()
    shutil.rmtree(first.path)
    assert other_owner(files, second) is None
    assert other_owner(LocalFiles(RUNS / "new"), second) is None


def make_sweep(path: str, rates: str = "1, 2") -> Project:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(f"program: train.py\nmethod: grid\nparameters: {{rate: {{values: [{rates}]}}}}\n")
    Path("p/train.py").touch()
    return load_project(Path(path))


def test_sweep_files_of_one_name_have_a_directory_each() -> None:
    first, second, usual = (make_sweep(f"p/{path}sweep.yaml") for path in ("a/", "b/", ""))
    assert first.path.resolve() == second.path.resolve() == usual.path.resolve()
    files = LocalFiles(run(first, default_directory(RUNS, first)))
    assert files.path == RUNS / "sweep"
    assert owner(files) == Path("p/a/sweep.yaml").resolve()
    assert default_directory(RUNS, first) == RUNS / "sweep"
    assert len({default_directory(RUNS, each) for each in (first, second, usual)}) == 3
    assert other_owner(files, second) == Path("p/a/sweep.yaml").resolve()
    run(usual, default_directory(RUNS, usual))
    assert default_directory(RUNS, load_project(Path("p"))) == RUNS / "p", "another name"
    assert owner(LocalFiles(default_directory(RUNS, usual))) == Path("p").resolve()
    Path("p/a/sweep.yaml").unlink()
    assert other_owner(files, second) is None


def test_a_directory_that_an_earlier_version_has_made_for_a_sweep_file_is_that_of_the_next_run() -> None:
    first, second = make_sweep("p/a/sweep.yaml"), make_sweep("p/b/sweep.yaml", "8, 9")
    files = LocalFiles(run(first, RUNS / "sweep", recorded=False))
    files.project.write_text("../../../p\n")
    assert owner(files) == Path("p").resolve()
    assert default_directory(RUNS, first) == RUNS / "sweep"
    assert other_owner(files, first) is None
    record_owner(files, first)
    assert default_directory(RUNS, second) != RUNS / "sweep"
