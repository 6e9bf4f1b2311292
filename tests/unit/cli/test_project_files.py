"""What the scripts are told to send of a project's directory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from framework.cli import main as cli


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tmp_path / "my project"
    path.mkdir()
    (path / "project.yml").write_text("command: python train.py\nignore: ['*.ckpt']\n")
    (path / "parameters.yml").write_text("C: [0.1, 1, 10]\n")
    return path


def listed(project: Path, capfdbinary: pytest.CaptureFixture[bytes], *words: str) -> tuple[list[str], str]:
    assert cli.main(["files", str(project), *words]) == 0
    out, err = capfdbinary.readouterr()
    assert out.endswith(b"\0")
    return [os.fsdecode(name) for name in out.split(b"\0")[:-1]], err.decode()


def test_directories_come_before_what_is_in_them(
    project: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    (project / "-a/b c").mkdir(parents=True)
    (project / "-a/b c/größe").touch()
    (project / os.fsdecode(b"no-\xff-text")).touch()
    (project / "link").symlink_to("-a")
    (project / "x.ckpt").touch()
    os.mkfifo(project / "pipe")
    names, said = listed(project, capfdbinary)
    assert names == [
        "./-a", "./-a/b c", "./-a/b c/größe", "./link", "./no-\udcff-text", "./parameters.yml",
        "./project.yml",
    ]  # fmt: skip
    assert said == ""


def test_what_is_left_out_of_the_top_is_said_and_how_it_is_taken_in(
    project: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    for name in (
        ".venv/pyvenv.cfg",
        "old/pyvenv.cfg",
        "data/a.csv",
        "data/b.csv",
        "wandb/x",
        "a.log",
        "train.py",
    ):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).touch()
    (project / "env").symlink_to(".venv")
    (project / ".gitignore").write_text("*.log\ndata/*.csv\nwandb/\n.venv\n")
    names, said = listed(project, capfdbinary)
    assert names == ["./.gitignore", "./data", "./parameters.yml", "./project.yml", "./train.py"]
    assert said.splitlines() == [
        "left out: the virtual environment .venv, old; list packages in requirements.txt",
        "left out, as .gitignore says: a.log, data/ (2 of its entries), wandb/; what a task needs of it is "
        "taken in by a line in .infrainitignore, as in !/data/",
    ]
    (project / ".infrainitignore").write_text("!/data/\nwandb/\n*.log\n")
    names, said = listed(project, capfdbinary)
    assert {"./data/a.csv", "./data/b.csv"} < set(names)
    assert "as .gitignore says" not in said, "what .infrainitignore leaves out is meant to be"


def test_of_many_some_are_named(project: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    (project / ".gitignore").write_text("*.log\n")
    for number in range(7):
        (project / f"{number}.log").touch()
    assert "0.log, 1.log, 2.log, 3.log, 4.log and 2 more; " in listed(project, capfdbinary)[1]
    assert "as in !/0.log\n" in listed(project, capfdbinary)[1]


def test_of_a_sweep_file(project: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    (project / "project.yml").unlink()
    (project / "x.ckpt").touch()
    (project / "sweep.yaml").write_text("program: train.py\nignore: parameters.*\n")
    assert listed(project, capfdbinary)[0] == ["./parameters.yml", "./sweep.yaml", "./x.ckpt"]
    (project / "sweeps").mkdir()
    (project / "sweep.yaml").rename(project / "sweeps/wide.yaml")
    (project / "sweeps/wide.yaml").write_text("program: train.py\nignore: '*.ckpt'\n")
    names, _ = listed(project / "sweeps/wide.yaml", capfdbinary, "--root", str(project), "--run-cap", "3")
    assert names == ["./parameters.yml", "./sweeps", "./sweeps/wide.yaml"]


def test_what_is_wrong_in_the_settings_is_left_to_the_check_of_the_project(
    project: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    for text in ("ignore: {a: b}\n", "ignore: [!x 1, '!']\n", "'", "- 1\n", ""):
        (project / "project.yml").write_text(text)
        assert listed(project, capfdbinary)[0] == ["./parameters.yml", "./project.yml"]


def test_names_that_cannot_be_sent(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "a\nb").touch()
    (project / "c\x7f").mkdir()
    assert cli.main(["files", str(project)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "project/a\\nb': has a control character in its name; rename it, or leave it out by" in said.err
    assert "project/c\\x7f'" in said.err
    (project / ".infrainitignore").write_text("a?b\nc*/\n")
    assert cli.main(["files", str(project)]) == 0


def test_a_directory_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["files", str(tmp_path / "a.yaml"), "--root", str(tmp_path / "nowhere")]) == 1
    assert "cannot be read: No such file or directory" in capsys.readouterr().err
