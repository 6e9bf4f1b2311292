"""`resources`: how the needs of a task are written, and everything that is wrong with them."""

from fractions import Fraction

import pytest
from project_directory import ProjectDirectory

from framework.project.resources import Resources

GIBIBYTE = 2**30


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("resources: {gpus: 1}", Resources(Fraction(1))),
        ("resources: {gpus: 1, cpus: 2, memory: 4G}", Resources(Fraction(1), Fraction(2), 4 * GIBIBYTE)),
        ("resources:\n  gpus: 0.1\n  cpus: 0.5", Resources(Fraction(1, 10), Fraction(1, 2))),
        ("resources: {gpus: 0, memory: 500 MB}", Resources(memory=500 * 2**20)),
        ("resources: {gpus: 8.0, memory: 1.5TiB}", Resources(Fraction(8), memory=1536 * GIBIBYTE)),
        ("resources: {memory: 976.5625T}", Resources(memory=10**6 * GIBIBYTE)),
        ("resources: {cpus: 0.01, gpus: 1000000}", Resources(Fraction(10**6), Fraction(1, 100))),
        ("resources: {memory: '0.5g'}", Resources(memory=GIBIBYTE // 2)),
        ("resources: {gpu_memory: 20G, gpus: 1}", Resources(Fraction(1), gpu_memory=20 * GIBIBYTE)),
    ],
)
def test_what_a_task_needs(directory: ProjectDirectory, text: str, expected: Resources | None) -> None:
    assert directory.load(settings=f"command: run\n{text}\n").resources == expected


def test_a_size_that_must_be_free_on_the_disk(directory: ProjectDirectory) -> None:
    assert directory.load(settings="command: run\nfree_disk: 1.5G\n").free_disk == 1536 * 2**20
    assert directory.load(settings="command: run\n").free_disk is None
    assert directory.problem(settings="command: run\nfree_disk: 5\n") == (
        "project.yml:2:12: free_disk: has to be a size with its unit, as in 500M or 4G"
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("resources: 1", "2:12: resources: has to be a mapping, as in {gpus: 1, cpus: 2, memory: 4G}"),
        ("resources: {}", "2:12: resources: has to be a mapping"),
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
        ("resources: {memory: 976.5626T}", "2:21: memory: has to be a size with its unit"),
        ("resources: {cpus: 0.0099}", "2:19: cpus: has to be a number, 0.01 or more"),
        ("resources: {gpus: 1000001}", "2:19: gpus: has to be a whole number"),
        ("resources: {memory: 999999T}", "2:21: memory: has to be a size with its unit"),
        ("resources: {gpu_memory: 20, gpus: 1}", "2:25: gpu_memory: has to be a size with its unit"),
        ("resources: {gpu_memory: 20G}", "2:25: gpu_memory: needs gpus beside it, as in {gpus: 1, gpu_mem"),
        ("resources: {gpu_mem: 20G}", "2:13: unknown key 'gpu_mem'; did you mean 'gpu_memory'?"),
        ("resources: {cpus: *x}", "2:19: *x is not defined; define &x before it"),
    ],
)
def test_what_is_wrong_with_it_and_where(directory: ProjectDirectory, text: str, problem: str) -> None:
    found = directory.problem(settings=f"command: run\n{text}\n")
    assert found.startswith(f"project.yml:{problem}")


def test_all_that_is_wrong_is_said_at_once(directory: ProjectDirectory) -> None:
    settings = "command: run\nresources: {gpus: x, cpus: x, memory: x, disk: x}\n"
    assert len(directory.problems(settings=settings)) == 4
