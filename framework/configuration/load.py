"""Loader of projects: reads all files, and reports everything that is wrong in them."""

import hashlib
from functools import cache
from pathlib import Path

from framework.configuration.early_termination_settings import read_early_termination
from framework.configuration.parameters import read_parameters, read_space
from framework.configuration.resource_settings import read_resources
from framework.configuration.settings import (
    Settings,
    read_command,
    read_duration,
    read_function,
    read_goal,
    read_image,
    read_max_failures,
    read_method,
    read_metric,
    read_retries,
    read_run_cap,
    read_seed,
    read_settings,
)
from framework.configuration.wandb_sweep import read_sweep
from framework.configuration.yaml_nodes import Position, Problems
from framework.errors import ProjectError
from framework.files import ProjectFiles
from framework.project.project import Project
from framework.space.sampling import Method

_SWEEP_SUFFIXES = (".yaml", ".yml")


def load_project(path: Path, name: str | None = None) -> Project:
    """The project in the directory `path`, or in the W&B sweep file `path` with the files beside it.

    Called `name` (default: as the directory, or the file if that is given). A directory with a sweep file
    in the place of project.yml is a project too.
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
    else:
        settings = Settings(files.settings, read_settings(files.settings, problems), problems)
    method = Method(
        # one that is wrong is no grid, of which more would be asked
        settings.read("method", read_method, "" if "method" in settings else "grid"),
        settings.read("run_cap", read_run_cap, None),
        settings.read("seed", read_seed, 0),
    )
    grid = method.name == "grid"
    if sweep_file:
        top = Position(sweep_file, 1, 1)
        search_space = read_space(top, sweep.parameters, {}, problems, grid=grid)
    else:
        search_space = read_parameters(files.parameters, problems, grid=grid)
    settings.check_method(method, search_space)
    project = Project(
        name=name or (path.stem if path.is_file() else directory.resolve().name),
        path=directory,
        command=settings.read("command", read_command, ()),
        metric=settings.read("metric", read_metric, None),
        goal=settings.read("goal", read_goal, "maximize"),
        timeout=settings.read("timeout", read_duration, None),
        retries=settings.read("retries", read_retries, 0),
        image=settings.read("image", read_image, None),
        space=method.choose(search_space),
        max_failures=settings.read("max_failures", read_max_failures, None),
        search_space=search_space,
        method=method,
        resources=settings.read("resources", lambda node: read_resources(node, problems), None),
        function=settings.read("function", read_function, None),
        definition=_definition(sweep_file, files),
        early_termination=settings.read(
            "early_terminate", lambda node: read_early_termination(node, problems), None
        ),
    )
    if project.function is not None:
        settings.check_arguments(project.space.names)
    if problems:
        raise ProjectError(problems.lines)
    return project


def _definition(sweep_file: Path | None, files: ProjectFiles) -> str:
    """A digest of all that decides which combinations there are, and in which order."""
    digest = hashlib.sha256(_digest_of_rules())
    for file in [sweep_file] if sweep_file else [files.settings, files.parameters]:
        content = file.read_bytes() if file.is_file() else b""  # a missing file is among the problems
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
