"""Paths that lead out of a project: in its command, as links, and in its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from framework.configuration.load import load_project
from framework.project.outside_paths import outside_paths
from framework.project.project import Project
from framework.project.source_tree import SourceTree


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("data/x.csv", "shared/a b.csv", "project/data/inside.csv", "project/scripts/run.sh"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    return Path("project")


def found(path: Path, command: str = "python train.py", on_hosts: bool = False, x: str = "1") -> list[str]:
    (path / "project.yml").write_text(f"command: {command}\n")
    (path / "parameters.yml").write_text(f"x: {x}\n")
    other = "mount it by mounts: in project.yml" if on_hosts else "write an absolute path"
    end = f"; move it into the project, or {other}"
    lines = outside_paths(load_project(path), SourceTree(path), on_hosts)
    middle = " leads out of the project, and tasks will not find it"
    assert all(line.endswith(end) and middle in line for line in lines)
    return [line.partition(middle)[0] for line in lines]


def test_words_of_the_command(path: Path) -> None:
    assert found(
        path, "python ../scripts/train.py --data=../nowhere/x --other=a/../../y ./a/../b ..x 1/2"
    ) == [
        "project/project.yml:1:17: '../scripts/train.py' in the command",
        "project/project.yml:1:37: '--data=../nowhere/x' in the command",
        "project/project.yml:1:57: '--other=a/../../y' in the command",
    ]
    once = ["project/project.yml:1:13: '../data/x.csv' in the command"]
    assert found(path, "cp ../data/x.csv .") == once
    assert found(path, "cp '../da'ta/x.csv .") == ["project/project.yml: '../data/x.csv' in the command"]


def test_paths_in_code_and_settings_that_lead_to_something(path: Path) -> None:
    (path / "train.py").write_text(
        "# as in ../data/x.csv\n"
        "import os\n"
        "open('../data/x.csv'), open('../data/none.csv'), open('https://a.b/../data')\n"
        "open(\"../data/x.csv\"), open('./../shared'), open('../project/train.py')\n"
    )
    (path / "scripts/run.sh").write_text("cat ../data/inside.csv ../shared/none <../../project/data/x\n")
    (path / "notes.md").write_text("[data](../data/x.csv)\n")
    (path / "weights.bin").write_bytes(b"../data/x.csv")
    (path / "image.py").write_bytes(b"\xff '../data'")
    (path / "large.txt").write_text("../data\n" * 50_000)
    assert found(path, x="[../data, 2]") == [
        "project/parameters.yml:1:5: '../data'",
        "project/train.py:3:7: '../data/x.csv'",
        "project/train.py:4:30: '../shared'",
        "project/train.py:4:51: '../project/train.py'",
    ]


def test_directories_beside_the_project_may_be_files(path: Path) -> None:
    Path("datasets").touch()
    (path / "train.py").write_text("open('../datasets/x/y.csv'), open('../none/x')\n")
    assert found(path, on_hosts=True) == ["project/train.py:1:7: '../datasets/x/y.csv'"]


def test_links_that_lead_out(path: Path) -> None:
    (path / "out").symlink_to("../data")
    (path / "scripts/up").symlink_to("../data")
    (path / "scripts/out").symlink_to("../../nowhere")
    (path / "absolute").symlink_to("/mnt/data")
    links = ["project/out: the link to '../data'", "project/scripts/out: the link to '../../nowhere'"]
    assert found(path) == links
    assert found(path, on_hosts=True) == ["project/absolute: the link to '/mnt/data'", *links]


def test_links_to_what_is_mounted_lead_there(path: Path) -> None:
    (path / "mounted").symlink_to("/mnt/data/x")
    (path / "beside").symlink_to("/mnt/database")
    assert found(path, "run\nmounts: {~/data: /mnt/data}", on_hosts=True) == [
        "project/beside: the link to '/mnt/database'"
    ]


def test_of_many_a_few_are_named(path: Path) -> None:
    for number in range(8):
        (path / f"link{number}").symlink_to("../data")
    lines = outside_paths(load_project_of(path), SourceTree(path), on_hosts=False)
    assert (len(lines), lines[-1]) == (6, "and 3 more paths that lead out of the project")


def load_project_of(path: Path) -> Project:
    (path / "project.yml").write_text("command: python train.py\n")
    (path / "parameters.yml").write_text("x: 1\n")
    return load_project(path)


def test_paths_begin_in_the_workdir(path: Path) -> None:
    (path / "scripts/train.py").write_text("open('../data/inside.csv'), open('../../data/x.csv')\n")
    assert found(
        path, "python train.py ../data/inside.csv ../../shared --data=../../x\nworkdir: scripts"
    ) == [
        "project/project.yml:1:45: '../../shared' in the command",
        "project/project.yml:1:58: '--data=../../x' in the command",
        "project/scripts/train.py:1:35: '../../data/x.csv'",
    ]
