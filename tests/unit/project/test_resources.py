"""Needs of a task, and what hosts lack for them."""

from __future__ import annotations

from fractions import Fraction

import pytest
from project_directory import ProjectDirectory

from framework.cli import main as cli
from framework.project.resources import Capacity, Resources

GIBIBYTE = 2**30


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
    assert Capacity(Fraction(2), 4 * GIBIBYTE, [0]).lacks(needs) == lacking


def test_a_host_without_gpus_has_no_share_of_one() -> None:
    assert Capacity(Fraction(2), 0, []).lacks(Resources(Fraction(1, 2))) == "has 0 GPUs (a task needs 0.5)"


@pytest.mark.parametrize(
    ("gpus", "needed", "lacking"),
    [
        ([8, 24], 1, ""),
        ([24, 24], 2, ""),
        ([0, 0], 2, ""),
        ([8, 11], Fraction(1, 2), "has GPUs of at most 11 GiB (a task needs one with 20 GiB)"),
        ([8, 24], 2, "has 1 GPU with 20 GiB of memory (a task needs 2)"),
        ([24], 2, "has 1 GPU (a task needs 2)"),
        ([8], 0, ""),
    ],
)
def test_gpus_that_are_too_small_do_not_count(gpus: list[int], needed: int | Fraction, lacking: str) -> None:
    needs = Resources(Fraction(needed), gpu_memory=20 * GIBIBYTE)
    assert Capacity(Fraction(2), 0, [size * GIBIBYTE for size in gpus]).lacks(needs) == lacking


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
    directory: ProjectDirectory, capsys: pytest.CaptureFixture[str], text: str, hosts: list[str], code: int
) -> None:
    directory.load(settings=f"command: run\n{text}\n")
    assert cli.main(["plan", str(directory.path), *hosts]) == code
    printed = capsys.readouterr()
    assert bool(printed.out) == (code == 0)
    if SMALL[1] in hosts and code:
        assert printed.err == (
            f"{directory.path.name} can run on no worker host: local has 0 GPUs (a task needs 1); "
            "small has 1 CPU (a task needs 2) and 0.5 GiB of memory for tasks (a task needs 1 GiB); "
            "change project.yml, or use other worker hosts\n"
        )
