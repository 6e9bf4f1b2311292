"""Reader of `defaults:`: values that metaparameters had before they were added"""

from framework.configuration.metaparameter import read_values
from framework.configuration.yaml_nodes import MappingNode, Node, Problems, UnusableNode, nearest
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
        elif isinstance(entry.node, UnusableNode):
            continue
        elif given := read_values([entry.node], problems):
            values = listed(space.dimensions.get(entry.name, ()))
            options = options_with(values, given[0])
            if options:
                defaults[entry.name] = values[options[0]]
            else:
                problems.add(
                    entry.node.position,
                    f"defaults: {entry.name}: is none of its values; write one of those in its list",
                )
    return defaults
