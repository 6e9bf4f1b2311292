"""Commands `root` and `needs`: what the scripts ask about a project"""

from __future__ import annotations

import argparse
import os

from framework.configuration.load import load_project


def run_root(options: argparse.Namespace) -> int:
    """Print `root=DIR`, the project's directory, from the current one; raises ProjectError."""
    project = load_project(options.project, run_cap=options.run_cap, is_run_here=False)
    print(f"root={os.path.relpath(project.path.resolve())}")
    return 0


def run_needs(options: argparse.Namespace) -> int:
    """Print what the project needs, KEY=VALUE in each line; raises ProjectError.

    `image`; `label` of the hosts; `optuna`, yes or no; variables whose values the user's machine has, with
    their place in the project's file: `environment` and `secret` as NAME LINE:COLUMN, `secret_value` and
    `secret_file` as NAME LINE:COLUMN PATH.

    framework/shell/one_off.sh has the pattern of each key's values.
    """
    project = load_project(
        options.project, options.name, root=options.root, run_cap=options.run_cap, is_run_here=False
    )
    if project.image is not None:
        print(f"image={project.image}")
    for label in project.host_labels:
        print(f"label={label}")
    print(f"optuna={'yes' if project.needs_study else 'no'}")
    for each in project.variables.wanted:
        key = "secret" if each.is_secret else "environment"
        if each.file is None:
            print(f"{key}={each.name} {each.place}")
        else:
            print(f"{key}_{'file' if each.as_file else 'value'}={each.name} {each.place} {each.file}")
    return 0
