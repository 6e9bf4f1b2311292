"""Reader of `mounts:`: directories of the hosts that tasks see."""

import posixpath
import re
from collections.abc import Iterator, Sequence

from framework.configuration.yaml_nodes import (
    Entry,
    MappingNode,
    Node,
    Position,
    Problems,
    ScalarNode,
    SequenceNode,
    UnusableNode,
    nearest,
)
from framework.project.mounts import Mount, holds
from framework.text import text_problem

EXAMPLE = "{~/data/imagenet: /data}"
_KEYS = ("source", "target", "mode")
_MODES = ("ro", "rw")
# framework/shell/one_off.sh has the same pattern.
_TARGET = re.compile(r"/[A-Za-z0-9._/+@=-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_MOST = 50
# Places of the framework and of the system: neither they nor what is in them can be a target.
_TAKEN = ("/code", "/infrainit", "/secrets", "/opt/requirements", "/proc", "/sys", "/dev", "/etc", "/run")
# Places of which a task needs what the image has there; what is beside that can be a target.
_NEEDED = (
    "/bin", "/boot", "/lib", "/lib32", "/lib64", "/opt", "/sbin", "/tmp", "/usr", "/usr/bin", "/usr/lib",
    "/usr/lib64", "/usr/local", "/usr/local/bin", "/usr/local/lib", "/usr/sbin", "/var", "/var/run",
)  # fmt: skip


def read_mounts(node: Node, problems: Problems) -> tuple[Mount, ...]:
    """The mounts that `node` describes; each mistake in it is added to `problems`."""
    mounts: list[Mount] = []
    for position, fields in _items(node, problems):
        if any(isinstance(field, UnusableNode) for field in fields.values()):
            continue
        try:
            mount = Mount(_source(fields), _target(fields), _is_writable(fields))
            _check_beside(mount, mounts)
            mounts.append(mount)
        except _MountError as error:
            problems.add(error.position or position, f"mounts: {error}")
    if len(mounts) > _MOST:
        problems.add(node.position, f"mounts: more than {_MOST}; mount a directory that holds several")
    return tuple(mounts)


class _MountError(Exception):
    """What is wrong with a mount, and what to do."""

    def __init__(self, problem: str, position: Position | None = None) -> None:
        super().__init__(problem)
        self.position = position  # None: that of the mount itself


Fields = dict[str, Node]


def _items(node: Node, problems: Problems) -> Iterator[tuple[Position, Fields]]:
    """The fields of each mount, and where it stands; what is none is added to `problems`."""
    if isinstance(node, SequenceNode):
        for item in node.items:
            if isinstance(item, MappingNode):
                yield item.position, _fields(item.entries, _KEYS, problems)
            elif not isinstance(item, UnusableNode):
                problems.add(
                    item.position, "mounts: has to be a mapping, as in {source: ~/data, target: /data}"
                )
    elif isinstance(node, MappingNode) and node.entries:
        for entry in node.entries:
            if isinstance(entry.node, UnusableNode):
                continue
            fields: Fields = {"target": entry.node}
            if isinstance(entry.node, MappingNode):
                fields = _fields(entry.node.entries, _KEYS[1:], problems)
            yield entry.position, {"source": _scalar(entry), **fields}
    else:
        problems.add(node.position, f"mounts: has to be a mapping of sources to targets, as in {EXAMPLE}")


def _fields(entries: Sequence[Entry], keys: Sequence[str], problems: Problems) -> Fields:
    for entry in entries:
        if entry.name not in keys:
            problems.add(entry.position, f"unknown key {entry.name!r}; {nearest(entry.name, keys)}")
    return {entry.name: entry.node for entry in entries}


def _scalar(entry: Entry) -> Node:
    return ScalarNode(entry.position, entry.name, entry.name, plain=False)


def _text(fields: Fields, key: str) -> tuple[str, Position]:
    """The text of a field, and where it stands. Raises _MountError."""
    node = fields.get(key)
    if node is None:
        raise _MountError(f"no {key}; write {{source: ~/data, target: /data}}")
    if not isinstance(node, ScalarNode) or not node.text or (node.plain and node.value is None):
        hint = "; write '~/…', as ~ alone is empty in YAML" if getattr(node, "text", "") == "~" else ""
        raise _MountError(f"the {key} has to be text{hint}", node.position)
    if _CONTROL.search(node.text) or text_problem(node.text) or node.text != node.text.strip():
        raise _MountError(
            f"{node.text!r} has special characters, or spaces around it; rename it, or remove them",
            node.position,
        )
    return node.text, node.position


def _source(fields: Fields) -> str:
    text, position = _text(fields, "source")
    if not (text.startswith(("/", "~/")) or text == "~"):
        raise _MountError(
            f"the source {text!r} has to begin with / or ~/, as it is a directory of the hosts", position
        )
    if ".." in text.split("/"):
        raise _MountError(f"the source {text!r} has '..' in it; write the path without it", position)
    source = posixpath.normpath(text).replace("//", "/")
    if source in ("/", "~"):
        raise _MountError(
            f"the source {text!r} holds more than data, such as keys; name the directory of the data",
            position,
        )
    return source


def _target(fields: Fields) -> str:
    text, position = _text(fields, "target")
    target = posixpath.normpath(text).replace("//", "/")
    if not text.startswith("/") or target == "/":
        raise _MountError(f"the target {text!r} has to be a path in the container, as in /data", position)
    if not _TARGET.fullmatch(target) or ".." in text.split("/"):
        raise _MountError(
            f"the target {text!r} may have letters, digits and ._+@=- only, and no '..'; choose another",
            position,
        )
    if any(holds(taken, target) or holds(target, taken) for taken in _TAKEN) or target in _NEEDED:
        raise _MountError(
            f"the target {text!r} is a place of the system's or of infrainit's; choose another, as /data",
            position,
        )
    return target


def _is_writable(fields: Fields) -> bool:
    if "mode" not in fields:
        return False
    text, position = _text(fields, "mode")
    if text not in _MODES:
        raise _MountError(f"unknown mode {text!r}; write ro (read-only) or rw", position)
    return text == "rw"


def _check_beside(mount: Mount, others: Sequence[Mount]) -> None:
    """Raise _MountError if one of two targets is in the other, or the same."""
    for other in others:
        if holds(other.target, mount.target) or holds(mount.target, other.target):
            same = mount.target == other.target
            raise _MountError(
                f"the target {mount.target} is there twice; choose another"
                if same
                else f"of the targets {other.target} and {mount.target} one is in the other; "
                "choose one that is beside it"
            )
