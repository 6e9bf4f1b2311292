"""Loader of projects: reads all files, and reports everything that is wrong in them."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from framework.configuration.default_settings import read_defaults
from framework.configuration.early_termination_settings import read_early_termination
from framework.configuration.parameters import read_parameters, read_space
from framework.configuration.resource_settings import read_resources, read_size
from framework.configuration.settings import (
    Settings,
    read_command,
    read_duration,
    read_function,
    read_goal,
    read_image,
    read_method,
    read_metric,
    read_settings,
    whole_number,
)
from framework.configuration.wandb_sweep import read_sweep
from framework.configuration.yaml_nodes import Position, Problems
from framework.errors import ProjectError
from framework.files import ProjectFiles
from framework.project.project import Project
from framework.space.product import Space
from framework.space.sampling import Method

_SWEEP_SUFFIXES = (".yaml", ".yml")


def load_project(path: Path, name: str | None = None) -> Project:
    """The project in the directory `path`, or in the W&B sweep file `path` with the files beside it.

    Its name is `name` (default: that of the directory, or of the file without its suffix). A directory with a
    sweep file in place of project.yml is a project too.
    Raises ProjectError with everything that is wrong in its files, each with file, line and column.
    """
    directory = path.parent if path.is_file() and path.suffix in _SWEEP_SUFFIXES else path
    if not directory.is_dir():
        raise ProjectError(
            [f"{path}: no such directory; a project is a directory with project.yml and parameters.yml"]
        )
    files = ProjectFiles(directory)
    sweep_file = path if directory != path else files.sweep
    problems = Problems()
    if sweep_file:
        sweep = read_sweep(sweep_file, problems)
        settings = Settings(sweep_file, sweep.settings, problems)
        method = _read_method(settings)
        top = Position(sweep_file, 1, 1)
        space = read_space(top, sweep.parameters, {}, problems, grid=method.name == "grid")
    else:
        settings = Settings(files.settings, read_settings(files.settings, problems), problems)
        method = _read_method(settings)
        space = read_parameters(files.parameters, problems, grid=method.name == "grid")
    settings.check_method(method, space)
    name = name or (path.stem if path.is_file() else directory.resolve().name)
    project = _read_project(name, directory, settings, method, space, problems)
    if project.function is not None:
        settings.check_arguments(project.space.names)
    if problems:
        raise ProjectError(problems.lines)
    sources = [sweep_file] if sweep_file else [files.settings, files.parameters]
    return replace(project, definition=_definition(sources))


def _read_method(settings: Settings) -> Method:
    return Method(
        # A wrong method is no grid: a grid asks more of its metaparameters, and would add problems.
        settings.read("method", read_method, "" if "method" in settings else "grid"),
        settings.read("run_cap", whole_number(1), None),
        settings.read("seed", whole_number(0), 0),
    )


def _read_project(
    name: str, directory: Path, settings: Settings, method: Method, space: Space, problems: Problems
) -> Project:
    return Project(
        name=name,
        path=directory,
        command=settings.read("command", read_command, ()),
        metric=settings.read("metric", read_metric, None),
        goal=settings.read("goal", read_goal, "maximize"),
        timeout=settings.read("timeout", read_duration, None),
        retries=settings.read("retries", whole_number(0), 0),
        image=settings.read("image", read_image, None),
        space=method.choose(space),
        max_failures=settings.read("max_failures", whole_number(1), None),
        search_space=space,
        method=method,
        resources=settings.read("resources", lambda node: read_resources(node, problems), None),
        function=settings.read("function", read_function, None),
        early_termination=settings.read(
            "early_terminate", lambda node: read_early_termination(node, problems), None
        ),
        free_disk=settings.read("free_disk", read_size, None),
        defaults=settings.read("defaults", lambda node: read_defaults(node, space, problems), {}),
    )


def _definition(sources: Sequence[Path]) -> str:
    """A digest of all that decides which combinations there are, and in which order."""
    digest = hashlib.sha256(_digest_of_rules())
    for file in sources:
        content = file.read_bytes()
        digest.update(b"%d:%b" % (len(content), content))
    return digest.hexdigest()


@cache
def _digest_of_rules() -> bytes:
    """A digest of the modules that make combinations of the user's files."""
    digest = hashlib.sha256()
    framework = Path(__file__).parents[1]
    for package in ("configuration", "project", "space"):
        for module in sorted((framework / package).glob("*.py")):
            digest.update(module.read_bytes())
    return digest.digest()
