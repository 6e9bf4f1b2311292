"""Reader of `hosts:`: which hosts may run a project's tasks."""

import re

from framework.configuration.yaml_nodes import (
    MappingNode,
    Node,
    Problems,
    ScalarNode,
    SequenceNode,
    UnusableNode,
    nearest,
)

EXAMPLE = "{labels: [a100]}"
_KEYS = ("labels",)
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")  # as framework/shell/host_list.sh has it


def read_host_labels(node: Node, problems: Problems) -> tuple[str, ...]:
    """The labels that a host must have, each once; each mistake in `node` is added to `problems`."""
    if not isinstance(node, MappingNode) or not node.entries:
        problems.add(node.position, f"hosts: has to be a mapping, as in {EXAMPLE}")
        return ()
    labels: dict[str, None] = {}
    for entry in node.entries:
        if entry.name != "labels":
            problems.add(entry.position, f"unknown key {entry.name!r}; {nearest(entry.name, _KEYS)}")
        elif not isinstance(entry.node, UnusableNode):
            for item in entry.node.items if isinstance(entry.node, SequenceNode) else (entry.node,):
                if isinstance(item, ScalarNode) and _LABEL.fullmatch(item.text):
                    labels[item.text] = None
                elif not isinstance(item, UnusableNode):
                    problems.add(
                        item.position,
                        "labels: a label has letters, digits, _, . and - only, as in [a100]",
                    )
    return tuple(labels)
