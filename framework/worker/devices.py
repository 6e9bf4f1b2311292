"""Devices of this host: CPUs, memory, GPUs and their use by others.

A file that describes devices can replace those of the host, so that scheduling by GPUs can be tested without
any.
"""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from framework.errors import FrameworkError
from framework.files import read_regular
from framework.worker.amd import find_amd_gpus
from framework.worker.gpu import AMD, NVIDIA, Gpu
from framework.worker.nvidia import ask_nvidia_smi, has_nvidia_smi
from framework.worker.visible_gpus import mentions_mig, visible_gpus

LOOK_SECONDS = 5.0  # age up to which a look at the GPUs is used again
PATIENCE_SECONDS = 0.5  # longest wait for a new look: without persistence mode, nvidia-smi takes seconds
STALE_SECONDS = 90.0  # age from which a look is useless: nvidia-smi may hang in the driver, and survive KILL

_CGROUPS = Path("sys/fs/cgroup")
_LONGEST_DESCRIPTION = 2**20  # bytes


@dataclass(frozen=True)
class Look:
    """State of all GPUs at one moment."""

    began: float = -math.inf  # value of time.monotonic(); the look includes all that happened before
    gpus: Sequence[Gpu] = ()
    problem: str = ""  # what is wrong with those that cannot be used
    restriction: str = ""  # the user's variables that keep others from tasks

    @property
    def is_known(self) -> bool:
        """True if GPUs were looked at; False if nothing is known of them."""
        return self.began > -math.inf


class Devices:
    """Devices of this host, or those that the file `description` names in their place."""

    def __init__(
        self,
        description: Path | None = None,
        memory: int | None = None,
        given: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """`memory`: bytes that tasks may use; None: as much as this process.

        `given` returns the environment that tasks are given, which may leave them some of the GPUs only.
        """
        self._description = description
        self._given = given
        described = self._described()
        self.cpus = Fraction(str(described["cpus"])) if "cpus" in described else usable_cpus()
        self.memory = memory or usable_memory()  # bytes
        if "memory" in described:
            self.memory = described["memory"] * 2**20
        is_amd = not has_nvidia_smi() and bool(find_amd_gpus())
        self.gpu_kind = described.get("gpu_kind", AMD if is_amd else NVIDIA)
        self._gpus = Gpus(self._find_gpus)

    def look(self, since: float = -math.inf) -> Look:
        """Return a look at the GPUs that tasks may use: see Gpus.look."""
        look = self._gpus.look(since)
        gpus, restriction = visible_gpus(look.gpus, self.gpu_kind, self._given())
        return replace(look, gpus=gpus, restriction=restriction) if restriction else look

    def _find_gpus(self) -> tuple[Sequence[Gpu], str]:
        described = self._described()
        if "gpus" not in described:
            if self.gpu_kind == AMD:
                return find_amd_gpus(), ""
            return ask_nvidia_smi(with_mig=mentions_mig(self._given()))
        try:
            return [
                Gpu(str(index), gpu["uuid"], "described", gpu["memory"], gpu["used"])
                for index, gpu in enumerate(described["gpus"])
            ], ""
        except (KeyError, TypeError) as error:
            return (), f"{self._description}: {error!r}"

    def _described(self) -> Mapping[str, Any]:
        if self._description is None:
            return {}
        try:
            described = json.loads(read_regular(self._description, _LONGEST_DESCRIPTION))
            if not isinstance(described, dict):
                raise ValueError("no object")
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            raise FrameworkError(
                f"{self._description}: cannot be read as a description of devices: {error}"
            ) from error
        return described


class Gpus:
    """Cache of looks at the GPUs, which never makes a caller wait long."""

    def __init__(self, find: Callable[[], tuple[Sequence[Gpu], str]]) -> None:
        self._find = find
        self._lock = threading.Lock()
        self._latest = Look()
        self._looking = threading.Thread()
        self._began = 0.0  # time at which the latest thread began

    def look(self, since: float = -math.inf) -> Look:
        """Return the latest look.

        If it is old, or began before `since`, a thread begins a new one. If that takes long, the older look
        is returned meanwhile, and an unknown one if that is too old.
        """
        with self._lock:
            now = time.monotonic()
            if self._latest.began >= max(since, now - LOOK_SECONDS):
                return self._latest
            if not self._looking.is_alive():
                self._looking = threading.Thread(target=self._look, args=[now], name="GPUs", daemon=True)
                self._looking.start()
                self._began = now
            looking, began = self._looking, self._began
        looking.join(PATIENCE_SECONDS)
        with self._lock:
            if self._latest.began > now - STALE_SECONDS:
                return self._latest
        hangs = began <= now - STALE_SECONDS
        return Look(began, problem="nvidia-smi does not answer") if hangs else Look()

    def _look(self, began: float) -> None:
        try:
            gpus, problem = self._find()
        except FrameworkError as error:
            gpus, problem = (), str(error)
        with self._lock:
            self._latest = Look(began, gpus, problem)


def usable_cpus(root: Path = Path("/")) -> Fraction:
    """Return the number of CPUs that this process may use: its affinity, and quotas of its control groups."""
    quotas = [Fraction(len(os.sched_getaffinity(0)))]
    for group in _control_groups(root, "cpu"):
        quota = _words(group / "cpu.max") or [
            *_words(group / "cpu.cfs_quota_us"),
            *_words(group / "cpu.cfs_period_us"),
        ]
        if len(quota) == 2 and all(map(str.isdecimal, quota)):  # otherwise "max" or -1, which is no limit
            quotas.append(Fraction(int(quota[0]), int(quota[1])))
    return min(quotas)


def usable_memory(root: Path = Path("/")) -> int:
    """Return the bytes of memory that this process may use: the host's, or limits of its control groups."""
    total = next(line for line in (root / "proc/meminfo").read_text().splitlines() if "MemTotal:" in line)
    limits = [int(total.split()[1]) * 1024]
    for group in _control_groups(root, "memory"):
        limit = _words(group / "memory.max") or _words(group / "memory.limit_in_bytes")
        limits += [int(word) for word in limit if word.isdecimal()]
    return min(limits)


def _control_groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the directories of this process's control group and of all above it, for versions 1 and 2.

    In a container, the path may be the host's, of which only the top is visible: that is the container's
    group.
    """
    for line in (root / "proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = root / _CGROUPS / (controller if controllers else "")
        group = top / path.lstrip("/")
        yield from (group, *(parent for parent in group.parents if parent.is_relative_to(top)))


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []
