"""Help of the commands: examples that are right, and what completion offers."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from framework.cli.examples import EXAMPLES, EXIT_CODES, epilog_of
from framework.cli.main import make_parser, parse

ROOT = Path(__file__).parents[3]
# What the containers and scripts use; docs/options.md has both tables.
OPTIONS = (ROOT / "docs" / "options.md").read_text()
FOR_EVERYONE = re.findall(
    r"^\| `([\w-]+)", OPTIONS.split("For everyone:")[1].split("What the containers")[0], re.MULTILINE
)


def commands() -> dict[str, argparse.ArgumentParser]:
    (choice,) = (it for it in make_parser()._actions if isinstance(it, argparse._SubParsersAction))
    return dict(choice.choices)


@pytest.mark.parametrize("command", FOR_EVERYONE)
def test_each_command_that_people_type_has_an_example(command: str) -> None:
    assert EXAMPLES[command]
    assert f"  framework {command}" in commands()[command].format_help()


@pytest.mark.parametrize(
    "script",
    [
        "infrainit.sh", "check_celery_status.sh", "update_files.sh", "get_results.sh", "infra_clean.sh.tmpl",
        "install_docker_ubuntu.sh",
    ],
)  # fmt: skip
def test_the_help_of_each_script_ends_as_that_of_the_commands(script: str) -> None:
    (comment,) = re.findall(r"\A#!.*\n((?:#.*\n)+)", (ROOT / script).read_text())
    text = re.sub("^# ?", "", comment, flags=re.MULTILINE)
    assert re.search(r"\n\nexit codes: 0 (?:.+\n)+\nexamples:\n(?:  .+\n)+\Z", text)
    assert text.index("\nusage: ") < text.index("  -h, --help") < text.index("\nexit codes: ")
    remarks = re.findall(r"^  .*?\S( {2,})\S", text.rpartition("examples:\n")[2], re.MULTILINE)
    assert len(remarks) == text.rpartition("examples:\n")[2].count("\n"), "each example has its remark"


@pytest.mark.parametrize("line", [line for examples in EXAMPLES.values() for line, _ in examples])
def test_each_example_can_be_parsed(line: str) -> None:
    assert parse(shlex.split(line)).run


def test_examples_stand_one_below_the_other() -> None:
    assert epilog_of("again") == (
        f"{EXIT_CODES}\n\nexamples:\n  framework again 17\n  framework again --failed  all failed tasks"
    )
    assert epilog_of("master") is None


def completed(directory: Path, *words: str) -> list[str]:
    """What completion offers for the last word."""
    program = f"""
        PATH={shlex.quote(str(directory))}:$PATH
        source {shlex.quote(str(ROOT / "framework/shell/completion.bash"))}
        COMP_WORDS=({shlex.join(words)}) COMP_CWORD={len(words) - 1}
        _infrainit_complete framework "${{COMP_WORDS[-1]}}" "${{COMP_WORDS[-2]}}"
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with a program `framework` that knows its --help, and that of its commands."""
    program = tmp_path / "framework"
    program.write_text('#!/bin/sh\nexec cat "$0$*"\n')
    program.chmod(0o755)
    (tmp_path / "framework--help").write_text(make_parser().format_help())
    for name, parser in commands().items():
        (tmp_path / f"framework{name} --help").write_text(parser.format_help())
    return tmp_path


def test_completion_offers_every_command(directory: Path) -> None:
    assert completed(directory, "framework", "") == sorted(commands())
    assert completed(directory, "framework", "re") == ["recover", "report", "results", "resume"]


@pytest.mark.parametrize("command", ["run", "wait-workers"])
def test_completion_offers_every_option_of_a_command(directory: Path, command: str) -> None:
    known = {
        option
        for action in commands()[command]._actions
        if action.help != argparse.SUPPRESS
        for option in action.option_strings
    }
    assert set(completed(directory, "framework", command, "-")) == known
