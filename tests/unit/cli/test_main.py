"""Command line: the options of its commands, and the exit codes of failures."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from framework.cli import main as cli
from framework.errors import FrameworkError, UsageError
from framework.journal.ranking import BEST_SHOWN


def fails_with(error: BaseException) -> argparse.Namespace:
    def run(_: argparse.Namespace) -> int:
        raise error

    return argparse.Namespace(run=run)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (FrameworkError("first\nsecond"), 1, "first\nsecond\n"),
        (UsageError("wrong"), 2, "wrong\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
    ids=["failure", "usage", "interrupt"],
)
def test_a_failure_is_an_exit_code_and_its_message(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    said: str,
) -> None:
    monkeypatch.setattr(cli, "parse", lambda _: fails_with(error))
    assert cli.main([]) == code
    assert capsys.readouterr() == ("", said)


def test_a_reader_that_has_gone_is_a_failure_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []
    monkeypatch.setattr(cli, "parse", lambda _: fails_with(BrokenPipeError()))
    monkeypatch.setattr("sys.stderr", argparse.Namespace(close=lambda: closed.append(True)))
    assert (cli.main([]), closed) == (1, [True])


def test_other_errors_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "parse", lambda _: fails_with(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        cli.main([])


def test_each_command_has_its_function_and_its_defaults() -> None:
    def options(*arguments: str) -> dict[str, object]:
        found = vars(cli.parse(arguments))
        found["run"] = found["run"].__name__
        return {name: value for name, value in found.items() if value is not None and value is not False}

    assert options("plan") == {"run": "run_plan", "host": []}
    assert options("run", "p", "--outdated") == {
        "run": "run_local",
        "project": Path("p"),
        "which": "outdated",
    }
    assert options("status") == {"run": "run_status", "hosts": []}
    assert options("watch") == {"run": "run_watch", "columns": 0, "past": 0}
    assert options("best") == {"run": "run_best", "number": BEST_SHOWN}
    assert options("results", "--all") == {"run": "run_results", "all": True}
    assert options("cancel", "2", "3") == {"run": "run_cancel", "tasks": ["2", "3"]}
    assert options("pause") == {"run": "run_pause"}
    assert options("resume") == {"run": "run_resume"}
    assert options("drain", "a", "b") == {"run": "run_drain", "hosts": ["a", "b"]}
    assert options("again", "--fresh") == {"run": "run_again", "tasks": [], "which": "all"}
    assert options("recover", "d") == {"run": "run_recover", "directories": [Path("d")]}
    assert options("wait-workers", "a") == {"run": "run_wait_workers", "hosts": ["a"], "timeout": 120.0}
    assert options("celery", "status", "--json") == {"run": "run_celery", "arguments": ["status", "--json"]}
    for service in ("master", "worker", "flower"):
        assert options(service) == {"run": f"run_{service}"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pause", "2"], "unrecognized arguments: 2"),
        (["again", "--failed", "--fresh"], "not allowed with argument"),
        (["run", "p", "--slots", "0"], "'0' is no whole number of 1 or more"),
        (["run", "p", "--slots", "\u0663"], "is no whole number of 1 or more"),
        ([], "required: COMMAND"),
    ],
    ids=str,
)
def test_wrong_usage_exits_with_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.parse(arguments)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


def test_an_unknown_option_shows_the_usage_of_its_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["run", "tasks/digits", "--again"])
    said = capsys.readouterr().err
    assert "usage: framework run " in said
    assert "framework run: error: unrecognized arguments: --again" in said


def test_a_local_run_needs_the_name_of_a_directory(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "project", "--name", "a/b"]) == 2
    assert capsys.readouterr().err == "--name is 'a/b': it must be a name without '/'\n"


def test_an_image_that_lacks_a_package_is_named_in_one_line() -> None:
    run = "import runpy, sys; sys.modules['pathspec'] = None; runpy.run_module('framework')"
    done = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("framework: the package pathspec is missing; on hosts, ./infrainit.sh -f ")
    assert done.stderr.count("\n") == 1


def test_commands_that_run_no_task_do_not_import_what_does() -> None:
    program = "import sys, framework.cli.main; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    heavy = {"asyncio", "framework.master.master", "framework.runner.runner", "framework.worker.worker"}
    assert not heavy.intersection(done.stdout.split())
