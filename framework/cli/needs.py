"""Command `needs`: the image that a project names, and whether it needs Optuna."""

from __future__ import annotations

import argparse

from framework.configuration.load import load_project


def run_needs(options: argparse.Namespace) -> int:
    """Print `image=NAME`, if the project names one, and `optuna=yes` or `optuna=no`; raises ProjectError."""
    project = load_project(options.project, is_run_here=False)
    if project.image is not None:
        print(f"image={project.image}")
    print(f"optuna={'yes' if project.needs_study else 'no'}")
    return 0
