"""Quarantine of messages: the last ones are kept, and all are counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from framework.master.quarantine import KEPT, LONGEST, Quarantine


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_last_messages_are_kept_and_all_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "quarantine.jsonl"
    kept = Quarantine(path)
    kept.save()
    assert not path.exists(), "nothing to keep"
    for number in range(KEPT + 50):
        kept.add("results", f"message {number}", "why")
    kept.save()
    assert len(lines(path)) == KEPT
    assert lines(path)[-1]["message"] == f"message {KEPT + 49}"
    again = Quarantine(path)
    assert again.count == KEPT + 50
    again.add("reports", "x", "y")
    again.save()
    assert (len(lines(path)), lines(path)[-1]["number"]) == (KEPT, KEPT + 51)


@pytest.mark.parametrize(
    "body", [b"\xff\0\x1b[2J", "x" * 10**7, memoryview(b"abc"), None, 5, {"a": object()}, "\ud800\n"]
)
def test_any_message_is_kept_in_a_form_that_harms_no_terminal(tmp_path: Path, body: Any) -> None:
    kept = Quarantine(tmp_path / "file")
    kept.add("q" * 5000, body, "r" * 5000)
    kept.save()
    (line,) = lines(tmp_path / "file")
    assert line["message"].isascii()
    assert not set(line["message"]) & {"\n", "\x1b", "\0"}
    assert len((tmp_path / "file").read_text()) < 20 * LONGEST
