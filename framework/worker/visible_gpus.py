"""GPUs that the user's own environment leaves to tasks: CUDA_VISIBLE_DEVICES and its like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from framework.worker.gpu import AMD, Gpu

_CUDA = "CUDA_VISIBLE_DEVICES"
_HIP = "HIP_VISIBLE_DEVICES"
_ROCR = "ROCR_VISIBLE_DEVICES"


def visible_gpus(gpus: Sequence[Gpu], kind: str, environment: Mapping[str, str]) -> tuple[Sequence[Gpu], str]:
    """Return those of the GPUs that the variables name, and these variables where they leave some out.

    For ROCm, HIP_VISIBLE_DEVICES, or CUDA_VISIBLE_DEVICES if that is empty, counts what ROCR_VISIBLE_DEVICES
    leaves.
    """
    left = gpus
    if kind == AMD:
        names = [_ROCR, _HIP if environment.get(_HIP) else _CUDA]
        left = _named(left, {gpu.index: gpu for gpu in left}, environment.get(_ROCR))
        left = _named(left, {str(n): gpu for n, gpu in enumerate(left)}, environment.get(names[1]) or None)
    else:
        names = [_CUDA]
        left = _named(left, {gpu.index: gpu for gpu in left}, environment.get(_CUDA))
    if len(left) == len(gpus):
        return left, ""
    return left, " ".join(f"{name}={environment[name]}" for name in names if name in environment)


def mentions_mig(environment: Mapping[str, str]) -> bool:
    """True if the user wants parts of GPUs, as MIG makes them."""
    return "MIG-" in environment.get(_CUDA, "")


def _named(gpus: Sequence[Gpu], numbered: Mapping[str, Gpu], value: str | None) -> Sequence[Gpu]:
    """The GPUs that a variable names, by numbers or by beginnings of ids; all if it is not set.

    Unlike the drivers, a GPU that is not there, or has failed, does not end the list: only -1 does.
    """
    if value is None:
        return gpus
    named: list[Gpu] = []
    for word in map(str.strip, value.split(",")):
        if word == "-1":
            break
        gpu = numbered.get(word) or _with_id(gpus, word)
        if gpu is not None and gpu not in named:
            named.append(gpu)
    return named


def _with_id(gpus: Sequence[Gpu], beginning: str) -> Gpu | None:
    """The only GPU whose id has that beginning; None if there is none, or more than one."""
    if not beginning.startswith(("GPU-", "MIG-")):
        return None
    found = [gpu for gpu in gpus if any(_begins(name, beginning) for name in (gpu.uuid, gpu.unique_id))]
    return found[0] if len(found) == 1 else None


def _begins(name: str, beginning: str) -> bool:
    return name.lower().startswith(beginning.lower())
