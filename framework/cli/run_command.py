"""Command line of a local run: typed again, it goes on with what is left."""

from __future__ import annotations

import argparse
import math
import shlex

_OPTIONS = ("root", "run_cap", "name", "slots", "data", "free_disk")


def run_command(options: argparse.Namespace) -> str:
    """The command that runs the project of these options, but for those about tasks that have ended."""
    words = ["python", "-m", "framework", "run", str(options.project)]
    for name in _OPTIONS:
        if (value := getattr(options, name, None)) is not None:
            words += [
                f"--{name.replace('_', '-')}",
                f"{math.ceil(value / 2**20)}M" if name == "free_disk" else str(value),
            ]
    return shlex.join(words)
