"""Variables that tell a task its share of the host: slot, port, threads, GPUs."""

from __future__ import annotations

from collections.abc import Mapping

from framework.worker.allocator import Allocation
from framework.worker.gpu import AMD

ADDRESS = "127.0.0.1"  # the processes of a task run on one host
_ALL_THREADS = "OMP_NUM_THREADS"  # MKL and OpenBLAS go by it, too, where they have no number of their own
_THREADS = (_ALL_THREADS, "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
SHARE_NAMES = ("TASK_SLOT", "MASTER_ADDR", "MASTER_PORT", *_THREADS)  # all that share_variables() may set


def share_variables(allocation: Allocation, given: Mapping[str, str]) -> dict[str, str]:
    """The slot, and what `given`, the environment of the user or of the image, does not set."""
    port = {} if allocation.port is None else {"MASTER_PORT": str(allocation.port)}
    threads = {} if _ALL_THREADS in given else dict.fromkeys(_THREADS, str(allocation.threads))
    unless_given = {"MASTER_ADDR": ADDRESS, **port, **threads}
    return {
        "TASK_SLOT": str(allocation.slot),
        **{name: value for name, value in unless_given.items() if name not in given},
    }


def gpu_variables(allocation: Allocation) -> dict[str, str]:
    """The GPUs of the task, or that it has none, in place of what else says it."""
    gpus = ",".join(allocation.gpus)
    if allocation.gpu_kind != AMD:
        return {"CUDA_VISIBLE_DEVICES": gpus}
    if not gpus:
        return {"HIP_VISIBLE_DEVICES": "-1", "CUDA_VISIBLE_DEVICES": "-1"}
    # HIP counts what ROCR leaves; for HIP, CUDA's variable is another name of its own.
    counted = ",".join(map(str, range(len(allocation.gpus))))
    return {
        "ROCR_VISIBLE_DEVICES": gpus,
        "HIP_VISIBLE_DEVICES": counted,
        "CUDA_VISIBLE_DEVICES": counted,
    }
