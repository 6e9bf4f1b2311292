"""Page of a sweep: what is in the file, and what a browser shows of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
import time
from html import escape, unescape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from framework.messages.events import Event
from framework.messages.host_use import GpuUse, HostUse
from framework.messages.status import Estimate, HostStatus, Status
from framework.web.page import render_page
from framework.web.plotly_bundle import read_plotly

HOSTILE = "</script><script>document.title='broken'</script><!-- {plotly}"
BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None)


def a_sweep(tasks: int = 250) -> dict[str, Any]:
    """A sweep with failures, text of tasks that looks like HTML, and two hosts."""
    done = [
        {
            "task": f"{number:016x}", "number": number + 1, "state": "failed" if number % 10 == 9 else "done",
            "attempts": 1, "host": f"gpu{number % 2 + 1}", "started": 1.8e9 + number, "seconds": 2.0,
            "exit_code": 0, "code": "c1", "reason": HOSTILE if number % 10 == 9 else "",
            "parameters": {
                "rate": 10.0 ** -(number % 5), "width": number % 7 + 1,
                "kind": ["<b>bold</b>", None][number % 2],
            },
            "metrics": {} if number % 10 == 9 else {"<i>loss": number / 7, "state": "fine"},
            "program": f"train --rate={number} {HOSTILE}",
        }
        for number in range(tasks)
    ]  # fmt: skip
    attempts = [
        {
            "task": task["task"], "attempt": 1, "host": task["host"], "state": task["state"], "sent": 1.0,
            "started": task["started"], "seconds": 2.0, "exit_code": 0, "reason": "",
        }
        for task in done
    ]  # fmt: skip
    return {
        "version": 1, "project": f"p {HOSTILE}", "metric": "<i>loss", "goal": "minimize",
        "written": 1.8e9 + 300, "combinations": 300, "parameters": ["rate", "width", "kind"],
        "metrics": ["<i>loss", "state"],
        "warning": "", "tasks": done, "under_way": [], "attempts": attempts,
    }  # fmt: skip


CURVES = {f"{number:016x}": [3.0, float("nan"), 1.0] for number in (0, 1)}
IMPORTANCE = ({"rate": 0.9, "width": 0.1}, "")


def embedded(page: str) -> dict[str, Any]:
    (text,) = re.findall(
        r'<script type="application/json" id="data" data-live="no">(.*?)</script>', page, re.DOTALL
    )
    content: dict[str, Any] = json.loads(text)
    return content


def test_text_of_tasks_ends_no_script() -> None:
    page = render_page(a_sweep(), IMPORTANCE, CURVES)
    content = embedded(page)
    assert content["project"] == f"p {HOSTILE}"
    assert content["curves"]["0" * 16] == [3.0, None, 1.0]
    assert page.count("</script>") == 3


def test_the_page_names_no_other_place() -> None:
    page = render_page(a_sweep(1), IMPORTANCE, {}).replace(read_plotly(), "")
    assert "default-src 'none'" in page
    assert not re.search(r"https?://|\bsrc=|<link", page)


def browse(page: str, path: Path, width: int) -> tuple[dict[str, Any], list[str]]:
    """What actions.js has seen in a browser, and what the browser's console says."""
    file = path / "page.html"
    actions = Path(__file__).with_name("actions.js").read_text()
    file.write_text(page.replace("</body>", f"<script>{actions}</script></body>"))
    shown, console = dump(file.as_uri(), path, width)
    (seen,) = re.findall(r'<pre id="seen">(.*?)</pre>', shown, re.DOTALL) or ["{}"]
    return json.loads(unescape(seen)), console


def dump(address: str, path: Path, width: int, milliseconds: int = 20000) -> tuple[str, list[str]]:
    """What a browser has made of a page after some time of its clock, and what its console says."""
    if BROWSER is None:
        if os.environ.get("CI"):
            pytest.fail("there is no Chromium to look at the page with")
        pytest.skip("there is no Chromium to look at the page with")
    command = [
        BROWSER, "--headless=new", "--no-sandbox", "--enable-unsafe-swiftshader", "--enable-logging=stderr",
        f"--user-data-dir={path / 'browser'}", f"--window-size={width},900",
        f"--virtual-time-budget={milliseconds}", "--dump-dom", address,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout, [line for line in console if "GL Driver Message" not in line]


@pytest.mark.parametrize("width", [1300, 520])
def test_a_browser_shows_tables_and_plots(tmp_path: Path, width: int) -> None:
    seen, said = browse(render_page(a_sweep(), IMPORTANCE, CURVES), tmp_path, width)
    assert said == []
    assert seen["heading"] == f"p {HOSTILE}"
    assert seen["title"] == f"p {HOSTILE}: results"
    assert seen["sections"] == [
        "Best combinations", "Failures", "<i>loss by metaparameter", "Importance of metaparameters",
        "Parallel coordinates", "Learning curves", "Timeline", "All tasks",
    ]  # fmt: skip
    assert seen["best"][:4] == ["0", "1", "1", "<b>bold</b>"]
    assert seen["failures"][:3] == ["25", "gpu2", HOSTILE]
    assert (seen["rows"], seen["failed"], seen["chosen"]) == (100, 25, 0), "failed ones have kind=null"
    assert (seen["ascending"], seen["descending"], seen["sorted"]) == ("0", "35.4286", "descending")
    assert seen["focused"].startswith("<i>loss")
    assert seen["last_page"][:2] == [50, True]
    assert (seen["wide"], seen["unnamed"], seen["bold"]) == (0, 0, 0)
    assert seen["details"] == [
        "attempt 1 on gpu1: done, started 2027-01-15 08:00:00 UTC, 2 s, exit code 0",
        f"train --rate=0 {HOSTILE}",
    ]
    assert seen["closed"] == 0
    assert seen["plots"] == [True] * 7
    assert seen["points"] > 250


class Site(BaseHTTPRequestHandler):
    """What Flower and the master publish."""

    files: ClassVar[dict[str, str]] = {}

    def do_GET(self) -> None:
        text = self.files.get(self.path)
        self.send_response(404 if text is None else 200)
        self.end_headers()
        self.wfile.write((text or "").encode())

    def log_message(self, *_: object) -> None:
        pass


def show_live(
    tmp_path: Path, status: Status, sweep: dict[str, Any], answers: dict[str, str] | None = None, at: str = ""
) -> str:
    """What the browser makes of the live page while this is published; its console has nothing to say.

    `answers`: what is answered besides. `at`: the place in the page that its address names.
    """
    status.write(tmp_path / "status.json")
    Site.files = {
        "/sweep": render_page(sweep, IMPORTANCE, CURVES, is_live=True),
        "/sweep/status.json": (tmp_path / "status.json").read_text(),
        "/sweep/sweep.json": json.dumps(sweep),
        **(answers or {}),
    }
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        shown, said = dump(f"http://127.0.0.1:{server.server_port}/sweep{at}", tmp_path, 1300, 5000)
        server.shutdown()
    assert said == []
    return shown


def test_a_live_page_shows_what_has_happened(tmp_path: Path) -> None:
    events = [Event(number, time.time(), "failed", f"{HOSTILE} {number}") for number in range(1, 13)]
    hosts = {"gpu1": HostStatus(2, 1, 0, 1.0, alive=True)}
    status = Status(time.time(), "p", "c1", 9, 1, 1, 1, False, 5.0, hosts=hosts, events=events)
    shown = show_live(tmp_path, status, a_sweep(3))
    (lines,) = re.findall(r"<h3>What has happened</h3><ul>(.*?)</ul>", shown, re.DOTALL)
    texts = re.findall(r"<li>[-0-9 :]+ UTC: (.*?)</li>", lines)
    assert texts == [escape(f"{HOSTILE} {number}", quote=False) for number in range(12, 2, -1)]
    assert '<section aria-label="Output" hidden="">' in shown


def test_the_live_page_says_how_long_it_takes_and_what_the_hosts_do(tmp_path: Path) -> None:
    use = HostUse(3.25, 8.0, (GpuUse(93, 30_720, 81_920), GpuUse(None, 0, 0)))
    hosts = {
        "gpu1": HostStatus(2, 1, 0, 1.0, alive=True, use=use),
        "old": HostStatus(1, 0, 0, 99.0, alive=False),
    }
    rest = Estimate(11_400.0, 9000.0, 12_600.0, 40, "gpu1", 2280.0)
    status = Status(
        time.time(), "p", "v1", 40, 20, 2, 2, finished=False, seconds_left=11_400.0, hosts=hosts,
        estimate=rest, rate=2.5,
    )  # fmt: skip
    shown = show_live(tmp_path, status, a_sweep(20))
    assert (
        "2.5 a minute, about 3 h 10 min left (2 h 30 min to 3 h 30 min); 2 more hosts like gpu1: 38 min 0 s"
    ) in shown
    cells = re.findall(r"<td>([^<]*)</td>", shown[shown.index("last heard of") :])
    assert cells[:6] == ["gpu1", "2", "1", "3.3/8", "93 % 30/80 GiB, ", "1 s ago"]
    assert cells[6:12] == ["old", "1", "0", "", "", "out of reach"]


def a_running_sweep() -> tuple[Status, dict[str, Any], str]:
    """A sweep with a second attempt under way; its page, and where its output is asked for."""
    sweep = a_sweep(3)
    task, attempt = sweep["tasks"].pop(), sweep["attempts"].pop()
    sweep["under_way"] = [{**task, "state": "running", "attempts": 2}]
    sweep["attempts"] += [
        {**attempt, "state": "lost"},
        {**attempt, "attempt": 2, "state": "running", "seconds": None, "exit_code": None},
    ]
    status = Status(time.time(), "p", "c1", 3, 2, 0, 1, False, 5.0)
    return status, sweep, f"/sweep/output?attempt={task['task']}.2&host=gpu1"


def test_the_live_page_shows_the_end_of_a_task_s_output(tmp_path: Path) -> None:
    status, sweep, question = a_running_sweep()
    text = f"{HOSTILE}\n<img src=x onerror=document.title='broken'>\nloss=0.5"
    answer = json.dumps({"stdout": text, "stderr": ""})
    name = f"{2:016x}.2"
    shown = show_live(tmp_path, status, sweep, {question: answer}, f"#output-{name}")
    assert re.findall(r"<title>(.*?)</title>", shown)[0] == f"p {escape(HOSTILE, quote=False)}: results"
    heading, problem, stdout, stderr = re.findall(
        r'<section aria-label="Output"><h2>(.*?)</h2><p class="warning"(.*?)</p>' + 2 * r"<pre (.*?)</pre>",
        shown, re.DOTALL,
    )[0]  # fmt: skip
    assert heading == "Task 3, attempt 2 on gpu1, running: rate=0.01 width=3 kind=&lt;b&gt;bold&lt;/b&gt;"
    assert problem == ' hidden="">'
    assert stdout.endswith(f">{escape(text, quote=False)}")
    assert "hidden" not in stdout
    assert stderr.endswith('hidden="">')
    links = dict(re.findall(r'<a href="#output-([^"]*)" aria-label="Output of task 3">(.*?)</a>', shown))
    assert links == {name: "3"}


def test_the_live_page_says_why_there_is_no_output(tmp_path: Path) -> None:
    status, sweep, question = a_running_sweep()
    answers = {question: json.dumps({"problem": "gpu1: <b>its worker</b> does not answer"})}
    shown = show_live(tmp_path, status, sweep, answers, f"#output-{2:016x}.2")
    assert '<p class="warning">gpu1: &lt;b&gt;its worker&lt;/b&gt; does not answer</p>' in shown
    shown = show_live(tmp_path, status, sweep, {}, "#output-<b>x")
    assert '<p class="warning">The master has published no such attempt.</p>' in shown
