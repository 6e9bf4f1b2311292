"""Variables of a task's share of the host, and what the user's own environment keeps of them."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from framework.project.resources import Resources
from framework.worker.allocator import Allocation
from framework.worker.gpu import AMD
from framework.worker.task_variables import SHARE_NAMES, gpu_variables, share_variables

ALLOCATION = Allocation(Resources(), Fraction(1), (), slot=5, port=30000, threads=8)
OMP, MKL, OPENBLAS = "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"


def test_slot_port_and_threads() -> None:
    assert share_variables(ALLOCATION, {"OTHER": "x"}) == {
        "TASK_SLOT": "5", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "30000",
        OMP: "8", MKL: "8", OPENBLAS: "8",
    }  # fmt: skip
    assert {*share_variables(ALLOCATION, {})} == {*SHARE_NAMES}
    assert "MASTER_PORT" not in share_variables(replace(ALLOCATION, port=None), {})


@pytest.mark.parametrize(
    ("given", "set_here"),
    [
        ({OMP: "3"}, set()),  # for the others it counts, too
        ({OMP: ""}, set()),
        ({MKL: "3"}, {OMP, OPENBLAS}),
        ({OPENBLAS: "3", MKL: "4"}, {OMP}),
    ],
)
def test_threads_that_the_user_has_set_stay(given: dict[str, str], set_here: set[str]) -> None:
    assert share_variables(ALLOCATION, given).keys() & {OMP, MKL, OPENBLAS} == set_here


def test_a_meeting_point_that_the_user_has_set_stays() -> None:
    variables = share_variables(ALLOCATION, {"MASTER_ADDR": "node7", "MASTER_PORT": "1", "TASK_SLOT": "x"})
    assert not variables.keys() & {"MASTER_ADDR", "MASTER_PORT"}
    assert variables["TASK_SLOT"] == "5", "it is the worker's to say"


@pytest.mark.parametrize(
    ("kind", "gpus", "variables"),
    [
        ("nvidia", ("GPU-a", "GPU-b"), {"CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b"}),
        ("nvidia", (), {"CUDA_VISIBLE_DEVICES": ""}),
        (AMD, ("2", "3"), {"ROCR_VISIBLE_DEVICES": "2,3", "HIP_VISIBLE_DEVICES": "0,1",
                           "CUDA_VISIBLE_DEVICES": "0,1"}),
        (AMD, (), {"HIP_VISIBLE_DEVICES": "-1", "CUDA_VISIBLE_DEVICES": "-1"}),
    ],
)  # fmt: skip
def test_gpus(kind: str, gpus: tuple[str, ...], variables: dict[str, str]) -> None:
    assert gpu_variables(replace(ALLOCATION, gpus=gpus, gpu_kind=kind)) == variables
