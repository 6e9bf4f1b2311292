"""Live view of the sweep in the terminal, with rich."""

from __future__ import annotations

import shutil
import signal
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from framework.errors import FrameworkError
from framework.messages.status import HostStatus, Status, duration, expectation, status_of

PAUSE_SECONDS = 0.5
_NARROW = 80  # columns, below which a host's load and GPUs are left out
_MOST = {"failures": 3, "events": 5, "notices": 3}  # lines
_LEAST_HOSTS = 3  # that are shown before anything else but the progress

Document = Mapping[str, Any]


def show_live(make: Callable[[], Document], expected: Sequence[str] = ()) -> None:
    """Show the documents that `make` returns until Ctrl-C; `expected`: hosts that are to have a worker."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the terminal is put back then, too
    console = Console()
    document: Document = {}
    with _no_echo(), Live(console=console, screen=True, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            try:
                document = {**document, "error": None, **make()}
            except FrameworkError as error:
                document = {**document, "error": str(error)}
            # Asked each time: the window may have another size now.
            size = shutil.get_terminal_size()
            try:
                view = render(document, size.columns, size.lines, time.time(), expected)
            except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
                view = Group(_line(f"what the master says is not understood: {error!r}", "yellow"))
            live.update(view, refresh=True)
            time.sleep(PAUSE_SECONDS)


@contextmanager
def _no_echo() -> Iterator[None]:
    """Keep what is typed out of the view; it would move the lines."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    silent = termios.tcgetattr(sys.stdin)
    silent[3] &= ~termios.ECHO
    termios.tcsetattr(sys.stdin, termios.TCSADRAIN, silent)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSAFLUSH, before)


def render(document: Document, columns: int, lines: int, now: float, expected: Sequence[str] = ()) -> Group:
    """The view in `columns` and `lines`; what counts less is left out of a small one."""
    error = [_line(f"{document['error']}", "bold yellow")] if document.get("error") else []
    end = [_line("Ctrl-C leaves; the tasks go on", "dim")]
    if "hosts" not in document:
        return Group(*error, *end)
    status = status_of(document)
    head = [*_head(status, columns, now), *error]
    room = lines - len(head) - len(end)
    hosts = {**dict.fromkeys(expected), **status.hosts}
    others = _sections(document, max(0, room - 1 - min(len(hosts), _LEAST_HOSTS)), now)
    rows = room - 1 - len(others)
    return Group(*head, *_hosts(document, hosts, columns, rows, now), *others, *end)


def _head(status: Status, columns: int, now: float) -> list[Any]:
    state = "finished" if status.finished else "paused" if status.paused else "running"
    percent = 100 * status.ended // status.total if status.total else 100
    counts = f"{status.ended}/{status.total} tasks, {percent} %"
    title = Text(no_wrap=True, overflow="ellipsis")
    title.append(_plain(status.project), "bold").append(f"  {state}", _COLOURS[state])
    title.append(f"  code {_plain(status.version)[:12]}, {max(0.0, now - status.updated):.0f} s ago", "dim")
    bar = Table.grid(padding=(0, 1))
    width = max(5, columns - len(counts) - 2)
    bar.add_row(ProgressBar(max(1, status.total), status.ended, width=width), _line(counts))
    parts = [f"{status.done} done", f"{status.running} running", f"{status.waiting} waiting"]
    for name in ("failed", "cancelled", "pruned", "outdated"):
        if number := getattr(status, name):
            parts.append(f"{number} {name}")
    rest = "" if status.finished else "how long it takes is not known before a task is done"
    if status.paused:
        rest = status.paused
    elif status.estimate is not None and not status.finished:
        rest = f"{expectation(status.estimate)}"
    if status.rate is not None and not status.finished:
        rest = f"{status.rate:.{1 if status.rate < 10 else 0}f} a minute; {rest}"
    return [title, bar, _line(", ".join(parts)), *([_line(rest, "bold")] if rest else [])]


def _hosts(
    document: Document, hosts: Mapping[str, HostStatus | None], columns: int, rows: int, now: float
) -> list[Any]:
    """A table of as many hosts as there are rows, those with a problem first."""
    if rows < 1 or not hosts:
        return []
    is_wide = columns >= _NARROW
    running: dict[str, list[str]] = {}
    for task in document.get("tasks", ()):
        if task["started"] is not None:
            since = duration(max(0.0, now - task["started"]))
            running.setdefault(task["host"], []).append(f"{task['number']} for {since} ({task['label']})")
    table = Table(box=None, padding=(0, 2, 0, 0), expand=True, header_style="dim")
    table.add_column("host", no_wrap=True, max_width=max(8, columns // 5))
    table.add_column("slots", no_wrap=True, justify="right", min_width=5)
    if is_wide:
        table.add_column("load", no_wrap=True, justify="right", min_width=5)
        if any(host and host.use.gpus for host in hosts.values()):
            table.add_column("GPUs", no_wrap=True, max_width=columns // 4)
    table.add_column("runs", no_wrap=True, ratio=1)
    names = sorted(hosts, key=lambda name: (_is_fine(hosts[name]), name))
    shown = names if len(names) <= rows else names[: rows - 1]
    for name in shown:
        host = hosts[name]
        cells = [Text(_plain(name)), Text(f"{host.running}/{host.slots}" if host else "")]
        if is_wide:
            cells.append(Text(_load(host)))
            if len(table.columns) == 5:
                cells.append(Text(_gpus(host)))
        cells.append(_what_runs(host, running.get(name, [])))
        table.add_row(*cells)
    more = [_line(f"and {len(names) - len(shown)} more hosts", "dim")] if len(shown) < len(names) else []
    return [table, *more]


def _is_fine(host: HostStatus | None) -> bool:
    return host is not None and host.is_usable


def _what_runs(host: HostStatus | None, running: Sequence[str]) -> Text:
    if host is None:
        return Text("its worker has not been heard of", "yellow")
    if not host.alive:
        return Text(f"out of reach for {duration(host.seconds_since_beat)}", "bold red")
    text = Text(_plain("; ".join(running)))
    return Text("drained: it is sent nothing more; ", "yellow").append(text) if host.drained else text


def _load(host: HostStatus | None) -> str:
    return f"{host.use.load:.1f}/{host.use.cpus:.0f}" if host and host.use.cpus else ""


def _gpus(host: HostStatus | None) -> str:
    """For each GPU how busy it is, and its memory in use."""
    words = []
    for gpu in host.use.gpus if host else ():
        busy = "" if gpu.busy is None else f"{gpu.busy} % "
        words.append(f"{busy}{gpu.used / 1024:.0f}/{gpu.memory / 1024:.0f} GiB" if gpu.memory else busy)
    return ", ".join(words)


def _sections(document: Document, room: int, now: float) -> list[Text]:
    """The best, notices, failures and events, as many lines as there is room for, in this order."""
    lines: list[Text] = []
    if best := document.get("best"):
        number = f" (task {best['number']})" if best["number"] is not None else ""
        text = f"best {best['metric']}={_number(best['value'])}{number}: {best['label']}"
        lines.append(_line(text, "bold green"))
    lines += [_line(notice, "yellow") for notice in document.get("notices", ())[: _MOST["notices"]]]
    for task in document.get("failures", ())[: _MOST["failures"]]:
        said = task["reason"].strip().splitlines() or [""]
        text = f"failed: {task['number']} ({task['label']}) on {task['host']}: {said[-1]}"
        lines.append(_line(text, "red"))
    for event in list(document.get("events", ()))[-_MOST["events"] :]:
        lines.append(_line(f"{duration(max(0.0, now - event['time']))} ago: {event['text']}"))
    return lines[:room]


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.4g}"


def _line(text: str, style: str = "") -> Text:
    return Text(_plain(text), style, no_wrap=True, overflow="ellipsis")


def _plain(text: str) -> str:
    """The text without what a terminal would act on."""
    return "".join(each if each.isprintable() else " " for each in text)


_COLOURS = {"running": "cyan", "paused": "yellow", "finished": "green"}
