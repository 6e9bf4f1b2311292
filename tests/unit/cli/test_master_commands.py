"""Commands about a running sweep."""

from __future__ import annotations

import csv
import dataclasses
import json
import threading
import time
from fractions import Fraction
from pathlib import Path

import pytest
from journal_bench import project_of
from master_bench import Bench

from framework.cli import locations, master_commands
from framework.cli import main as cli
from framework.errors import UsageError
from framework.files import MasterFiles
from framework.messages.requests import ControlRequest
from framework.messages.status import Status
from framework.messages.task_ids import task_id
from framework.project.project import Project
from framework.project.resources import Resources


def test_commands_wait_until_the_master_has_acted(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(locations, "DATA", bench.files.path)
    monkeypatch.setattr(locations, "CODE", bench.path / "code")
    bench.turn()
    ended = threading.Event()

    def serve() -> None:
        while not ended.wait(0.02):
            bench.turn()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert cli.main(["cancel", "2", "9"]) == 2
        assert "'9': no such task" in capsys.readouterr().err
        assert cli.main(["cancel", "2"]) == 0
        assert capsys.readouterr().out == f"task 2, {task_id(('train',), {'x': 2})}: cancelled\n"
        assert cli.main(["cancel"]) == 2
        assert "name tasks; to pause the whole sweep: framework pause" in capsys.readouterr().err
        assert cli.main(["pause"]) == 0
        assert bench.status().paused
        assert cli.main(["watch"]) == 1
        assert "the sweep is paused: on request" in capsys.readouterr().err
        capsys.readouterr()
        assert cli.main(["resume"]) == 0
        assert (
            capsys.readouterr().out
            == "the sweep is resumed\n0 done, 0 failed, 1 cancelled; 3 to run; how long is not known yet\n"
        )
        assert not bench.status().paused
        bench.messenger.beat("a", slots=0)
        assert cli.main(["drain", "a", "b"]) == 0
        said = "a: 0 running, 0 waiting\nb: 0 running, 0 waiting (the master has not heard of it)\n"
        assert capsys.readouterr().out == said
        assert bench.status().hosts["a"].drained
        assert cli.main(["drain", "--end", "a", "b"]) == 0
        assert capsys.readouterr().out == said
        assert not bench.status().hosts["a"].drained
        assert cli.main(["again", "2"]) == 0
        assert capsys.readouterr().out == f"task 2, {task_id(('train',), {'x': 2})}: waiting\n"
        assert cli.main(["again", "--failed"]) == 0
        assert capsys.readouterr().out == "0 done, 0 failed; 4 to run; how long is not known yet\n"
        assert cli.main(["again"]) == 2
        assert cli.main(["again", "--fresh", "2"]) == 2
        assert "give one of --failed, --outdated and --fresh" in capsys.readouterr().err
        assert cli.main(["results", "--all"]) == 0
        assert bench.files.all_results.exists()
        bench.write_project(x="[", version="v2")
        assert cli.main(["again", "--fresh"]) == 1
        assert "code v2 was pushed but not taken up" in capsys.readouterr().err
    finally:
        ended.set()
        thread.join()


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MasterFiles:
    """The files of a master, where the commands expect them; no master runs."""
    monkeypatch.setattr(locations, "DATA", tmp_path / "data")
    monkeypatch.setattr(locations, "CODE", tmp_path / "code")
    (tmp_path / "data").mkdir()
    return MasterFiles(tmp_path / "data")


def test_status_fails_without_a_master(container: MasterFiles, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status"]) == 1
    assert "has not started" in capsys.readouterr().err
    status = Status(time.time(), "digits", "v1", 36, 10, 1, 4, finished=False, seconds_left=75.0)
    status.write(container.status)
    assert cli.main(["status", "--json"]) == 0
    assert '"waiting": 21' in capsys.readouterr().out


@pytest.fixture
def swept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A sweep that has ended, where the commands expect it: x=3 has failed."""
    monkeypatch.setattr(locations, "DATA", bench.files.path)
    monkeypatch.setattr(locations, "CODE", bench.path / "code")
    monkeypatch.setenv("PROJECT", "p")
    bench.run_to_the_end({3: "failed"})
    return bench


def test_the_best_tasks_are_shown(swept: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["best"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (lines[0].split(), len(lines)) == (["loss", "x", "task"], 1 + 3)


def test_without_a_metric_there_is_no_best_task(swept: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    (swept.path / "code/v1/project/project.yml").write_text("command: train\n")
    assert cli.main(["best"]) == 0
    assert "names no metric" in capsys.readouterr().err


def test_results_of_a_sweep_file_are_not_outdated(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(locations, "DATA", bench.files.path)
    monkeypatch.setattr(locations, "CODE", bench.path / "code")
    monkeypatch.setenv("PROJECT", "p")
    monkeypatch.setenv("IMAGE", "that of the master")
    bench.write_project(x="1", version="v2")
    project = bench.path / "code/v2/project"
    (project / "sweeps").mkdir()
    (project / "train.py").touch()
    sweep = "program: train.py\nmethod: random\nmetric: {name: loss}\nparameters: {x: {values: [1, 2, 3]}}\n"
    (project / "sweeps/wide.yaml").write_text(sweep)
    bench.version_lines = "sweep=sweeps/wide.yaml\nrun_cap=2\n"
    bench.master = bench.start()
    bench.run_to_the_end(code="v2")
    assert cli.main(["results"]) == 0
    assert len(bench.rows()) == 2
    assert cli.main(["plan"]) == 0
    said = capsys.readouterr()
    assert "p: 2 combinations of x" in said.out
    assert "made with other files" not in said.out + said.err


def test_results_are_written_from_the_journal(swept: Bench) -> None:
    swept.files.results.unlink()
    assert cli.main(["results"]) == 0
    assert [row["x"] for row in swept.rows()] == ["1", "2", "3", "4"]


def test_results_that_a_changed_sweep_may_still_lack_are_said(
    swept: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "the master still counts the results of the changed sweep: some may be missing"
    assert cli.main(["results"]) == 0
    assert said not in capsys.readouterr().err
    swept.write_project(x="[2, 5, 6]")
    swept.master = swept.start()
    assert cli.main(["results"]) == 0
    assert said in capsys.readouterr().err


def test_results_of_removed_values_are_written_on_request(swept: Bench) -> None:
    swept.write_project(x="[2, 5]")
    swept.master = swept.start()
    swept.turn()
    assert [row["x"] for row in swept.rows()] == ["2"]
    assert cli.main(["results", "--all"]) == 0
    with swept.files.all_results.open() as file:
        assert sorted(row["x"] for row in csv.DictReader(file)) == ["1", "2", "3", "4"]
    assert [row["x"] for row in swept.rows()] == ["2"]


def test_the_plan_of_a_running_sweep_counts_what_its_journal_has(
    swept: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["plan"]) == 0
    assert "3 done, 1 failed; 0 to run" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["best", "results"])
def test_outdated_results_are_named_where_results_are_shown(
    swept: Bench, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert cli.main([command]) == 0
    assert "other files" not in capsys.readouterr().err
    (swept.path / "code/v1/project/new.py").touch()
    assert cli.main([command]) == 0
    assert (
        "3 of 3 results were made with other files of the project, or in another image: "
        "'./infrainit.sh -f --outdated' runs these again, --fresh runs all again\n"
    ) in capsys.readouterr().err
    if command == "results":
        assert json.loads(swept.files.sweep.read_text())["outdated"] == 3


def recover(bench: Bench, monkeypatch: pytest.MonkeyPatch, *options: str) -> list[ControlRequest]:
    """Recover nothing; what was asked of the master."""
    asked: list[ControlRequest] = []
    monkeypatch.setattr(master_commands, "ask", lambda _, request: asked.append(request))
    (bench.path / "worker").mkdir(exist_ok=True)
    assert cli.main(["recover", *options, str(bench.path / "worker")]) == 0
    return asked


def test_a_running_master_is_asked_to_read_its_journal_after_a_recovery(
    swept: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recover(swept, monkeypatch) == [ControlRequest("reload")]
    assert "0 results found, 0 taken; 4 tasks of the sweep have ended" in capsys.readouterr().out


def test_no_master_is_asked_if_none_runs_or_the_journal_is_another(
    swept: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = swept.path / "other"
    other.mkdir()
    assert recover(swept, monkeypatch, "--journal", str(other / "journal.sqlite")) == []
    assert (other / "results.csv").exists()
    swept.files.status.unlink()
    assert recover(swept, monkeypatch) == []


def test_tasks_that_the_master_does_not_know_are_shown_as_such(
    swept: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    known, unknown = task_id(("train",), {"x": 3}), "f" * 16
    master_commands.print_states([(2, known), (8, unknown)])
    assert capsys.readouterr().out.splitlines() == [
        f"task 3, {known}: failed", f"task 9, {unknown}: not known to the master",
    ]  # fmt: skip


HOSTS = [["a", "4", "8192", "0"], ["b", "8", "1024", "1"]]


def project_with(resources: Resources) -> Project:
    return dataclasses.replace(project_of({"x": [1]}), resources=resources)


def test_a_sweep_that_one_host_can_run_is_accepted() -> None:
    master_commands.check_hosts(project_with(Resources(cpus=Fraction(8))), HOSTS)
    master_commands.check_hosts(project_of({"x": [1]}), HOSTS)
    master_commands.check_hosts(project_with(Resources(gpus=Fraction(9))), [])
    master_commands.check_hosts(project_with(Resources(memory=2 * 2**30)), [["a", "4", "2048", "0"]])


def test_a_sweep_that_no_host_can_run_is_refused_with_the_reasons() -> None:
    with pytest.raises(UsageError, match=r"a has 4 CPUs \(a task needs 9\).*b has 8 CPUs \(a task needs 9\)"):
        master_commands.check_hosts(project_with(Resources(cpus=Fraction(9))), HOSTS)
    with pytest.raises(UsageError, match="on no worker host"):
        master_commands.check_hosts(project_with(Resources(memory=9 * 2**30)), HOSTS)


@pytest.mark.parametrize("number", ["-1", "1.5", "x", ""])
def test_the_capacity_of_a_host_is_given_in_whole_numbers(number: str) -> None:
    with pytest.raises(UsageError, match="--host a: CPUs, MiB and GPUs have to be whole numbers"):
        master_commands.check_hosts(project_of({"x": [1]}), [["a", "4", number, "0"]])
