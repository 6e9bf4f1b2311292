"""Command line of a local run, as messages name it."""

from __future__ import annotations

import shlex

import pytest

from framework.cli.main import parse
from framework.cli.run_command import run_command


@pytest.mark.parametrize(
    ("typed", "named"),
    [
        ("run 'my project'", "run 'my project'"),
        ("run p --failed", "run p"),
        (
            "run s.yaml --fresh --root . --run-cap 5 --name 'a b' --slots 2 --data d --free-disk 1.5G",
            "run s.yaml --root . --run-cap 5 --name 'a b' --slots 2 --data d --free-disk 1536M",
        ),
        ("plan p --slots 2 --json", "run p --slots 2"),
    ],
)
def test_what_was_typed_is_named_but_for_ended_tasks(typed: str, named: str) -> None:
    command = run_command(parse(shlex.split(typed)))
    assert command == f"python -m framework {named}"
    assert run_command(parse(shlex.split(command)[3:])) == command
