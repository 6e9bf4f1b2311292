"""AMD GPUs of this host, as the kernel's driver amdgpu lists them in sysfs.

The nodes of the topology, in the order of their numbers, are what ROCm numbers its GPUs by. Those that the
device cgroup of a container denies cannot be read; ROCm does not count them there, either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from framework.worker.gpu import Gpu

_NODES = Path("sys/class/kfd/kfd/topology/nodes")
_DRM = Path("sys/class/drm")


def find_amd_gpus(root: Path = Path("/")) -> Sequence[Gpu]:
    """Return the GPUs that ROCm can use in this container, or on this machine."""
    gpus: list[Gpu] = []
    nodes = [node for node in (root / _NODES).glob("*") if node.name.isdecimal()]
    for node in sorted(nodes, key=lambda each: int(each.name)):
        properties = _properties(node)
        if properties.get("simd_count", 0):  # else it is a CPU
            device = root / _DRM / f"renderD{properties.get('drm_render_minor', 0)}" / "device"
            gpus.append(_gpu(str(len(gpus)), device, properties))
    return gpus


def _gpu(index: str, device: Path, properties: Mapping[str, int]) -> Gpu:
    screens = (device / "drm").glob("card*/card*-*/enabled")
    return Gpu(
        index,
        index,
        _text(device / "product_name") or "AMD",
        _mebibytes(device / "mem_info_vram_total"),
        _mebibytes(device / "mem_info_vram_used"),
        any(_text(screen) == "enabled" for screen in screens),
        _percent(device / "gpu_busy_percent"),
        f"GPU-{properties['unique_id']:016x}" if properties.get("unique_id") else "",
    )


def _properties(node: Path) -> Mapping[str, int]:
    words = [line.split() for line in _text(node / "properties").splitlines()]
    return {each[0]: int(each[1]) for each in words if len(each) == 2 and each[1].isdecimal()}


def _mebibytes(file: Path) -> int:
    text = _text(file)
    return int(text) // 2**20 if text.isdecimal() else 0


def _percent(file: Path) -> int | None:
    text = _text(file)
    return int(text) if text.isdecimal() else None


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return ""
