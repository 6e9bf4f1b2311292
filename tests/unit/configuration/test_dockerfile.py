"""Which files of a project its Dockerfile copies."""

from __future__ import annotations

from pathlib import Path

import pytest

from framework.configuration.dockerfile import read_dockerfile
from framework.configuration.yaml_nodes import Problems


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for path in ("docker", "tools", "a/b"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "x.txt").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("", []),
        ("COPY tools /opt/tools\nADD ./x.txt https://a/b /c\n", ["tools", "x.txt"]),
        ("copy --chown=1:2 \\\n # comment\n tools a/b/ /x\n", ["tools", "a/b"]),
        ('COPY ["tools", "x.txt", "/c"]\n', ["tools", "x.txt"]),
        ("FROM a AS b\nCOPY --from=b /x.txt /y\n", []),
        ("COPY a/b/*.py /x\nCOPY missing /y\n", ["a/b"]),
        ("COPY *.txt /x\n", ["."]),
        ("COPY . /x\n", ["."]),
        ("COPY $DIR /x\n", ["."]),
        ("COPY <<EOF /x\nEOF\n", ["."]),
        ("RUN --mount=type=bind,source=a,target=/a true\n", ["."]),
        ("RUN --mount=type=cache,target=/a true\n", []),
    ],
)
def test_what_it_copies(project: Path, text: str, paths: list[str]) -> None:
    problems = Problems()
    (project / "docker/Dockerfile").write_text(f"# syntax=x\nFROM y\n{text}")
    assert list(read_dockerfile(project, "docker/Dockerfile", problems)) == ["docker/Dockerfile", *paths]
    assert not problems


def test_files_that_are_always_read(project: Path) -> None:
    (project / ".dockerignore").touch()
    (project / "Dockerfile").write_text("# escape=`\nFROM y\n")
    assert list(read_dockerfile(project, "Dockerfile", Problems())) == ["Dockerfile", ".dockerignore", "."]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"FROM y\n\nCOPY ../x /y\n", "3:1: '../x' leads out of the project"),
        (b"RUN x\n", "1:1: no Dockerfile: nothing in it begins with FROM"),
        (b"FROM \xff\n", "1:1: byte 5 is not UTF-8"),
    ],
)
def test_what_is_wrong(project: Path, content: bytes, said: str) -> None:
    problems = Problems()
    (project / "Dockerfile").write_bytes(content)
    read_dockerfile(project, "Dockerfile", problems)
    (line,) = problems.lines
    assert line.startswith(f"{project}/Dockerfile:{said}")
