"""Use of a host: its load, and what its GPUs do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from framework.messages.checks import is_count, is_size

_MOST_GPUS = 64
_MOST_MEBIBYTES = 2**30
_MOST_LOAD = 10**6


@dataclass(frozen=True)
class GpuUse:
    """Use of one GPU."""

    busy: int | None  # percent; None where the driver does not say it
    used: int  # MiB
    memory: int  # MiB; 0 where the driver does not say it


@dataclass(frozen=True)
class HostUse:
    """Use of one host at a moment."""

    load: float = 0.0  # processes that run or wait for a CPU, mean of a minute
    cpus: float = 0.0  # that tasks may use; 0: nothing is known of this host
    gpus: tuple[GpuUse, ...] = ()  # those that tasks may use

    def to_message(self) -> dict[str, Any]:
        gpus = [[gpu.busy, gpu.used, gpu.memory] for gpu in self.gpus[:_MOST_GPUS]]
        return {"load": self.load, "cpus": self.cpus, "gpus": gpus}

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> HostUse:
        """The use that a checked message says."""
        return cls(message["load"], message["cpus"], tuple(GpuUse(*gpu) for gpu in message["gpus"]))

    @classmethod
    def from_status(cls, content: Mapping[str, Any]) -> HostUse:
        """The use that a status of ours says."""
        return cls(content["load"], content["cpus"], tuple(GpuUse(**gpu) for gpu in content["gpus"]))


UNKNOWN_USE = HostUse()


def is_host_use(value: object) -> bool:
    """True for what to_message() makes."""
    return (
        isinstance(value, dict)
        and value.keys() == {"load", "cpus", "gpus"}
        and is_size(value["load"], _MOST_LOAD)
        and is_size(value["cpus"], _MOST_LOAD)
        and isinstance(value["gpus"], list)
        and len(value["gpus"]) <= _MOST_GPUS
        and all(map(_is_gpu, value["gpus"]))
    )


def _is_gpu(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and (value[0] is None or is_count(value[0], 100))
        and is_count(value[1], _MOST_MEBIBYTES)
        and is_count(value[2], _MOST_MEBIBYTES)
    )
