"""Commands `root` and `needs`: what the scripts ask about a project, to build its images."""

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
    """Print what the project needs, KEY=VALUE in each line: `image`, `optuna`; raises ProjectError.

    framework/shell/one_off.sh has the pattern of each key's values.
    """
    project = load_project(
        options.project, options.name, root=options.root, run_cap=options.run_cap, is_run_here=False
    )
    if project.image is not None:
        print(f"image={project.image}")
    print(f"optuna={'yes' if project.needs_study else 'no'}")
    return 0
