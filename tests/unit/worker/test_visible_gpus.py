"""The user's CUDA_VISIBLE_DEVICES and its like leave tasks some of the GPUs."""

from __future__ import annotations

import pytest

from framework.worker.gpu import AMD, NVIDIA, Gpu
from framework.worker.visible_gpus import mentions_mig, visible_gpus

GPUS = [Gpu(str(n), f"GPU-{name}{n}", "A100", 40_000, 0) for n, name in enumerate(["aa", "ab", "bb", "cc"])]
MIG = Gpu("3.0", "MIG-77", "MIG 1g.5gb", 4768, 0)
AMDS = [Gpu(str(n), str(n), "MI300X", 190_000, 0, unique_id=f"GPU-{n}f00") for n in range(4)]


def indexes(kind: str, **environment: str) -> str:
    gpus = AMDS if kind == AMD else [*GPUS, MIG] if mentions_mig(environment) else GPUS
    left, restriction = visible_gpus(gpus, kind, environment)
    assert (restriction == "") == (len(left) == len(gpus))
    return ",".join(gpu.index for gpu in left)


@pytest.mark.parametrize(
    ("value", "left"),
    [
        ("0,1,2,3", "0,1,2,3"),
        ("2,3", "2,3"),
        (" 3 , 2 ", "3,2"),
        ("GPU-bb2,GPU-c", "2,3"),
        ("gpu-BB2", ""),
        ("GPU-BB2", "2"),
        ("GPU-a", ""),  # it is not known which
        ("", ""),
        ("-1", ""),
        ("1,-1,2", "1"),
        ("1,9,2", "1,2"),  # of a GPU that has failed, or of another host
        ("1,1", "1"),
        ("MIG-77", "3.0"),
        ("MIG-88", ""),
        ("GPU-elsewhere,GPU-cc3", "3"),
        ("NoDevFiles", ""),
        ("all", ""),
    ],
)
def test_nvidia(value: str, left: str) -> None:
    assert indexes(NVIDIA, CUDA_VISIBLE_DEVICES=value) == left


def test_all_are_left_if_nothing_is_set() -> None:
    assert indexes(NVIDIA, HIP_VISIBLE_DEVICES="1") == "0,1,2,3"
    assert indexes(AMD) == "0,1,2,3"


@pytest.mark.parametrize(
    ("rocr", "hip", "cuda", "left"),
    [
        ("2,3", None, None, "2,3"),
        ("GPU-2F00,1", None, None, "2,1"),
        (None, "2,3", None, "2,3"),
        (None, None, "1", "1"),
        (None, "", "1", "1"),
        (None, "2", "1", "2"),
        ("2,3", "1", None, "3"),
        ("", None, None, ""),
        (None, "-1", None, ""),
        (None, None, "", "0,1,2,3"),  # to HIP, empty is the same as not set
    ],
)
def test_amd(rocr: str | None, hip: str | None, cuda: str | None, left: str) -> None:
    given = {"ROCR_VISIBLE_DEVICES": rocr, "HIP_VISIBLE_DEVICES": hip, "CUDA_VISIBLE_DEVICES": cuda}
    assert indexes(AMD, **{name: value for name, value in given.items() if value is not None}) == left


def test_the_variables_that_leave_some_out_are_named() -> None:
    assert visible_gpus(GPUS, NVIDIA, {"CUDA_VISIBLE_DEVICES": "7"})[1] == "CUDA_VISIBLE_DEVICES=7"
    both = {"ROCR_VISIBLE_DEVICES": "1,2", "HIP_VISIBLE_DEVICES": "0"}
    assert visible_gpus(AMDS, AMD, both)[1] == "ROCR_VISIBLE_DEVICES=1,2 HIP_VISIBLE_DEVICES=0"
    assert visible_gpus((), NVIDIA, {"CUDA_VISIBLE_DEVICES": "7"}) == ([], "")
