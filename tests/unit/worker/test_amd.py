"""AMD GPUs, read from a tree like that of sysfs on hosts with amdgpu."""

from __future__ import annotations

from pathlib import Path

import pytest

from framework.worker.amd import find_amd_gpus
from framework.worker.gpu import Gpu

GIBIBYTE = 2**30


class Sysfs:
    """The files that the driver makes, as far as they are read."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def cpu(self, node: int) -> None:
        self._node(node, "cpu_cores_count 64\nsimd_count 0\nvendor_id 0\nunique_id 0\n")

    def gpu(self, node: int, minor: int, used: int = 0, unique_id: int = 0, product: str = "") -> Path:
        text = f"cpu_cores_count 0\nsimd_count 304\nvendor_id 4098\ndrm_render_minor {minor}\n"
        self._node(node, f"{text}unique_id {unique_id}\n")
        device = self.root / f"sys/class/drm/renderD{minor}/device"
        device.mkdir(parents=True)
        (device / "mem_info_vram_total").write_text(f"{64 * GIBIBYTE}\n")
        (device / "mem_info_vram_used").write_text(f"{used * 2**20}\n")
        if product:
            (device / "product_name").write_text(f"{product}\n")
        return device

    def _node(self, number: int, properties: str) -> None:
        node = self.root / f"sys/class/kfd/kfd/topology/nodes/{number}"
        node.mkdir(parents=True)
        (node / "properties").write_text(properties)


@pytest.fixture
def sysfs(tmp_path: Path) -> Sysfs:
    return Sysfs(tmp_path)


def test_the_gpus_of_a_host_are_numbered_as_rocm_does(sysfs: Sysfs) -> None:
    sysfs.cpu(0)
    sysfs.cpu(1)
    sysfs.gpu(10, 129, used=20_000)
    card = sysfs.gpu(2, 128, 10, 0x4B2C1A9F8D3E6F7A, "Instinct MI210")
    (card / "gpu_busy_percent").write_text("37\n")
    assert find_amd_gpus(sysfs.root) == [
        Gpu("0", "0", "Instinct MI210", 65536, 10, busy=37, unique_id="GPU-4b2c1a9f8d3e6f7a"),
        Gpu("1", "1", "AMD", 65536, 20_000),
    ]
    assert [gpu.is_in_use for gpu in find_amd_gpus(sysfs.root)] == [False, True]


def test_a_gpu_with_a_screen_may_have_more_memory_in_use(sysfs: Sysfs) -> None:
    card = sysfs.gpu(1, 128, used=1000) / "drm/card0"
    for name, state in (("card0-DP-1", "disabled"), ("card0-HDMI-A-1", "enabled")):
        (card / name).mkdir(parents=True)
        (card / name / "enabled").write_text(f"{state}\n")
    (gpu,) = find_amd_gpus(sysfs.root)
    assert (gpu.has_display, gpu.is_in_use) == (True, False)


def test_a_gpu_that_this_container_may_not_use_does_not_count(sysfs: Sysfs) -> None:
    sysfs.gpu(1, 128)
    sysfs.gpu(2, 129)
    properties = sysfs.root / "sys/class/kfd/kfd/topology/nodes/1/properties"
    properties.unlink()
    properties.mkdir()  # reading it fails, for root too
    assert [gpu.index for gpu in find_amd_gpus(sysfs.root)] == ["0"]


def test_a_gpu_without_memory_of_its_own_has_no_figures(sysfs: Sysfs) -> None:
    device = sysfs.gpu(1, 128)
    for file in device.iterdir():
        file.unlink()
    assert find_amd_gpus(sysfs.root) == [Gpu("0", "0", "AMD", 0, 0)]


def test_other_hosts_have_none(sysfs: Sysfs) -> None:
    assert find_amd_gpus(sysfs.root) == []
    sysfs.cpu(0)
    assert find_amd_gpus(sysfs.root) == []
