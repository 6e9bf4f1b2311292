"""The live view: what it shows in windows of any size, and that it leaves the terminal as it was."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from framework.cli.live_view import render

NOW = 1_000_000.0


def host(**changes: Any) -> dict[str, Any]:
    use = {"load": 3.25, "cpus": 8.0, "gpus": []}
    common = {"slots": 2, "running": 1, "reserved": 0, "seconds_since_beat": 1.0, "alive": True, "use": use}
    return common | changes


GPU_USE = {"load": 1.0, "cpus": 16.0, "gpus": [{"busy": 93, "used": 30_720, "memory": 81_920}]}
DOCUMENT: dict[str, Any] = {
    "updated": NOW - 2,
    "project": "digits",
    "version": "0123456789abcdef",
    "total": 40,
    "done": 20,
    "failed": 2,
    "running": 2,
    "finished": False,
    "seconds_left": 600.0,
    "estimate": {
        "seconds": 600.0,
        "least": 500.0,
        "most": 800.0,
        "known": 20,
        "like": "gpu1",
        "saved": 200.0,
    },
    "rate": 2.5,
    "notices": ["gpu3: no space left"],
    "hosts": {
        "gpu1": host(use=GPU_USE),
        "gpu2": host(alive=False, seconds_since_beat=150.0),
        "gpu3": host(drained=True, slots=0, running=0),
    },
    "tasks": [
        {
            "number": 23,
            "task": "t",
            "attempt": 1,
            "host": "gpu1",
            "started": NOW - 70,
            "label": "C=1 gamma=2",
        },
        {"number": 24, "task": "u", "attempt": 1, "host": "gpu1", "started": None, "label": "C=1 gamma=3"},
    ],
    "failures": [
        {
            "number": 7,
            "task": "f",
            "host": "gpu2",
            "exit_code": 3,
            "reason": "more\nexit code 3: ValueError: no \x1b[31mdata",
            "label": "C=9",
        },
    ],
    "best": {"metric": "accuracy", "value": 0.99123, "label": "C=10 gamma=1", "number": 3},
    "events": [{"number": 1, "time": NOW - 30, "kind": "best", "text": "accuracy 0.991 is the best so far"}],
    "waiting": 16,
}


def shown(
    document: dict[str, Any], columns: int = 120, lines: int = 40, expected: tuple[str, ...] = ()
) -> str:
    console = Console(width=columns, height=lines, color_system=None)
    with console.capture() as capture:
        console.print(render(document, columns, lines, NOW, expected))
    return capture.get()


def test_everything_that_a_person_asks_is_there() -> None:
    text = shown(DOCUMENT, expected=("gpu1", "gpu4"))
    for part in (
        "digits  running  code 0123456789ab, 2 s ago",
        "22/40 tasks, 55 %",
        "20 done, 2 running, 16 waiting, 2 failed",
        "2.5 a minute; about 10 min (8 min to 13 min) on these hosts; 2 more like gpu1: 3 min less",
        "1/2",
        "1.0/16",
        "93 % 30/80 GiB",
        "23 for 70 s (C=1 gamma=2)",
        "out of reach for 2 min",
        "drained: it is sent nothing more",
        "its worker has not been heard of",
        "best accuracy=0.9912 (task 3): C=10 gamma=1",
        "gpu3: no space left",
        "failed: 7 (C=9) on gpu2: exit code 3: ValueError: no ",
        "30 s ago: accuracy 0.991 is the best so far",
        "Ctrl-C leaves",
    ):
        assert part in text
    assert "gamma=3" not in text, "it has not begun"
    assert "\x1b" not in text
    table = text[text.index("host ") :]
    assert table.index("gpu2") < table.index("gpu1"), "those with a problem first"


@pytest.mark.parametrize("columns", [20, 40, 80, 250])
@pytest.mark.parametrize("lines", [4, 8, 12, 24, 60])
def test_it_fits_into_any_window(columns: int, lines: int) -> None:
    hosts = {f"host{number}": host() for number in range(30)}
    rows = shown(DOCUMENT | {"hosts": hosts}, columns, lines).splitlines()
    assert len(rows) <= max(lines, 6)
    assert all(len(row) <= columns for row in rows)
    assert "digits" in rows[0]
    if lines >= 12:
        assert "more hosts" in "\n".join(rows) or lines == 60


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"paused": "the sweep is paused: on request"}, "the sweep is paused: on request"),
        ({"finished": True, "done": 38, "running": 0}, "digits  finished"),
        ({"estimate": None}, "not known before a task is done"),
        ({"error": "no answer for 12 s"}, "no answer for 12 s"),
        ({"total": 0, "done": 0, "failed": 0, "running": 0, "hosts": {}}, "0/0 tasks, 100 %"),
        ({"best": None, "failures": [], "events": [], "rate": None}, "about 10 min"),
    ],
)
def test_other_states(changes: dict[str, Any], part: str) -> None:
    assert part in shown(DOCUMENT | changes)


def test_before_the_first_answer_only_the_error_is_shown() -> None:
    assert shown({"error": "waiting for the master's answer"}).splitlines() == [
        "waiting for the master's answer",
        "Ctrl-C leaves; the tasks go on",
    ]


@pytest.fixture
def keeps_interrupts() -> Iterator[None]:
    """Where this process was started in the background it ignores SIGINT, and its children would, too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_the_terminal_as_it_was(
    tmp_path: Path, keeps_interrupts: None, end: signal.Signals
) -> None:
    file = tmp_path / "document.json"
    file.write_text(json.dumps(DOCUMENT | {"updated": time.time()}))
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "framework", "status", "-f", "--from", str(file), "--host", "gpu9"]
    environment = os.environ | {"TERM": "xterm-256color"}
    said = b""
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        try:
            while b"gpu9" not in said:
                said += os.read(ours, 65536)
            assert b"\x1b[?1049h" in said
            file.write_text("{}")  # nonsense does not end it
            while b"not understood" not in said:
                said += os.read(ours, 65536)
            assert not termios.tcgetattr(ours)[3] & termios.ECHO, "what is typed would move the lines"
            process.send_signal(end)
            assert process.wait(timeout=60) == 130
        finally:
            process.kill()
    assert termios.tcgetattr(ours)[3] & termios.ECHO
    os.close(theirs)
    while True:
        try:
            said += os.read(ours, 65536)
        except OSError:  # nobody has the other end any more
            break
    os.close(ours)
    assert b"Traceback" not in said
    after = said[said.rindex(b"not understood") :]
    assert b"\x1b[?1049l" in after
    assert b"\x1b[?25h" in after
