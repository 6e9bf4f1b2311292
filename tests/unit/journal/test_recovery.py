"""Recovery: a journal is rebuilt from the results on the disks of workers."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import shutil
import socket
from pathlib import Path

import pytest
from journal_bench import count_combinations, record_of

from framework.cli import main as cli
from framework.configuration.load import load_project
from framework.errors import UsageError
from framework.files import WorkerFiles
from framework.journal import recovery as recovery_module
from framework.journal.provenance import Provenance
from framework.journal.recovery import recover
from framework.journal.store import Journal
from framework.journal.tally import tally_sweep
from framework.messages.assignment import AttemptResult, AttemptState
from framework.messages.task_ids import task_id


def identity(x: int) -> str:
    return task_id(("run",), {"x": x})


def keep(worker: Path, x: int, attempt: int, state: AttemptState, project: str = "p") -> Path:
    result = AttemptResult(
        identity(x), attempt, worker.name, state, 100.0, 5.0, int(state != "done"), "", {"loss": x}, "v1", "",
        "infra-old", project,
    )  # fmt: skip
    file = WorkerFiles(worker).attempt(result.task, attempt).result
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(result.to_message()))
    return file


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tmp_path / "p"
    path.mkdir()
    (path / "project.yml").write_text("command: run\nmetric: loss\ngoal: maximize\nretries: 1\n")
    (path / "parameters.yml").write_text("x: [0, 1, 2, 3, 4]\n")
    return path


def test_a_result_with_an_impossible_number_is_skipped(tmp_path: Path, project: Path) -> None:
    """The program of a task may have written it; the next attempt would have a number that workers refuse."""
    keep(tmp_path / "a", 0, 2**31 - 1, "failed")
    keep(tmp_path / "a", 1, 3, "failed")
    with Journal(tmp_path / "journal.sqlite") as journal:
        recovery = recover(load_project(project), journal, [tmp_path / "a"])
        assert (recovery.found, recovery.taken) == (2, 1)
        assert dict(recovery.skipped) == {"the numbers of their attempts are impossible": 1}
        assert journal.get(identity(0)) is None


def test_results_of_several_workers(
    tmp_path: Path, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = tmp_path / "a", tmp_path / "b c"
    keep(a, 0, 1, "done")
    keep(a, 1, 1, "failed")
    keep(b, 1, 2, "timeout")
    keep(a, 2, 1, "failed")
    keep(b, 3, 1, "stopped")
    keep(b, 3, 2, "done")
    keep(b, 99, 1, "done")
    keep(b, 4, 1, "done", project="another")
    noise = keep(b, 98, 1, "done")
    noise.write_text("{half")
    (noise.parent / "files").mkdir()
    (noise.parent / "files" / "result.json").write_text("the task's own")
    spooled = keep(a, 4, 1, "done")
    (a / "spool").mkdir()
    spooled.rename(a / "spool" / f"{identity(4)}.1.json")
    (a / "spool" / "x.damaged").write_text("")
    home = tmp_path / "home"
    shutil.copytree(a / "tasks" / identity(0), home / identity(0))

    journal = tmp_path / "master" / "journal.sqlite"
    journal.parent.mkdir()
    arguments = ["recover", "--project", str(project), "--journal", str(journal), str(a), str(b), str(home)]
    assert cli.main(arguments) == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "11 results found, 7 taken; 4 tasks of the sweep have ended",
        "1 skipped: their tasks are not in the sweep as it is now",
        "1 skipped: they are in the journal already",
        "1 skipped: they are no JSON",
        "1 skipped: they belong to another project",
    ]
    with (journal.parent / "results.csv").open() as file:
        rows = [(row["x"], row["state"], row["attempts"], row["host"]) for row in csv.DictReader(file)]
    assert rows == [
        ("0", "done", "1", "a"), ("1", "failed", "2", "b c"), ("3", "done", "2", "b c"),
        ("4", "done", "1", "a"),
    ]  # fmt: skip
    with Journal(journal) as opened:
        waiting = opened.get(identity(2))
        assert waiting is not None
        assert (waiting.state, waiting.attempts) == ("waiting", 1)
        assert opened.assign(identity(2), 2, {"x": 2}, "a", 1.0) == 2
    assert cli.main(arguments) == 0
    assert "0 taken; 4 tasks" in capsys.readouterr().out


def test_what_is_no_regular_file_of_a_result_s_size_is_not_read(tmp_path: Path, project: Path) -> None:
    worker = tmp_path / "a"
    good = keep(worker, 0, 1, "done")
    for attempt, make in enumerate((os.mkfifo, make_socket, os.mkdir), start=2):
        file = keep(worker, 0, attempt, "done")
        file.unlink()
        make(file)
    linked = keep(worker, 1, 1, "done")
    elsewhere = tmp_path / "elsewhere.json"
    linked.rename(elsewhere)
    linked.symlink_to(elsewhere)
    large = keep(worker, 2, 1, "done")
    with large.open("a") as opened:
        opened.truncate(10 << 30)  # all holes
    with Journal(tmp_path / "journal.sqlite") as journal:
        recovery = recover(load_project(project), journal, [worker])
        assert journal.get(identity(1)) is None
    assert good.exists()
    assert (recovery.found, recovery.taken) == (5, 1)
    assert recovery.skipped == {"they are no regular files": 3, "they are larger than 4 MiB": 1}


def make_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's path has 108 bytes at most
    try:
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(path.name)
    finally:
        os.chdir(here)


def test_a_terminal_record_stays(tmp_path: Path, project: Path) -> None:
    keep(tmp_path / "a", 0, 1, "done")
    loaded = load_project(project)
    with Journal(tmp_path / "journal.sqlite") as journal:
        journal.cancel(identity(0), 0, {"x": 0}, 1.0)
        before = journal.get(identity(0))
        recovery = recover(loaded, journal, [tmp_path / "a"])
        assert journal.get(identity(0)) == before
        assert (recovery.found, recovery.ended) == (1, 1)


def test_of_two_first_attempts_the_one_that_is_done_counts(tmp_path: Path, project: Path) -> None:
    loaded = dataclasses.replace(load_project(project), retries=0)
    keep(tmp_path / "a", 0, 1, "failed")
    keep(tmp_path / "b", 0, 1, "done")
    with Journal(tmp_path / "journal.sqlite") as journal:
        recover(loaded, journal, [tmp_path / "a", tmp_path / "b"])
        record = record_of(journal, identity(0))
        assert (record.state, record.host) == ("done", "b")


def test_of_a_task_that_ran_again_the_last_result_counts(tmp_path: Path, project: Path) -> None:
    keep(tmp_path / "a", 0, 1, "done")
    keep(tmp_path / "b", 0, 2, "failed")
    keep(tmp_path / "b", 0, 3, "done")
    keep(tmp_path / "a", 0, 4, "failed")
    with Journal(tmp_path / "journal.sqlite") as journal:
        recover(load_project(project), journal, [tmp_path / "a", tmp_path / "b"])
        record = record_of(journal, identity(0))
        assert (record.state, record.host) == ("done", "b")
        journal.again([identity(0)])
        assert journal.assign(identity(0), 0, {"x": 0}, "a", 1.0) == 5


def test_no_such_directory(tmp_path: Path, project: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal, pytest.raises(UsageError, match="nowhere"):
        recover(load_project(project), journal, [tmp_path / "nowhere"])


def test_a_recovered_sweep_is_complete_and_needs_no_enumeration(
    tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery_module, "_PAGE", 2)
    for x in (0, 1, 4):
        keep(tmp_path / "a", x, 1, "done")
    loaded = load_project(project)
    with Journal(tmp_path / "journal.sqlite") as journal:
        journal.assign(identity(3), 99, {"x": 3}, "a", 1.0)  # of an older sweep
        assert recover(loaded, journal, [tmp_path / "a"]).ended == 3
        assert journal.has_sweep(loaded.definition)
        members = journal.members(range(10))
        assert {number: member.task for number, member in members.items()} == {
            x: identity(x) for x in (0, 1, 3, 4)
        }  # fmt: skip
        calls = count_combinations(monkeypatch)
        tally = tally_sweep(loaded, journal, Provenance(journal, "", ""))
        assert (tally.done, tally.total, calls) == (3, 5, [])
