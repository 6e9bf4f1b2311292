"""What one task needs of its host, as `resources:` in project.yml says it; and whether a host has it."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from framework import yaml_source
from framework.yaml_source import Node, Problems, Scalar, Unusable, nearest

EXAMPLE = "{gpus: 1, cpus: 2, memory: 4G}"

_KEYS = ("gpus", "cpus", "memory")
_MOST = 10**6  # GPUs, CPUs, GiB of memory: more is a mistake
_LEAST_CPUS = Fraction("0.01")
_UNITS = {"M": 2**20, "G": 2**30, "T": 2**40}
_MEMORY = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?([MGT])(?:i?B)?", re.IGNORECASE)


@dataclass(frozen=True)
class Resources:
    """What one task needs. CPUs and memory are counted, not enforced; GPUs are a task's own."""

    gpus: Fraction = Fraction(0)  # a whole number, or a share of one GPU
    cpus: Fraction | None = None  # None: not said; then a task counts as one slot
    memory: int = 0  # bytes


@dataclass(frozen=True)
class Capacity:
    """What a host has for tasks if nothing else runs there."""

    cpus: Fraction
    memory: int  # bytes
    gpus: int

    def lacks(self, needs: Resources) -> str:
        """Why a task with such needs can never run on this host; empty if it can."""
        lacking = []
        if self.gpus < needs.gpus:
            lacking.append((_gpus(Fraction(self.gpus)), _number(needs.gpus)))
        if needs.cpus is not None and self.cpus < needs.cpus:
            lacking.append((_cpus(self.cpus), _number(needs.cpus)))
        if self.memory < needs.memory:
            has = f"{_gibibytes(self.memory, math.floor)} of memory for tasks"
            lacking.append((has, _gibibytes(needs.memory, math.ceil)))
        each = " and ".join(f"{has} (a task needs {needed})" for has, needed in lacking)
        return f"has {each}" if each else ""


def why_nowhere(project: str, lacking: Mapping[str, str]) -> str:
    """What a person is told when no host can run a task; `lacking`: by host, what Capacity.lacks says."""
    reasons = "; ".join(f"{host} {why}" for host, why in lacking.items())
    advice = "change resources in project.yml, or use other worker hosts"
    return f"{project} can run on no worker host: {reasons}; {advice}"


def read_resources(node: Node, problems: Problems) -> Resources:
    """The needs that `node` describes; what is wrong with them goes to `problems`, each with its place."""
    if not isinstance(node, yaml_source.Mapping) or not node.entries:
        problems.add(node.position, f"resources: names nothing; write {EXAMPLE}")
        return Resources()
    gpus, cpus, memory = Fraction(0), None, 0
    for entry in node.entries:
        try:
            match entry.name:
                case _ if isinstance(entry.node, Unusable):
                    pass
                case "gpus":
                    gpus = _gpus_needed(entry.node)
                case "cpus":
                    cpus = _cpus_needed(entry.node)
                case "memory":
                    memory = _memory_needed(entry.node)
                case other:
                    problems.add(entry.position, f"unknown key {other!r}; {nearest(other, _KEYS)}")
        except ValueError as error:
            problems.add(entry.node.position, f"{entry.name}: {error}")
    return Resources(gpus, cpus, memory)


def _gpus_needed(node: Node) -> Fraction:
    value = _read_number(node)
    if value is None or value < 0 or (value > 1 and value.denominator != 1):
        raise ValueError("has to be a whole number, or below 1 for a share of one GPU, as in 0.5")
    return value


def _cpus_needed(node: Node) -> Fraction:
    value = _read_number(node)
    if value is None or value < _LEAST_CPUS:
        raise ValueError(f"has to be a number, {float(_LEAST_CPUS):g} or more, as in 2 or 0.5")
    return value


def _memory_needed(node: Node) -> int:
    match = _MEMORY.fullmatch(node.text) if isinstance(node, Scalar) else None
    size = math.ceil(Fraction(match[1]) * _UNITS[match[2].upper()]) if match else 0
    if not 0 < size <= _MOST * 2**30:
        raise ValueError("has to be a size with its unit, as in 500M or 4G")
    return size


def _read_number(node: Node) -> Fraction | None:
    value = node.value if isinstance(node, Scalar) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _MOST:
        return None
    return Fraction(str(value))  # what is written: 0.1 is a tenth


def _gpus(number: Fraction) -> str:
    return f"{_number(number)} GPU{'' if number == 1 else 's'}"


def _cpus(number: Fraction) -> str:
    return f"{_number(number)} CPU{'' if number == 1 else 's'}"


def _number(number: Fraction) -> str:
    return f"{float(number):g}"


def _gibibytes(size: int, rounded: Callable[[float], int]) -> str:
    return f"{rounded(size / 2**30 * 100) / 100:g} GiB"
