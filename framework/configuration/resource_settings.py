"""Reader of `resources:`."""

import math
import re
from fractions import Fraction

from framework.configuration.yaml_nodes import MappingNode, Node, Problems, ScalarNode, UnusableNode, nearest
from framework.project.resources import Resources

EXAMPLE = "{gpus: 1, cpus: 2, memory: 4G}"
_KEYS = ("gpus", "cpus", "memory", "gpu_memory")
_MOST = 10**6  # GPUs, CPUs, or GiB; more is taken for a mistake
_LEAST_CPUS = Fraction("0.01")
_UNITS = {"M": 2**20, "G": 2**30, "T": 2**40}
_SIZE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?([MGT])(?:i?B)?", re.IGNORECASE)


def read_resources(node: Node, problems: Problems) -> Resources:
    """The resources that `node` describes; each mistake in it is added to `problems`."""
    if not isinstance(node, MappingNode) or not node.entries:
        problems.add(node.position, f"resources: has to be a mapping, as in {EXAMPLE}")
        return Resources()
    gpus, cpus, memory, gpu_memory = Fraction(0), None, 0, 0
    for entry in node.entries:
        try:
            match entry.name:
                case _ if isinstance(entry.node, UnusableNode):
                    pass
                case "gpus":
                    gpus = _gpus_needed(entry.node)
                case "cpus":
                    cpus = _cpus_needed(entry.node)
                case "memory":
                    memory = read_size(entry.node)
                case "gpu_memory":
                    gpu_memory = read_size(entry.node)
                    if all(each.name != "gpus" for each in node.entries):
                        raise ValueError("needs gpus beside it, as in {gpus: 1, gpu_memory: 20G}")
                case other:
                    problems.add(entry.position, f"unknown key {other!r}; {nearest(other, _KEYS)}")
        except ValueError as error:
            problems.add(entry.node.position, f"{entry.name}: {error}")
    return Resources(gpus, cpus, memory, gpu_memory)


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


def read_size(node: Node) -> int:
    """A size in bytes, written with its unit. Raises ValueError."""
    return size_in_bytes(node.text if isinstance(node, ScalarNode) else "")


def size_in_bytes(text: str) -> int:
    """The bytes that `text` means, as in 500M or 4G. Raises ValueError."""
    match = _SIZE.fullmatch(text)
    size = math.ceil(Fraction(match[1]) * _UNITS[match[2].upper()]) if match else 0
    if not 0 < size <= _MOST * 2**30:
        raise ValueError("has to be a size with its unit, as in 500M or 4G")
    return size


def _read_number(node: Node) -> Fraction | None:
    value = node.value if isinstance(node, ScalarNode) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _MOST:
        return None
    return Fraction(str(value))  # exactly the decimal that is written
