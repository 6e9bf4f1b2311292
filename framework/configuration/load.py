"""Loader of projects: reads all files, and reports everything that is wrong in them."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from framework.configuration.default_settings import read_defaults
from framework.configuration.docker_option_settings import read_docker_options
from framework.configuration.early_termination_settings import read_early_termination
from framework.configuration.host_settings import read_host_labels
from framework.configuration.ignore_settings import check_ignore_file, read_ignore
from framework.configuration.image_settings import read_build, read_packages
from framework.configuration.mount_settings import read_mounts
from framework.configuration.notify_settings import read_notify
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
    read_order,
    read_settings,
    read_setup,
    read_switch,
    whole_number,
)
from framework.configuration.variable_settings import read_variables
from framework.configuration.wandb_sweep import DEFAULT_RUN_CAP, read_sweep
from framework.configuration.workdir_settings import read_workdir
from framework.configuration.yaml_nodes import Position, Problems
from framework.errors import ProjectError
from framework.files import Code, ProjectFiles
from framework.project.project import Project
from framework.space.product import Space
from framework.space.sampling import Method

_SWEEP_SUFFIXES = (".yaml", ".yml", ".json")


def load_project(
    path: Path,
    name: str | None = None,
    *,
    root: Path | None = None,
    run_cap: int | None = None,
    is_run_here: bool = True,
) -> Project:
    """The project in the directory `path`, or the one that the W&B sweep file `path` describes.

    Its name is `name` (default: that of the directory, or of the file without its suffix). A directory with a
    sweep file in place of project.yml is a project too. `root`: the directory of a sweep file's project;
    default: see read_sweep(). `run_cap`: the largest number of tasks, in place of what the files say.
    `is_run_here`: a project that needs Optuna is wrong where it is not installed.
    Raises ProjectError with everything that is wrong in its files, each with file, line and column.
    """
    is_file = path.is_file() and path.suffix in _SWEEP_SUFFIXES
    if not is_file and not path.is_dir():
        raise ProjectError(
            [f"{path}: no such directory; a project is a directory with project.yml and parameters.yml"]
        )
    name = name or (path.stem if is_file else path.resolve().name)
    sweep_file = path if is_file else ProjectFiles(path).sweep
    if sweep_file is not None:
        return _load_sweep(sweep_file, name, root, run_cap, is_run_here)
    if root is not None:
        raise ProjectError([f"{path}: --root goes with a W&B sweep file, and this is none; leave it out"])
    files = ProjectFiles(path)
    problems = Problems()
    settings = Settings(
        files.settings, read_settings(files.settings, problems), problems, is_run_here=is_run_here
    )
    method = _read_method(settings, run_cap)
    space = read_parameters(files.parameters, problems, grid=method.name == "grid")
    project = _read_project(name, path, settings, method, space, problems)
    return replace(project, definition=_definition([files.settings, files.parameters], method))


def load_code(code: Code, name: str | None = None) -> Project:
    """The project in a version of the code. Raises ProjectError."""
    sweep = code.sweep
    root = code.project_path if sweep else None
    return load_project(sweep or code.project_path, name, root=root, run_cap=code.run_cap)


def _load_sweep(file: Path, name: str, root: Path | None, run_cap: int | None, is_run_here: bool) -> Project:
    """The project of a W&B sweep file; see load_project()."""
    if root is not None and not root.is_dir():
        raise ProjectError(
            [f"{root}: no such directory; --root is the one that the program's path begins in"]
        )
    problems = Problems()
    sweep = read_sweep(file, root, problems)
    if not file.resolve().is_relative_to(sweep.root.resolve()):
        raise ProjectError(
            [f"{file}: is not in {sweep.root}; copy it there, as the sweep belongs to its project"]
        )
    settings = Settings(file, sweep.settings, problems, is_wandb=True, is_run_here=is_run_here)
    method = _read_method(settings, run_cap)
    top = Position(file, 1, 1)
    space = read_space(
        top, sweep.parameters, sweep.rules, problems, grid=method.name == "grid", is_wandb=True
    )
    if method.run_cap is None and method.name in ("random", "tpe", "bayes"):
        method = replace(method, run_cap=_default_run_cap(space))
        problems.note(
            top,
            f"no run_cap, and W&B would never end: {method.run_cap} tasks; write run_cap: N, or --run-cap N",
        )
    project = _read_project(name, sweep.root, settings, method, space, problems)
    return replace(
        project, definition=_definition([file], method), sweep_file=file, notices=tuple(problems.notices)
    )


def _default_run_cap(space: Space) -> int:
    """The number of tasks of a sweep that W&B would never end; no more than there are combinations."""
    combinations = space.count * (space.seeds or 1) if space.is_finite else DEFAULT_RUN_CAP
    return max(1, min(DEFAULT_RUN_CAP, combinations))


def _read_method(settings: Settings, run_cap: int | None) -> Method:
    return Method(
        # A wrong method is no grid: a grid asks more of its metaparameters, and would add problems.
        settings.read("method", read_method, "" if "method" in settings else "grid"),
        settings.read("run_cap", whole_number(1), None) if run_cap is None else run_cap,
        settings.read("seed", whole_number(0), 0),
    )


def _read_project(
    name: str, directory: Path, settings: Settings, method: Method, space: Space, problems: Problems
) -> Project:
    """The project of these settings and this space. Raises ProjectError if there is any problem by then."""
    settings.check_method(method, space)
    ignore: tuple[str, ...] = settings.read("ignore", lambda node: read_ignore(node, problems), ())
    variables = read_variables(settings.node("environment"), settings.node("secrets"), problems)
    project = Project(
        name=name,
        path=directory,
        command=settings.read("command", read_command, ()),
        metric=settings.read("metric", read_metric, None),
        goal=settings.read("goal", read_goal, "maximize"),
        timeout=settings.read("timeout", read_duration, None),
        retries=settings.read("retries", whole_number(0), 0),
        workdir=settings.read("workdir", lambda node: read_workdir(node, directory, ignore), ""),
        image=settings.read("image", read_image, None),
        packages=settings.read("packages", lambda node: read_packages(node, problems), ()),
        build=settings.read("build", lambda node: read_build(node, directory), None),
        docker_options=settings.read("docker_options", lambda node: read_docker_options(node, problems), ()),
        space=method.choose(space),
        longest_first=settings.read("order", read_order, True),
        copies=settings.read("copies", read_switch, True),
        max_failures=settings.read("max_failures", whole_number(1), None),
        search_space=space,
        method=method,
        resources=settings.read("resources", lambda node: read_resources(node, problems), None),
        function=settings.read("function", read_function, None),
        early_termination=settings.read(
            "early_terminate", lambda node: read_early_termination(node, problems, settings.is_wandb), None
        ),
        free_disk=settings.read("free_disk", read_size, None),
        host_labels=settings.read("hosts", lambda node: read_host_labels(node, problems), ()),
        setup=settings.read("setup", read_setup, ()),
        setup_timeout=settings.read("setup_timeout", read_duration, None),
        mounts=settings.read("mounts", lambda node: read_mounts(node, problems), ()),
        defaults=settings.read("defaults", lambda node: read_defaults(node, space, problems), {}),
        ignore=ignore,
        variables=variables,
        notify=settings.read("notify", lambda node: read_notify(node, variables, problems), None),
    )
    check_ignore_file(directory, problems)
    settings.check_no_secret_in_command(project.command, project.variables.secrets)
    if project.function is not None:
        settings.check_arguments(project.space.names)
    settings.check_command(project.command, project.space.names, space)
    if problems:
        raise ProjectError(problems.lines)
    return project


def _definition(sources: Sequence[Path], method: Method) -> str:
    """A digest of all that decides which combinations there are, and in which order."""
    digest = hashlib.sha256(_digest_of_rules())
    digest.update(b"%d;" % (method.run_cap or 0))
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
