"""The answers of nvidia-smi: GPUs, their use, MIG devices, and what fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from framework.worker import nvidia
from framework.worker.gpu import Gpu
from framework.worker.nvidia import ask_nvidia_smi

Answer = Callable[[str], None]


def test_the_gpus_of_a_host(nvidia_smi: Answer, tmp_path: Path) -> None:
    nvidia_smi(
        "echo '0, GPU-aa, NVIDIA H200, 143771, 4, Disabled'\n"
        "echo '1, GPU-bb, NVIDIA H200, 143771, 20480, Disabled, 87'\n"
        "echo '2, GPU-cc, NVIDIA RTX 4090, 24564, 1200, Enabled'\n"
        "echo '3, GPU-dd, NVIDIA GB10, [N/A], [N/A], Disabled, [N/A]'"
    )
    gpus, problem = ask_nvidia_smi()
    assert gpus == [
        Gpu("0", "GPU-aa", "NVIDIA H200", 143771, 4),
        Gpu("1", "GPU-bb", "NVIDIA H200", 143771, 20480, busy=87),
        Gpu("2", "GPU-cc", "NVIDIA RTX 4090", 24564, 1200, has_display=True),
        Gpu("3", "GPU-dd", "NVIDIA GB10", 0, 0),
    ]
    assert [gpu.is_in_use for gpu in gpus] == [False, True, False, False], "not the screen"
    assert problem == ""
    asked = (tmp_path / "asked").read_text()
    assert asked == (
        "--query-gpu=index,uuid,name,memory.total,memory.used,display_active,utilization.gpu "
        "--format=csv,noheader,nounits\n"
    )


def test_a_gpu_that_has_failed_is_not_used_and_the_others_are(nvidia_smi: Answer) -> None:
    nvidia_smi(
        "echo '0, GPU-aa, NVIDIA H200, 143771, [Unknown Error], Disabled'\n"
        "echo '1, GPU-bb, NVIDIA H200, 143771, 4, Disabled'"
    )
    gpus, problem = ask_nvidia_smi()
    assert [gpu.uuid for gpu in gpus] == ["GPU-bb"]
    assert problem == "nvidia-smi: 0, GPU-aa, NVIDIA H200, 143771, [Unknown Error], Disabled"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("echo 'Failed to initialize NVML: Unknown Error'; exit 255", "Failed to initialize NVML: Unknown"),
        ("echo >&2 Failed to initialize NVML: Driver/library version mismatch; exit 18", "Driver/library"),
        ("exit 9", "exit code 9"),
        ("echo what", "what"),
        ("exec sleep 60", "gave no answer in 0 s"),
    ],
)
def test_a_driver_that_has_failed(
    nvidia_smi: Answer, monkeypatch: pytest.MonkeyPatch, body: str, problem: str
) -> None:
    monkeypatch.setattr(nvidia, "ANSWER_SECONDS", 0.3 if "sleep" in body else 30.0)
    nvidia_smi(body)
    gpus, found = ask_nvidia_smi()
    assert (list(gpus), problem in found) == ([], True), found


def test_a_host_without_nvidia_smi_has_no_gpus_and_no_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ask_nvidia_smi() == ((), "")


MIG_LIST = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-aa)
  MIG 3g.20gb     Device  0: (UUID: MIG-11-22)
  MIG 1g.5gb+me   Device  1: (UUID: MIG-33)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-bb)
  MIG what        Device  0: (UUID: MIG-GPU-bb/1/0)
"""


def test_mig_devices_follow_the_gpus_if_they_are_asked_for(nvidia_smi: Answer, tmp_path: Path) -> None:
    (tmp_path / "list").write_text(MIG_LIST)
    nvidia_smi(
        f"if [ \"$1\" = --list-gpus ]; then exec cat '{tmp_path}/list'; fi\n"
        "echo '0, GPU-aa, NVIDIA A100-SXM4-40GB, 40960, 4, Disabled'"
    )
    gpus, problem = ask_nvidia_smi(with_mig=True)
    assert [(gpu.index, gpu.uuid, gpu.name, gpu.memory, gpu.used) for gpu in gpus] == [
        ("0", "GPU-aa", "NVIDIA A100-SXM4-40GB", 40960, 4),
        ("0.0", "MIG-11-22", "MIG 3g.20gb", 19073, 0),
        ("0.1", "MIG-33", "MIG 1g.5gb+me", 4768, 0),
        ("1.0", "MIG-GPU-bb/1/0", "MIG what", 0, 0),
    ]
    assert problem == ""
    assert len(ask_nvidia_smi()[0]) == 1


def test_a_list_that_fails_is_reported(nvidia_smi: Answer) -> None:
    nvidia_smi('[ "$1" = --list-gpus ] && exit 9; echo "0, GPU-aa, A100, 40960, 4, Disabled"')
    gpus, problem = ask_nvidia_smi(with_mig=True)
    assert (list(gpus), problem) == ([], "nvidia-smi: exit code 9; restart the worker's container with "
                                     "'docker restart'")  # fmt: skip
