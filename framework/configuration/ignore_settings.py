"""Reader of `ignore:`, and the check of .infrainitignore."""

from pathlib import Path

from framework.configuration.yaml_nodes import (
    MappingNode,
    Node,
    Position,
    Problems,
    ScalarNode,
    SequenceNode,
    UnusableNode,
    read_yaml,
)
from framework.project.ignore_rules import IGNORE_FILE, ignore_file_problems, pattern_problem

_EXAMPLE = "ignore: has to be a list of patterns as in .gitignore, as in ['data/raw/', '*.ckpt']"


def read_ignore(node: Node, problems: Problems) -> tuple[str, ...]:
    """The patterns that `node` lists; each mistake in it is added to `problems`."""
    items = node.items if isinstance(node, SequenceNode) else [node]
    patterns = []
    for item in items:
        if isinstance(item, UnusableNode):
            continue
        if not isinstance(item, ScalarNode) or not item.text or (item.plain and item.value is None):
            problems.add(item.position, _EXAMPLE)
        elif problem := pattern_problem(item.text):
            problems.add(item.position, f"ignore: {problem}")
        else:
            patterns.append(item.text)
    return tuple(patterns)


def ignore_of(settings: Path) -> tuple[str, ...]:
    """The patterns of `ignore:` in project.yml or a sweep file; load_project() says what is wrong there."""
    problems = Problems()
    node = read_yaml(settings, problems)
    entries = node.entries if isinstance(node, MappingNode) else ()
    return next((read_ignore(entry.node, problems) for entry in entries if entry.name == "ignore"), ())


def check_ignore_file(project: Path, problems: Problems) -> None:
    """Add to the problems what is wrong in the project's .infrainitignore."""
    file = project / IGNORE_FILE
    try:
        for line, problem in ignore_file_problems(project):
            problems.add(Position(file, line, 1), problem)
    except OSError as error:
        problems.add(Position(file, 1, 1), f"cannot be read ({error.strerror})")
