"""Values from this machine for tasks of `framework run`: what is taken, and what is refused."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from forks import RUN, commands
from project_directory import ProjectDirectory

from framework.errors import ProjectError
from framework.local.collected_values import LONGEST_VALUE, collect_values

SECRET = 'it\'s "so"\nhidden = ~'


def write(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def values(directory: ProjectDirectory, text: str, **environment: str) -> dict[str, str]:
    return collect_values(directory.load("x: 1", f"command: run\n{text}"), environment)


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path_factory.mktemp("my home")
    monkeypatch.setenv("HOME", str(path))
    return path


def test_from_the_environment_and_from_files(directory: ProjectDirectory, home: Path) -> None:
    write(home / "token", f"{SECRET}\r\n\n".encode())
    write(home / "raw", b"\xff\n")
    key = write(home / "key", b"a\0b\n", 0o400)
    text = (
        "environment: {A: 1, B: , E: }\n"
        f"secrets: {{S: , T: {{file: ~/token}}, R: {{file: '{home}/raw'}}, K: {{file: ~/key, as: file}}}}\n"
    )
    found = values(directory, text, A="not this", B="b", E="", S="s\n", T="not this")
    assert os.fsencode(found.pop("R")) == b"\xff"
    assert found == {"B": "b", "E": "", "S": "s\n", "T": SECRET, "K": str(key)}
    assert values(directory, "") == {}


def test_everything_that_is_missing_is_said_at_once(directory: ProjectDirectory) -> None:
    with pytest.raises(ProjectError) as caught:
        values(directory, "environment: [B, SET]\nsecrets: {S: , EMPTY: }\n", SET=SECRET, EMPTY="")
    file = directory.path / "project.yml"
    assert caught.value.problems == (
        f"{file}:2:15: environment: B is not set here; export it, or write its value",
        f"{file}:3:11: secrets: S is not set here; export it, or name a file, as in S: {{file: ~/.token}}",
        f"{file}:3:16: secrets: EMPTY is empty here; export its value",
    )


@pytest.mark.parametrize(
    ("content", "mode", "problem"),
    [
        (None, 0, "cannot be read: No such file or directory; correct it"),
        (b"hidden", 0o640, "others may read (mode 640); chmod 600 ~/token"),
        (b"hidden", 0o604, "others may read (mode 604); chmod 600 ~/token"),
        (b"", 0o600, "is empty; write it there"),
        (b"\r\n\n", 0o600, "is empty; write it there"),
        (b"hid\0den", 0o600, "has NUL characters, as no variable can; add as: file"),
        (b"x" * (LONGEST_VALUE + 1), 0o600, f"is longer than {LONGEST_VALUE} bytes; add as: file"),
    ],
)
def test_files_that_are_refused(
    directory: ProjectDirectory, home: Path, content: bytes | None, mode: int, problem: str
) -> None:
    if content is not None:
        write(home / "token", content, mode)
    with pytest.raises(ProjectError) as caught:
        values(directory, "secrets: {S: {file: ~/token}}\n")
    assert str(caught.value) == (
        f"{directory.path}/project.yml:2:11: secrets: S is in ~/token, which {problem}"
    )


def test_no_file_in_the_project_and_no_directory(directory: ProjectDirectory, home: Path) -> None:
    (home / "token").symlink_to(write(directory.path / "token", b"hidden"))
    with pytest.raises(
        ProjectError, match=re.escape("~/token, in the project, which goes to every host; put")
    ):
        values(directory, "secrets: {S: {file: ~/token, as: file}}\n")
    with pytest.raises(ProjectError, match=r"which is no regular file; correct it$"):
        values(directory, "secrets: {S: {file: ~/}}\n")


PROGRAM = """
import os
print(f"Seen: home={os.environ['HF_HOME']}, word={os.environ['WORD']}, length={len(os.environ['TOKEN'])}")
"""


def test_a_run_gives_them_to_its_tasks_and_keeps_none(tmp_path: Path, home: Path) -> None:
    project = tmp_path / "a project"
    project.mkdir()
    (project / "run.py").write_text(f"import sys\nassert sys.argv[1] == 'w-ord', sys.argv\n{PROGRAM}")
    (project / "project.yml").write_text(
        f"command: {sys.executable} run.py ${{envvar:WORD}}\n"
        "environment: {HF_HOME: /data, WORD: }\nsecrets: {TOKEN: {file: ~/token}}\n"
    )
    (project / "parameters.yml").write_text("x: 1\n")
    write(home / "token", SECRET.encode())
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "HF_HOME": "mine"}
    code, said = commands().run(RUN, "run", str(project), environment=environment, directory=tmp_path)
    assert (code, list(tmp_path.glob("results/local/*"))) == (2, [])
    assert said.splitlines()[-1] == (
        f"{project}/project.yml:2:31: environment: WORD is not set here; export it, or write its value"
    )
    environment["WORD"] = "w-ord"
    code, said = commands().run(RUN, "run", str(project), environment=environment, directory=tmp_path)
    assert code == 0, said
    rows = (tmp_path / "results/local/a project/results.csv").read_text()
    assert f",/data,{len(SECRET)},w-ord" in rows, rows
    for file in filter(Path.is_file, (tmp_path / "results").rglob("*")):
        assert b"hidden" not in file.read_bytes(), file
    assert "hidden" not in said


def test_the_program_is_looked_for_where_tasks_look_for_it(directory: ProjectDirectory, home: Path) -> None:
    (home / "own-program").symlink_to(sys.executable)
    (directory.path / "run.py").write_text("print('x=1')\n")
    directory.load("n: 1", f"command: own-program run.py\nenvironment: {{PATH: '{home}'}}\n")
    code, said = commands().run(RUN, "run", str(directory.path), "--data", str(home / "data"))
    assert code == 0, said
