"""`ignore:` and .infrainitignore: patterns, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest
from project_directory import ProjectDirectory


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        ("[data/raw/, '*.ckpt']", ("data/raw/", "*.ckpt")),
        ("old", ("old",)),
        ("['!/data/', 1]", ("!/data/", "1")),
    ],
)
def test_patterns(directory: ProjectDirectory, text: str, patterns: tuple[str, ...]) -> None:
    assert directory.load(settings=f"command: run\nignore: {text}\n").ignore == patterns
    assert directory.load().ignore == ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "{a: b}",
            "2:9: ignore: has to be a list of patterns as in .gitignore, as in ['data/raw/',",
        ),
        ("[a, [b]]", "2:13: ignore: has to be a list of patterns"),
        ("['']", "2:10: ignore: has to be a list of patterns"),
        ("", "2:8: ignore: has to be a list of patterns"),
        ("['[z-a]']", "2:10: ignore: '[z-a]' is no pattern; write it as in .gitignore"),
        ('["a\\nb"]', "2:10: ignore: 'a\\nb' has several lines"),
    ],
)
def test_what_is_wrong(directory: ProjectDirectory, text: str, problem: str) -> None:
    assert directory.problem(settings=f"command: run\nignore: {text}\n").startswith(f"project.yml:{problem}")


def test_what_is_wrong_in_the_file(directory: ProjectDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    (directory.path / ".infrainitignore").write_text("data/\n!\n")
    assert directory.problem().startswith(".infrainitignore:2:1: '!' is no pattern")

    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", refuse)
        from framework.configuration.ignore_settings import check_ignore_file
        from framework.configuration.yaml_nodes import Problems

        problems = Problems()
        check_ignore_file(directory.path, problems)
    assert problems.lines == [f"{directory.path}/.infrainitignore:1:1: cannot be read (Permission denied)"]
