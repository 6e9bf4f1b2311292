"""Commands `root` and `needs`: what the scripts ask about a project"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator

from framework.configuration.dockerfile import read_dockerfile
from framework.configuration.load import load_project
from framework.configuration.requirements import read_requirements
from framework.configuration.yaml_nodes import Problems
from framework.errors import ProjectError
from framework.project.project import Project


def run_root(options: argparse.Namespace) -> int:
    """Print `root=DIR`, the project's directory, from the current one; raises ProjectError."""
    project = load_project(options.project, run_cap=options.run_cap, is_run_here=False)
    print(f"root={os.path.relpath(project.path.resolve())}")
    return 0


def run_needs(options: argparse.Namespace) -> int:
    """Print what the project needs, KEY=VALUE in each line; raises ProjectError.

    framework/shell/one_off.sh has the keys, and the pattern of each key's values.
    """
    project = load_project(
        options.project, options.name, root=options.root, run_cap=options.run_cap, is_run_here=False
    )
    problems = Problems()
    lines = [f"{key}={value}" for key, value in _needs(project, problems)]
    if problems:
        raise ProjectError(problems.lines)
    for notice in problems.notices:
        print(notice, file=sys.stderr)
    print("\n".join(lines))
    return 0


def _needs(project: Project, problems: Problems) -> Iterator[tuple[str, str]]:
    """Each key with a value; what is wrong in files that belong to the image is added to `problems`."""
    if project.image is not None:
        yield "image", project.image
    if project.build is not None:
        yield "build", project.build
        for path in read_dockerfile(project.path, project.build, problems):
            yield "copied", path
    for name in project.packages:
        yield "package", name
    is_usual = project.image is None and project.build is None
    requirements = read_requirements(project.path, project.packages if is_usual else None, problems)
    for path in requirements.files:
        yield "requirements", path
    for path in requirements.local:
        yield "local", path
    for text in requirements.dependencies:
        yield "dependency", text
    for name in requirements.variables:
        yield "variable", name
    for option in project.docker_options:
        yield "docker_option", option
    for label in project.host_labels:
        yield "label", label
    for mount in project.mounts:
        yield "mount", str(mount)
    yield "optuna", "yes" if project.needs_study else "no"
    for each in project.variables.wanted:
        key = "secret" if each.is_secret else "environment"
        if each.file is None:
            yield key, f"{each.name} {each.place}"
        else:
            yield f"{key}_{'file' if each.as_file else 'value'}", f"{each.name} {each.place} {each.file}"
    for each in project.notify.wanted if project.notify else ():
        if each.file is None:
            yield "notify", f"{each.name} {each.place}"
        else:
            yield "notify_value", f"{each.name} {each.place} {each.file}"
