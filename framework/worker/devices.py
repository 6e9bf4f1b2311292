"""Devices of this host: CPUs, memory, NVIDIA GPUs and their use by others.

A file that describes devices can replace those of the host, so that scheduling by GPUs can be tested without
any.
"""

from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from framework.errors import FrameworkError
from framework.files import read_regular

LOOK_SECONDS = 5.0  # age up to which a look at the GPUs is used again
PATIENCE_SECONDS = 0.5  # longest wait for a new look: without persistence mode, nvidia-smi takes seconds
ANSWER_SECONDS = 30.0  # longest run of nvidia-smi
STALE_SECONDS = 90.0  # age from which a look is useless: nvidia-smi may hang in the driver, and survive KILL

# Memory that can be in use on an idle GPU: by the driver, and by a screen.
IDLE_MEBIBYTES = 500
IDLE_DISPLAY_MEBIBYTES = 2048

_FIELDS = ("index", "uuid", "name", "memory.total", "memory.used", "display_active")
_QUERY = ("nvidia-smi", f"--query-gpu={','.join(_FIELDS)}", "--format=csv,noheader,nounits")
_CGROUPS = Path("sys/fs/cgroup")
_LONGEST_ANSWER = 200  # characters
_LONGEST_DESCRIPTION = 2**20  # bytes


@dataclass(frozen=True)
class Gpu:
    """GPU at the moment of a look; memory in MiB."""

    index: str
    uuid: str
    name: str
    memory: int
    used: int
    has_display: bool = False

    @property
    def is_in_use(self) -> bool:
        """True if a process uses it, judged by memory: a container cannot see the processes of others."""
        return self.used > (IDLE_DISPLAY_MEBIBYTES if self.has_display else IDLE_MEBIBYTES)

    def __str__(self) -> str:
        return f"GPU {self.index} ({self.name})"


@dataclass(frozen=True)
class Look:
    """State of all GPUs at one moment; `problem` describes what is wrong with those that cannot be used."""

    began: float = -math.inf  # value of time.monotonic(); the look includes all that happened before
    gpus: Sequence[Gpu] = ()
    problem: str = ""

    @property
    def is_known(self) -> bool:
        """True if GPUs were looked at; False if nothing is known of them."""
        return self.began > -math.inf


class Devices:
    """Devices of this host, or those that the file `description` names in their place."""

    def __init__(self, description: Path | None = None, memory: int | None = None) -> None:
        """`memory`: bytes that tasks may use; None: as much as this process."""
        self._description = description
        described = self._described()
        self.cpus = Fraction(str(described["cpus"])) if "cpus" in described else usable_cpus()
        self.memory = memory or usable_memory()  # bytes
        if "memory" in described:
            self.memory = described["memory"] * 2**20
        self._gpus = Gpus(self._find_gpus)

    def look(self, since: float = -math.inf) -> Look:
        """Return a look at the GPUs: see Gpus.look."""
        return self._gpus.look(since)

    def _find_gpus(self) -> tuple[Sequence[Gpu], str]:
        described = self._described()
        if "gpus" not in described:
            return ask_nvidia_smi()
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


def ask_nvidia_smi() -> tuple[Sequence[Gpu], str]:
    """Return the usable GPUs, and what is wrong with the others; nothing where there is no nvidia-smi."""
    try:
        answer = subprocess.run(
            _QUERY, capture_output=True, text=True, errors="replace", timeout=ANSWER_SECONDS, check=False
        )
    except FileNotFoundError:
        return (), ""
    except subprocess.TimeoutExpired:
        return (), f"nvidia-smi gave no answer in {ANSWER_SECONDS:.0f} s"
    except OSError as error:
        return (), f"nvidia-smi cannot be run: {error.strerror}"
    if answer.returncode:
        lines = [line for line in (answer.stdout + answer.stderr).splitlines() if line.strip()]
        said = lines[0] if lines else f"exit code {answer.returncode}"
        # A container loses its GPUs when its host reloads systemd or the driver; a restart brings them back.
        advice = "restart the worker's container with 'docker restart'"
        return (), f"nvidia-smi: {said:.{_LONGEST_ANSWER}}; {advice}"
    return _read_answer(answer.stdout)


def _read_answer(answer: str) -> tuple[Sequence[Gpu], str]:
    gpus, problems = [], []
    for fields in csv.reader(answer.splitlines(), skipinitialspace=True):
        try:
            index, uuid, name, memory, used, display = fields
            gpus.append(Gpu(index, uuid, name, _mebibytes(memory), _mebibytes(used), display == "Enabled"))
        except ValueError:  # such as "[Unknown Error]" or "[GPU requires reset]"
            problems.append(f"nvidia-smi: {', '.join(fields):.{_LONGEST_ANSWER}}")
    return gpus, "; ".join(problems)


def _mebibytes(text: str) -> int:
    # A GPU without memory of its own has no figures: its use by others cannot be seen.
    return 0 if text in ("[N/A]", "[Not Supported]") else int(text)


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
