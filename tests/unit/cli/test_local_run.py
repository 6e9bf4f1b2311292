"""Command `run`: what is shown of a run that has ended, and its exit code."""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from framework.cli import local_run
from framework.cli.local_run import configure_logging, limit_each_kind, report_outcome
from framework.configuration.load import load_project
from framework.errors import FrameworkError
from framework.files import LocalFiles, short_path
from framework.journal.store import Journal
from framework.local.run import RunOutcome
from framework.master.advice import advice_of
from framework.messages.assignment import AttemptResult, AttemptState
from framework.messages.status import Status
from framework.project.project import Project

STATUS = Status(
    updated=0.0, project="p", version="v1", total=2, done=0, failed=0, running=0, finished=True,
    seconds_left=None, notices=[], hosts={},
)  # fmt: skip


class Bench:
    """A project of two tasks that has run."""

    def __init__(self, path: Path) -> None:
        self.project = self._project(path / "project")
        self.files = LocalFiles(path / "data")
        self.advice = advice_of("run p", self.files)
        self.files.path.mkdir()
        Journal(self.files.master.journal).close()

    def _project(self, path: Path) -> Project:
        path.mkdir()
        (path / "project.yml").write_text("command: train\nmetric: loss\ngoal: minimize\n")
        (path / "parameters.yml").write_text("x: [1, 2]\n")
        return load_project(path)

    def finish(self, number: int, state: AttemptState, reason: str = "", started: float = 1.0) -> None:
        parameters = self.project.space.combination(number)
        task = self.project.task_id(parameters)
        with Journal(self.files.master.journal) as journal:
            attempt = journal.assign(task, number, parameters, "local", 1.0)
            metrics = {"loss": number + 0.5} if state == "done" else {}
            result = AttemptResult(
                task, attempt, "local", state, started, 1.0, 0, reason, metrics, "c", "", "local", "project"
            )
            journal.finish(result, final=True)

    def report(self, interrupted: bool = False, began: float = 0.0, **status: object) -> int:
        changed = dataclasses.replace(STATUS, **status)  # type: ignore[arg-type]
        return report_outcome(self.project, RunOutcome(changed, interrupted, began), self.files, self.advice)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.chdir(tmp_path)
    return Bench(tmp_path)


def test_a_run_that_ended_well_shows_its_best(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.finish(0, "done")
    bench.finish(1, "done")
    assert bench.report(done=2) == 0
    shown = capsys.readouterr()
    assert shown.out.index("0.5") < shown.out.index("1.5")
    assert shown.err == "results: data/results.csv\n"
    assert not bench.files.master.results.exists(), "the master writes it"


def test_a_run_that_was_interrupted_writes_its_results_and_says_how_to_continue(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.finish(0, "done")
    assert bench.report(done=1, finished=False, interrupted=True, paused="because") == 130
    assert "stopped after 1 of 2 tasks; to continue: run p\n" in capsys.readouterr().err
    assert len(bench.files.master.results.read_text().splitlines()) == 2


def test_a_run_with_failures_names_them_and_what_is_not_installed(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.finish(0, "failed", "exit code 1: ModuleNotFoundError: No module named 'x'")
    with pytest.raises(
        FrameworkError,
        match=r"^1 of 2 tasks failed: see results\.csv; to run failed tasks again: run p --failed$",
    ):
        bench.report(failed=1)
    task = bench.project.task_id({"x": 1})
    assert capsys.readouterr().err == (
        "failed: x=1 on local: exit code 1: ModuleNotFoundError: No module named 'x'; "
        f"logs: data/tasks/{task}/1/stderr\nresults: data/results.csv\n"
    ), "without requirements there is nothing to install"
    (bench.project.path / "requirements.txt").touch()
    with pytest.raises(FrameworkError):
        bench.report(failed=1)
    assert (
        "Python modules are missing, which 'run' does not install: "
        f"python -m pip install -r {short_path(bench.project.path)}/requirements.txt\n"
    ) in capsys.readouterr().err


def test_outdated_results_are_named_before_the_table(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.finish(0, "done")
    bench.finish(1, "done")
    monkeypatch.setattr("sys.stderr", sys.stdout)  # as on a terminal
    assert bench.report(done=2, outdated=1) == 0
    assert capsys.readouterr().out.startswith(
        "1 of 2 results were made with other files of the project, or in another image: "
        "run p --outdated runs these again, --fresh runs all again\nloss "
    )
    assert json.loads(bench.files.master.sweep.read_text())["outdated"] == 1


def test_tasks_that_failed_in_an_earlier_run_are_told_from_those_that_ran(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = "ModuleNotFoundError: No module named 'x'"
    (bench.project.path / "requirements.txt").touch()
    bench.finish(0, "failed", missing)
    bench.finish(1, "failed", missing)
    with pytest.raises(FrameworkError) as caught:
        bench.report(failed=2, began=2.0)
    assert str(caught.value) == "2 tasks failed earlier; nothing was run; to run them again: run p --failed"
    assert "missing" not in capsys.readouterr().err, "it may have been installed since"


def test_a_run_of_the_rest_says_how_many_failed_before_it(bench: Bench) -> None:
    bench.finish(0, "failed")
    bench.finish(1, "failed", started=3.0)
    with pytest.raises(FrameworkError) as caught:
        bench.report(failed=2, began=2.0)
    assert str(caught.value) == (
        "2 of 2 tasks failed: see results.csv; 1 of them failed earlier; "
        "to run failed tasks again: run p --failed"
    )


def test_a_sweep_that_was_stopped_fails_with_the_reason(bench: Bench) -> None:
    with pytest.raises(FrameworkError, match=r"^too many failures$"):
        bench.report(paused="too many failures", finished=False)


def test_of_each_kind_of_warning_a_few_are_shown() -> None:
    is_passed = limit_each_kind(2)

    def log(message: str, *values: object) -> str | None:
        record = logging.LogRecord("x", logging.WARNING, "", 1, message, values, None)
        return record.getMessage() if is_passed(record) else None

    further = "further messages of this kind are not shown: see results.csv"
    shown = [log("task %s failed", number) for number in range(5)]
    assert shown == ["task 0 failed", "task 1 failed", further, None, None]
    assert log("something else") == "something else"


@pytest.fixture
def root_logger() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers[:]:
        root.removeHandler(handler)
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level)


@pytest.mark.parametrize(("columns", "before"), [(0, ""), (80, "\r\x1b[K")])
def test_warnings_replace_the_progress_bar(
    root_logger: None, capsys: pytest.CaptureFixture[str], columns: int, before: str
) -> None:
    configure_logging(columns)
    logging.getLogger("framework.x").warning("%s is short of memory", "a host")
    logging.getLogger("framework.x").info("not for people")
    assert capsys.readouterr().err == f"{before}a host is short of memory\n"
    assert local_run.WARNINGS_SHOWN > 1


def test_paths_are_as_short_as_they_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert short_path(tmp_path / "a/b") == Path("a/b")
    assert short_path(tmp_path.parent / "c") == tmp_path.parent / "c"
