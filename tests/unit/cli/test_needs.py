"""What the scripts learn of a project before they build its images."""

from __future__ import annotations

from pathlib import Path

import pytest

from framework.cli import main as cli
from framework.configuration import settings as settings_module

ADAPTIVE = "metric: loss\ngoal: minimize\nmethod: tpe\nrun_cap: 4\n"
EARLY = "metric: loss\ngoal: minimize\nearly_terminate: {type: asha, min_iter: 3}\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(settings_module, "find_spec", lambda name: None)
    path = tmp_path / "my project"
    path.mkdir()
    (path / "project.yml").write_text("command: python train.py\n")
    (path / "parameters.yml").write_text("C: [0.1, 1, 10]\n")
    return path


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("", "optuna=no\n"),
        ("image: python:3.13-slim\n", "image=python:3.13-slim\noptuna=no\n"),
        ("image: |\n  a.example:5000/b@sha256:00\n" + ADAPTIVE, None),
        ("image: a.example:5000/b@sha256:00\n" + ADAPTIVE, "image=a.example:5000/b@sha256:00\noptuna=yes\n"),
        (EARLY, "optuna=yes\n"),
        ("hosts: {labels: [a100, big]}\n", "label=a100\nlabel=big\noptuna=no\n"),
        (
            "mounts:\n  ~/my data, all: /data\n  /out: {target: /out, mode: rw}\n",
            "mount=ro /data ~/my data, all\nmount=rw /out /out\noptuna=no\n",
        ),
    ],
)
def test_of_a_project(project: Path, more: str, said: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "project.yml").write_text("command: python train.py\n" + more)
    assert cli.main(["needs", str(project)]) == (0 if said else 2)
    assert capsys.readouterr().out == (said or "")


def test_variables_that_it_wants(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "project.yml").write_text(
        "command: python train.py\nenvironment: {A: hidden, B: }\n"
        "secrets:\n  C:\n  D: {file: ~/my größe}\n  E: {file: /e, as: file}\n"
    )
    assert cli.main(["needs", str(project)]) == 0
    assert capsys.readouterr().out == (
        "optuna=no\nenvironment=B 2:26\nsecret=C 4:3\nsecret_value=D 5:3 ~/my größe\nsecret_file=E 6:3 /e\n"
    )


def test_values_that_notify_wants(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "project.yml").write_text(
        "command: python train.py\nsecrets: {TOKEN: {file: ~/.token}}\nnotify: https://x.example/${TOKEN}/${HOOK}\n"
    )
    assert cli.main(["needs", str(project)]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "secret_value=TOKEN 2:11 ~/.token", "notify_value=TOKEN 3:9 ~/.token", "notify=HOOK 3:9",
    ]  # fmt: skip


def test_of_a_sweep_file(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "project.yml").unlink()
    (project / "parameters.yml").unlink()
    (project / "train.py").touch()
    (project / "sweep.yaml").write_text(
        "program: train.py\nimage: b:2\nmethod: bayes\nmetric: {name: loss, goal: minimize}\n"
        "parameters: {x: {min: 0.0, max: 1.0}}\n"
    )
    assert cli.main(["needs", str(project)]) == 0
    assert capsys.readouterr().out == "image=b:2\noptuna=yes\n"


def test_what_its_image_is_made_of(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "project.yml").write_text(
        "command: python train.py\nbuild: Dockerfile\npackages: [git, gcc]\ndocker_options: [--cpus=2]\n"
    )
    (project / "Dockerfile").write_text("FROM x\nCOPY a.txt /a\n")
    (project / "a.txt").write_text("six\n")
    (project / "requirements.txt").write_text("-r a.txt\n--index-url https://${TOKEN}@x/\n")
    assert cli.main(["needs", str(project)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "build=Dockerfile", "copied=Dockerfile", "copied=a.txt", "package=git", "package=gcc",
        "requirements=requirements.txt", "requirements=a.txt", "variable=TOKEN", "docker_option=--cpus=2",
        "optuna=no",
    ]  # fmt: skip


def test_what_its_image_cannot_be_made_of(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "requirements.txt").write_text("-r ../a.txt\n./b.whl\ngit+https://x/y\n")
    assert cli.main(["needs", str(project)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert [line.split(":")[1] for line in said.err.splitlines()] == ["1", "2", "3"]
    (project / "requirements.txt").unlink()
    (project / "pyproject.toml").write_text("[tool.poetry.dependencies]\nnumpy = '2'\n")
    assert cli.main(["needs", str(project)]) == 0
    assert "pyproject.toml:1:1: dependencies in tool.poetry are not read" in capsys.readouterr().err


SWEEP = "program: train.py\nmethod: random\nparameters: {x: {min: 0.0, max: 1.0}}\n"


def test_the_root_of_a_sweep_file_is_the_nearest_directory_with_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my sweeps").mkdir()
    (tmp_path / "my sweeps/wide.yaml").write_text(SWEEP)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["root", "./my sweeps/wide.yaml"]) == 2
    assert "my sweeps/wide.yaml:1:10: program: there is no train.py in" in capsys.readouterr().err
    (tmp_path / "train.py").touch()
    assert cli.main(["root", "./my sweeps/wide.yaml"]) == 0
    assert capsys.readouterr().out == "root=.\n"
    (tmp_path / "my sweeps/train.py").touch()
    assert cli.main(["root", "./my sweeps/wide.yaml", "--run-cap", "3"]) == 0
    assert capsys.readouterr().out == "root=my sweeps\n"


def test_a_sweep_file_in_a_folder_of_its_project(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "train.py").touch()
    (project / "sweeps").mkdir()
    (project / "sweeps/wide.yaml").write_text(SWEEP)
    monkeypatch.chdir(project.parent)
    words = ["./my project/sweeps/wide.yaml", "--root", "./my project", "--run-cap", "7", "--name", "other"]
    assert cli.main(["needs", *words]) == 0
    assert capsys.readouterr().out == "optuna=no\n"
    assert cli.main(["plan", *words]) == 0
    assert capsys.readouterr().out.startswith("other: 7 combinations of x\n")


def test_what_is_wrong_is_said_as_plan_says_it(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "project.yml").write_text("command: python train.py\nretires: 1\n")
    said = []
    for command in ("needs", "plan"):
        assert cli.main([command, str(project)]) == 2
        said.append(capsys.readouterr())
    assert said[0] == said[1]
    assert "project.yml:2:1: unknown key 'retires'" in said[0].err
