"""Devices of a host: descriptions, looks at its GPUs, and what control groups leave of CPUs and memory."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import pytest
from runner_bench import wait_until

from framework.errors import FrameworkError
from framework.worker import devices
from framework.worker.devices import Devices, Gpus, Look, usable_cpus, usable_memory
from framework.worker.gpu import AMD, NVIDIA, Gpu

Answer = Callable[[str], None]
MEBIBYTE = 2**20


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "PATIENCE_SECONDS", 60.0)  # this machine may be busy


def test_devices_can_be_described(tmp_path: Path, nvidia_smi: Answer) -> None:
    nvidia_smi("echo '0, GPU-aa, NVIDIA H200, 143771, 4, Disabled'")
    description = tmp_path / "devices.json"
    description.write_text(json.dumps({"cpus": 1.5, "memory": 2048, "gpus": []}))
    described = Devices(description)
    assert (described.cpus, described.memory) == (Fraction(3, 2), 2048 * MEBIBYTE)
    assert list(described.look().gpus) == []
    gpu = {"uuid": "GPU-x", "memory": 4000, "used": 3}
    description.write_text(json.dumps({"gpus": [gpu]}))
    assert list(described.look(since=time.monotonic()).gpus) == [Gpu("0", "GPU-x", "described", 4000, 3)]
    description.write_text(json.dumps({"gpus": [{"uuid": "GPU-x"}]}))
    look = described.look(since=time.monotonic())
    assert (list(look.gpus), "'memory'" in look.problem) == ([], True)
    description.write_text("{")
    assert "cannot be read as a description of devices" in described.look(since=time.monotonic()).problem
    for content in ("{", "5", "[]", "[" * 100_000):
        description.write_text(content)
        with pytest.raises(FrameworkError, match="cannot be read as a description of devices"):
            Devices(description)
    description.unlink()
    os.mkfifo(description)
    with pytest.raises(FrameworkError, match="no regular file"):
        Devices(description)


def test_devices_that_are_not_described_are_those_of_the_host(tmp_path: Path, nvidia_smi: Answer) -> None:
    nvidia_smi("echo '0, GPU-aa, NVIDIA H200, 143771, 4, Disabled'")
    own = Devices(tmp_path / "devices.json")
    assert (own.cpus, own.memory) == (usable_cpus(), usable_memory())
    assert [gpu.uuid for gpu in own.look().gpus] == ["GPU-aa"]


def test_tasks_have_the_memory_that_the_worker_is_told(tmp_path: Path) -> None:
    description = tmp_path / "devices.json"
    assert Devices(description, 5 * MEBIBYTE).memory == 5 * MEBIBYTE
    assert Devices(memory=5 * MEBIBYTE).memory == 5 * MEBIBYTE, "also more than this process may use"
    assert Devices(description, None).memory == usable_memory()
    description.write_text(json.dumps({"memory": 7}))
    assert Devices(description, 5 * MEBIBYTE).memory == 7 * MEBIBYTE


def test_the_environment_that_tasks_are_given_leaves_some_gpus(tmp_path: Path, nvidia_smi: Answer) -> None:
    environment = {"CUDA_VISIBLE_DEVICES": "1"}
    nvidia_smi("echo '0, GPU-aa, H200, 143771, 4, Disabled'; echo '1, GPU-bb, H200, 143771, 4, Disabled'")
    own = Devices(given=lambda: environment)
    look = own.look()
    assert ([gpu.uuid for gpu in look.gpus], look.restriction) == (["GPU-bb"], "CUDA_VISIBLE_DEVICES=1")
    environment.clear()
    assert ([gpu.index for gpu in own.look().gpus], own.look().restriction) == (["0", "1"], "")
    environment["CUDA_VISIBLE_DEVICES"] = "MIG-1"
    nvidia_smi(
        "[ $1 = --list-gpus ] && { echo 'GPU 0: H200 (UUID: GPU-aa)'; "
        "echo '  MIG 1g.18gb  Device 0: (UUID: MIG-1)'; exit; }; echo '0, GPU-aa, H200, 143771, 4, Disabled'"
    )
    assert [gpu.uuid for gpu in own.look(since=time.monotonic()).gpus] == ["MIG-1"]


def test_gpus_are_nvidias_unless_there_are_amds_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Devices().gpu_kind == NVIDIA
    found = [Gpu("0", "0", "MI300X", 190_000, 3)]
    monkeypatch.setattr(devices, "find_amd_gpus", lambda: found)
    own = Devices(given=lambda: {"HIP_VISIBLE_DEVICES": "0"})
    assert (own.gpu_kind, own.look().gpus) == (AMD, found)
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    assert Devices().gpu_kind == NVIDIA
    (tmp_path / "devices.json").write_text(json.dumps({"gpu_kind": "amd", "gpus": []}))
    assert Devices(tmp_path / "devices.json").gpu_kind == AMD


class Finder:
    """A way to find GPUs that takes as long as it is told, and counts."""

    def __init__(self) -> None:
        self.found = 0
        self.go = threading.Event()
        self.go.set()

    def __call__(self) -> tuple[Sequence[Gpu], str]:
        self.go.wait(60)
        self.found += 1
        return [Gpu("0", "GPU-aa", "", 1000, self.found)], ""


def test_looks_are_kept_for_some_seconds_unless_a_newer_one_is_asked_for() -> None:
    finder = Finder()
    gpus = Gpus(finder)
    first = gpus.look()
    assert first.is_known
    assert gpus.look(since=first.began) is first
    now = time.monotonic()
    assert gpus.look(since=now).began >= now
    assert finder.found == 2


def test_nobody_waits_long_for_a_slow_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "PATIENCE_SECONDS", 0.01)
    finder = Finder()
    finder.go.clear()
    gpus = Gpus(finder)
    assert gpus.look() == Look(), "nothing is known yet, and that is no problem"
    assert gpus.look() == Look()
    finder.go.set()
    wait_until(lambda: gpus.look().is_known)
    assert finder.found == 1, "one look at a time"
    first = gpus.look()
    finder.go.clear()
    assert gpus.look(since=time.monotonic()) is first, "the old one, while the new one is under way"
    monkeypatch.setattr(devices, "STALE_SECONDS", 0.0)
    assert gpus.look(since=time.monotonic()).problem == "nvidia-smi does not answer"
    finder.go.set()


def write(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)


CPUS = Fraction(len(os.sched_getaffinity(0)))
GROUPS = "sys/fs/cgroup"


@pytest.mark.parametrize(
    ("files", "cpus", "memory"),
    [
        ({"proc/self/cgroup": "0::/\n"}, CPUS, 1000),
        ({"proc/self/cgroup": "0::/\n", f"{GROUPS}/cpu.max": "max 100000", f"{GROUPS}/memory.max": "max"},
         CPUS, 1000),
        ({"proc/self/cgroup": "0::/\n", f"{GROUPS}/cpu.max": "50000 100000", f"{GROUPS}/memory.max": "1024"},
         Fraction(1, 2), 1 / 1024),
        ({"proc/self/cgroup": "0::/a/b\n", f"{GROUPS}/a/b/memory.max": "max",
          f"{GROUPS}/a/memory.max": f"{100 * MEBIBYTE}", f"{GROUPS}/memory.max": f"{200 * MEBIBYTE}"},
         CPUS, 100),
        ({"proc/self/cgroup": "0::/docker/0123/not/to/be/seen\n", f"{GROUPS}/cpu.max": "25000 100000"},
         Fraction(1, 4), 1000),
        ({"proc/self/cgroup": "5:cpu,cpuacct:/docker/01\n7:memory:/docker/01\n",
          f"{GROUPS}/cpu/cpu.cfs_quota_us": "10000", f"{GROUPS}/cpu/cpu.cfs_period_us": "100000",
          f"{GROUPS}/memory/memory.limit_in_bytes": f"{300 * MEBIBYTE}"}, Fraction(1, 10), 300),
        ({"proc/self/cgroup": "5:cpu,cpuacct:/\n7:memory:/\n", f"{GROUPS}/cpu/cpu.cfs_quota_us": "-1",
          f"{GROUPS}/cpu/cpu.cfs_period_us": "100000",
          f"{GROUPS}/memory/memory.limit_in_bytes": "9223372036854771712"}, CPUS, 1000),
    ],
)  # fmt: skip
def test_control_groups_leave_less(
    tmp_path: Path, files: dict[str, str], cpus: Fraction, memory: float
) -> None:
    write(tmp_path, {"proc/meminfo": f"MemTotal:       {1000 * 1024} kB\nMemFree: 1 kB\n"} | files)
    assert usable_cpus(tmp_path) == cpus
    assert usable_memory(tmp_path) == memory * MEBIBYTE
