"""Reader of `notify:`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from framework.configuration.settings import read_command
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
from framework.project.notify import NAME_IN_URL, Notify
from framework.project.variables import Variables, Wanted

_KEYS = ("url", "command", "secrets")
_URL = re.compile(r"https?://[^\s/?#]+\S*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")
_FORM = "write a webhook, as in https://ntfy.sh/my-topic or ${SLACK_WEBHOOK}, or a command, as in ./tell.sh"


def read_notify(node: Node, variables: Variables, problems: Problems) -> Notify | None:
    """Whom to tell; `variables` of the project may have the values that it needs. Raises ValueError."""
    if not isinstance(node, MappingNode):
        return _read_target(node, (), variables, problems)
    entries = {entry.name: entry for entry in node.entries}
    for name, entry in entries.items():
        if name not in _KEYS:
            problems.add(entry.position, f"notify: unknown key {name!r}; {nearest(name, _KEYS)}")
    if ("url" in entries) == ("command" in entries):
        raise ValueError("has to have a url or a command, one of them")
    target = entries.get("url") or entries["command"]
    names = _read_names(entries["secrets"], problems) if "secrets" in entries else ()
    return _read_target(target.node, names, variables, problems, target.name)


def _read_names(entry: Entry, problems: Problems) -> Sequence[tuple[str, Position]]:
    names = []
    items = entry.node.items if isinstance(entry.node, SequenceNode) else ()
    for item in items:
        if isinstance(item, ScalarNode) and _NAME.fullmatch(item.text):
            names.append((item.text, item.position))
        elif not isinstance(item, UnusableNode):
            problems.add(item.position, "notify: secrets: write names of variables, as in [SMTP_PASSWORD]")
    if not items and not isinstance(entry.node, UnusableNode):
        problems.add(entry.node.position, "notify: secrets: has to be a list, as in [SMTP_PASSWORD]")
    return names


def _read_target(
    node: Node,
    names: Sequence[tuple[str, Position]],
    variables: Variables,
    problems: Problems,
    kind: str = "",
) -> Notify | None:
    """`kind`: url or command; empty if the text itself tells. Raises ValueError."""
    if isinstance(node, UnusableNode):
        return None
    text = node.text if isinstance(node, ScalarNode) else ""
    begins_as_url = text.startswith(("http://", "https://", "${"))
    if kind == "url" or (not kind and begins_as_url):
        example = NAME_IN_URL.sub("x", text if text.startswith("http") else f"http://{text}")
        if not begins_as_url or not _URL.fullmatch(example):
            raise ValueError(f"is no URL; {_FORM}")
        names = [*names, *((name, node.position) for name in NAME_IN_URL.findall(text))]
        return _with_values(Notify(url=text), names, variables, problems)
    if not kind and not text and isinstance(node, ScalarNode):
        raise ValueError(_FORM)
    command = read_command(node)
    if any("${" in word for word in command):
        raise ValueError("all who list processes would see the value; name it in secrets:, beside command:")
    return _with_values(Notify(command=command), names, variables, problems)


def _with_values(
    notify: Notify, names: Sequence[tuple[str, Position]], variables: Variables, problems: Problems
) -> Notify:
    known = {each.name: each for each in variables.wanted}
    wanted: dict[str, Wanted] = {}
    for name, position in names:
        source = known.get(name)
        if source is not None and source.as_file:
            problems.add(position, f"notify: {name} is a file in secrets:, and is needed here as a variable")
        elif name not in variables.values:
            place = f"{position.line}:{position.column}"
            wanted[name] = Wanted(name, place, True, source.file if source else None)
    values = tuple((name, variables.values[name]) for name, _ in names if name in variables.values)
    return Notify(notify.url, notify.command, tuple(wanted.values()), values)
