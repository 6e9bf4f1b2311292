"""Import of files of other tools: finds whose file it is, and translates it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from framework.configuration.determined_hyperparameters import is_determined, translate_determined
from framework.configuration.guild_flags import is_guild, translate_guild
from framework.configuration.hydra_sweep import is_hydra, is_part_of_hydra, translate_hydra
from framework.configuration.nni_search_space import is_nni, translate_nni
from framework.configuration.ray_search_space import is_ray, translate_ray
from framework.configuration.translation import CannotSayError, Translation
from framework.configuration.yaml_nodes import Node, Problems, read_yaml
from framework.errors import ProjectError

_TOOLS: tuple[tuple[str, Callable[[Node], bool], Callable[[Node, Translation], None]], ...] = (
    ("Hydra", is_hydra, translate_hydra),
    ("NNI", is_nni, translate_nni),
    ("Determined", is_determined, translate_determined),
    ("Guild", is_guild, translate_guild),
    ("Ray Tune", is_ray, translate_ray),
    ("Hydra", is_part_of_hydra, translate_hydra),
)


def import_file(file: Path) -> str:
    """The text of parameters.yml that says what a file of another tool says.

    Raises ProjectError with everything that has no counterpart, each with file, line and column.
    """
    problems = Problems()
    node = read_yaml(file, problems)
    if node is None or problems:
        raise ProjectError(problems.lines)
    for tool, is_of_tool, translate in _TOOLS:
        if not is_of_tool(node):
            continue
        translation = Translation(problems, notes=[f"{file.name} of {tool}, imported"])
        try:
            translate(node, translation)
        except CannotSayError as error:
            problems.add(error.position, str(error))
        if problems:
            raise ProjectError(problems.lines)
        return translation.text()
    tools = ", ".join(dict.fromkeys(tool for tool, _, _ in _TOOLS))
    problems.add(node.position, f"no search space of {tools}; write the metaparameters as 'C: [0.1, 1, 10]'")
    raise ProjectError(problems.lines)
