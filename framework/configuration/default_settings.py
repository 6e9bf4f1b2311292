"""Reader of `defaults:`: values that metaparameters had before they were added"""

from collections.abc import Sequence

from framework.configuration.yaml_nodes import MappingNode, Node, Problems, ScalarNode, UnusableNode, nearest
from framework.space.product import Space, listed
from framework.space.values import Value, options_with


def read_defaults(node: Node, space: Space, problems: Problems) -> dict[str, Value]:
    """The values in `node`, by metaparameter; each mistake in it is added to `problems`."""
    if not isinstance(node, MappingNode) or not node.entries:
        problems.add(node.position, "defaults: has to be a mapping, as in {dropout: 0.0}")
        return {}
    defaults: dict[str, Value] = {}
    for entry in node.entries:
        if entry.name not in space.names:
            known = nearest(entry.name, space.names)
            problems.add(entry.position, f"defaults: no metaparameter {entry.name!r}; {known}")
        elif not isinstance(entry.node, UnusableNode):
            try:
                defaults[entry.name] = _value(entry.node, listed(space.dimensions[entry.name]))
            except ValueError as error:
                problems.add(entry.node.position, f"defaults: {entry.name}: {error}")
    return defaults


def _value(node: Node, values: Sequence[Value]) -> Value:
    """The one of `values` that is written. Raises ValueError."""
    value = node.value if isinstance(node, ScalarNode) else None
    options = [] if value is None else options_with(values, value)
    if not options:
        raise ValueError("is none of its values; write one of those in its list")
    return values[options[0]]
