"""Resources that a task needs, and capacity of a host."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Resources:
    """Needs of one task. CPUs and memory are counted, not enforced; GPUs are reserved for the task."""

    gpus: Fraction = Fraction(0)  # a whole number, or a share of one GPU
    cpus: Fraction | None = None  # None: unknown; a task then counts as one slot
    memory: int = 0  # bytes
    gpu_memory: int = 0  # bytes on each of its GPUs


@dataclass(frozen=True)
class Capacity:
    """Resources that a host has for tasks while nothing else runs there."""

    cpus: Fraction
    memory: int  # bytes
    gpus: Sequence[int]  # bytes of memory of each; 0: not known

    def lacks(self, needs: Resources) -> str:
        """The reason why a task with these needs can never run on this host; empty if it can."""
        lacking = []
        large = sum(1 for memory in self.gpus if not 0 < memory < needs.gpu_memory)
        if len(self.gpus) < needs.gpus:
            lacking.append((_gpus(len(self.gpus)), _number(needs.gpus)))
        elif needs.gpus and not large:
            has = f"GPUs of at most {_gibibytes(max(self.gpus), math.floor)}"
            lacking.append((has, f"one with {_gibibytes(needs.gpu_memory, math.ceil)}"))
        elif large < needs.gpus:
            has = f"{_gpus(large)} with {_gibibytes(needs.gpu_memory, math.ceil)} of memory"
            lacking.append((has, _number(needs.gpus)))
        if needs.cpus is not None and self.cpus < needs.cpus:
            lacking.append((_cpus(self.cpus), _number(needs.cpus)))
        if self.memory < needs.memory:
            has = f"{_gibibytes(self.memory, math.floor)} of memory for tasks"
            lacking.append((has, _gibibytes(needs.memory, math.ceil)))
        each = " and ".join(f"{has} (a task needs {needed})" for has, needed in lacking)
        return f"has {each}" if each else ""


def why_nowhere(project: str, lacking: Mapping[str, str]) -> str:
    """The message that no host can run a task of `project`; `lacking`: Capacity.lacks() by host."""
    reasons = "; ".join(f"{host} {why}" for host, why in lacking.items())
    advice = "change project.yml, or use other worker hosts"
    return f"{project} can run on no worker host: {reasons}; {advice}"


def _gpus(number: int) -> str:
    return f"{number} GPU{'' if number == 1 else 's'}"


def _cpus(number: Fraction) -> str:
    return f"{_number(number)} CPU{'' if number == 1 else 's'}"


def _number(number: Fraction) -> str:
    return f"{float(number):g}"


def _gibibytes(size: int, rounded: Callable[[float], int]) -> str:
    return f"{rounded(size / 2**30 * 100) / 100:g} GiB"
