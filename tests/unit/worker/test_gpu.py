"""GPUs: whether others use them, judged by the memory in use."""

from __future__ import annotations

import pytest

from framework.worker.gpu import Gpu


@pytest.mark.parametrize(
    ("used", "has_display", "in_use"),
    [(4, False, False), (500, False, False), (501, False, True), (1200, True, False), (2049, True, True)],
)
def test_a_gpu_is_in_use_if_more_memory_is_than_an_idle_one_needs(
    used: int, has_display: bool, in_use: bool
) -> None:
    assert Gpu("0", "GPU-a", "A100", 40_000, used, has_display).is_in_use == in_use


def test_people_know_it_by_index_and_name() -> None:
    assert str(Gpu("2", "GPU-a", "A100", 40_000, 3)) == "GPU 2 (A100)"
