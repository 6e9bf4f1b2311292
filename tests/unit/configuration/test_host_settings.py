"""`hosts:` in project.yml."""

from __future__ import annotations

from pathlib import Path

import pytest

from framework.configuration.load import load_project
from framework.errors import ProjectError


def load(path: Path, hosts: str) -> tuple[str, ...]:
    (path / "project.yml").write_text(f"command: python train.py\nhosts: {hosts}\n")
    (path / "parameters.yml").write_text("n: [1]\n")
    return load_project(path).host_labels


@pytest.mark.parametrize(
    ("hosts", "labels"),
    [
        ("{labels: [a100, big]}", ("a100", "big")),
        ("{labels: a100}", ("a100",)),
        ("{labels: [4090, a100, a100]}", ("4090", "a100")),
    ],
)
def test_labels(tmp_path: Path, hosts: str, labels: tuple[str, ...]) -> None:
    assert load(tmp_path, hosts) == labels


@pytest.mark.parametrize(
    ("hosts", "problem"),
    [
        ("{}", "project.yml:2:8: hosts: has to be a mapping, as in {labels: [a100]}"),
        ("a100", "project.yml:2:8: hosts: has to be a mapping, as in {labels: [a100]}"),
        ("{label: [a100]}", "project.yml:2:9: unknown key 'label'; did you mean 'labels'?"),
        (
            "{labels: [a100, 'two words']}",
            "project.yml:2:24: labels: a label has letters, digits",
        ),
        ("{labels: {a: b}}", "project.yml:2:17: labels: a label has"),
    ],
)
def test_mistakes(tmp_path: Path, hosts: str, problem: str) -> None:
    with pytest.raises(ProjectError) as caught:
        load(tmp_path, hosts)
    assert problem in str(caught.value)


def test_any_host_will_do_without_it(tmp_path: Path) -> None:
    (tmp_path / "project.yml").write_text("command: python train.py\n")
    (tmp_path / "parameters.yml").write_text("n: [1]\n")
    assert load_project(tmp_path).host_labels == ()
