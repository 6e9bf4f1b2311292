"""What a task needs: how it is written, what is wrong with it, and which hosts have it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from framework.cli import main as cli
from framework.configuration.load import load_project
from framework.errors import ProjectError
from framework.project.resources import Capacity, Resources

GIBIBYTE = 2**30


def resources_of(path: Path, text: str) -> Resources | None:
    (path / "project.yml").write_text(f"command: run\n{text}\n")
    (path / "parameters.yml").write_text("x: 1\n")
    return load_project(path).resources


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("resources: {gpus: 1}", Resources(Fraction(1))),
        ("resources: {gpus: 1, cpus: 2, memory: 4G}", Resources(Fraction(1), Fraction(2), 4 * GIBIBYTE)),
        ("resources:\n  gpus: 0.1\n  cpus: 0.5", Resources(Fraction(1, 10), Fraction(1, 2))),
        ("resources: {gpus: 0, memory: 500 MB}", Resources(memory=500 * 2**20)),
        ("resources: {gpus: 8.0, memory: 1.5TiB}", Resources(Fraction(8), memory=1536 * GIBIBYTE)),
        ("resources: {memory: '0.5g'}", Resources(memory=GIBIBYTE // 2)),
    ],
)
def test_what_a_task_needs(tmp_path: Path, text: str, expected: Resources | None) -> None:
    assert resources_of(tmp_path, text) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("resources: 1", "2:12: resources: names nothing; write {gpus: 1, cpus: 2, memory: 4G}"),
        ("resources: {}", "2:12: resources: names nothing"),
        ("resources: {gpu: 1}", "2:13: unknown key 'gpu'; did you mean 'gpus'?"),
        ("resources: {gpus: 1.5}", "2:19: gpus: has to be a whole number, or below 1 for a share of one GPU"),
        ("resources: {gpus: -1}", "2:19: gpus: has to be a whole number"),
        ("resources: {gpus: all}", "2:19: gpus: has to be a whole number"),
        ("resources: {gpus: true}", "2:19: gpus: has to be a whole number"),
        ("resources: {gpus: [0]}", "2:19: gpus: has to be a whole number"),
        ("resources: {gpus: .nan}", "2:19: gpus: has to be a whole number"),
        ("resources: {gpus: .inf}", "2:19: gpus: has to be a whole number"),
        (f"resources: {{gpus: {'9' * 4000}}}", "2:19: gpus: has to be a whole number"),
        ("resources: {cpus: 0}", "2:19: cpus: has to be a number, 0.01 or more"),
        ("resources: {cpus: ~}", "2:19: cpus: has to be a number, 0.01 or more"),
        ("resources: {memory: 4}", "2:21: memory: has to be a size with its unit, as in 500M or 4G"),
        ("resources: {memory: 0G}", "2:21: memory: has to be a size with its unit"),
        ("resources: {memory: -4G}", "2:21: memory: has to be a size with its unit"),
        ("resources: {memory: 999999T}", "2:21: memory: has to be a size with its unit"),
        ("resources: {cpus: *x}", "2:19: *x stands for nothing; define &x before it"),
    ],
)
def test_what_is_wrong_with_it_and_where(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ProjectError) as caught:
        resources_of(tmp_path, text)
    (found,) = caught.value.problems
    assert found.startswith(f"{tmp_path}/project.yml:{problem}")


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ProjectError) as caught:
        resources_of(tmp_path, "resources: {gpus: x, cpus: x, memory: x, disk: x}")
    assert len(caught.value.problems) == 4


@pytest.mark.parametrize(
    ("needs", "lacking"),
    [
        (Resources(), ""),
        (Resources(Fraction(1), Fraction(2), 4 * GIBIBYTE), ""),
        (Resources(Fraction(1, 2)), ""),
        (Resources(Fraction(2)), "has 1 GPU (a task needs 2)"),
        (Resources(cpus=Fraction(5, 2)), "has 2 CPUs (a task needs 2.5)"),
        (Resources(memory=4 * GIBIBYTE + 1), "has 4 GiB of memory for tasks (a task needs 4.01 GiB)"),
        (Resources(Fraction(2), Fraction(3)), "has 1 GPU (a task needs 2) and 2 CPUs (a task needs 3)"),
    ],
)
def test_a_host_says_what_it_lacks(needs: Resources, lacking: str) -> None:
    assert Capacity(Fraction(2), 4 * GIBIBYTE, 1).lacks(needs) == lacking


def test_a_host_without_gpus_has_no_share_of_one() -> None:
    assert Capacity(Fraction(2), 0, 0).lacks(Resources(Fraction(1, 2))) == "has 0 GPUs (a task needs 0.5)"


LOCAL = ["--host", "local", "2", "4096", "0"]
SMALL = ["--host", "small", "1", "512", "1"]
LARGE = ["--host", "large", "8", "65536", "4"]


@pytest.mark.parametrize(
    ("text", "hosts", "code"),
    [
        ("", LOCAL, 0),
        ("resources: {gpus: 1}", [], 0),
        ("resources: {gpus: 1, cpus: 2, memory: 1G}", [*LOCAL, *SMALL, *LARGE], 0),
        ("resources: {gpus: 1, cpus: 2, memory: 1G}", [*LOCAL, *SMALL], 2),
        ("resources: {gpus: 1}", ["--host", "local", "two", "4096", "0"], 2),
    ],
)
def test_a_plan_fails_if_none_of_the_hosts_can_run_a_task(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, hosts: list[str], code: int
) -> None:
    resources_of(tmp_path, text)
    assert cli.main(["plan", str(tmp_path), *hosts]) == code
    printed = capsys.readouterr()
    assert bool(printed.out) == (code == 0)
    if SMALL[1] in hosts and code:
        assert printed.err == (
            f"{tmp_path.name} can run on no worker host: local has 0 GPUs (a task needs 1); "
            "small has 1 CPU (a task needs 2) and 0.5 GiB of memory for tasks (a task needs 1 GiB); "
            "change resources in project.yml, or use other worker hosts\n"
        )
