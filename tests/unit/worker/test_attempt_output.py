"""Output of an attempt on a worker's disk: its end, and nothing that a task puts in its place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from framework.messages.output_tail import LONGEST_TAIL, OutputTail
from framework.messages.task_ids import AttemptId
from framework.worker.attempt_output import read_tail

TASK = "0123456789abcdef"
ATTEMPT = AttemptId(TASK, 2)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The directory of the attempt, below that of all."""
    made = tmp_path / "tasks" / TASK / "2"
    made.mkdir(parents=True)
    (made / "stdout").write_text("loss=1\nloss=0")
    (made / "stderr").write_text("")
    return made


def tail(directory: Path) -> OutputTail:
    return read_tail(directory.parent.parent, ATTEMPT)


def test_a_short_output_is_whole(directory: Path) -> None:
    assert tail(directory) == OutputTail("loss=1\nloss=0", "")


def test_of_a_long_output_the_last_lines_are_read(directory: Path) -> None:
    lines = [f"epoch {number} ünd" for number in range(10_000)]
    (directory / "stdout").write_text("\n".join(lines))
    (directory / "stderr").write_text("x" * LONGEST_TAIL * 3)
    found = tail(directory)
    kept = found.stdout.split("\n")
    assert lines[-len(kept) :] == kept
    assert LONGEST_TAIL - 100 < len(found.stdout.encode()) <= LONGEST_TAIL
    assert found.stderr == "x" * LONGEST_TAIL, "a line that is too long is cut"


def test_what_is_no_text_is_read_all_the_same(directory: Path) -> None:
    (directory / "stdout").write_bytes(b"\xff\xfe\n\0")
    assert tail(directory).stdout == "\ufffd\ufffd\n\0"


def test_an_attempt_that_was_never_here_has_none(directory: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_tail(directory.parent.parent, AttemptId(TASK, 3))


@pytest.mark.parametrize("place", ["stdout", "2", TASK])
def test_no_link_is_followed(directory: Path, tmp_path: Path, place: str) -> None:
    """A task may put one there, to a file that the worker alone can read."""
    secret = tmp_path / "secret" / TASK / "2"
    secret.mkdir(parents=True)
    for name in ("stdout", "stderr"):
        (secret / name).write_text("secret")
    replaced = {"stdout": directory / "stdout", "2": directory, TASK: directory.parent}[place]
    meant = {"stdout": secret / "stdout", "2": secret, TASK: secret.parent}[place]
    replaced.rename(tmp_path / "moved")
    replaced.symlink_to(meant)
    with pytest.raises(OSError, match=r"symbolic links|Not a directory"):
        tail(directory)


def test_a_named_pipe_is_not_waited_for(directory: Path) -> None:
    (directory / "stdout").unlink()
    os.mkfifo(directory / "stdout")
    assert tail(directory) == OutputTail("", "")
