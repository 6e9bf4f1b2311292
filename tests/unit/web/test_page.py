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
    file.write_text(with_script(page, "actions.js"))
    shown, console = dump(file.as_uri(), path, width, 2500)
    return seen_in(shown), console


def with_script(page: str, name: str, before: str = "") -> str:
    """The page with a script beside this file, and what comes before it."""
    return page.replace(
        "</body>", f"<script>{before}{Path(__file__).with_name(name).read_text()}</script></body>"
    )


def seen_in(shown: str) -> Any:
    """What the script has left."""
    (seen,) = re.findall(r'<pre id="seen">(.*?)</pre>', shown, re.DOTALL) or ["{}"]
    return json.loads(unescape(seen))


def dump(address: str, path: Path, width: int, milliseconds: int) -> tuple[str, list[str]]:
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
@pytest.mark.slow
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
    tmp_path: Path, status: Status, sweep: dict[str, Any], answers: dict[str, str], *addresses: str
) -> tuple[str, list[str]]:
    """What the browser makes of the live page while this is published, and of its output at each address, the
    first one from the beginning; its console has nothing to say. `answers`: what is answered besides.
    """
    status.write(tmp_path / "status.json")
    page = render_page(sweep, IMPORTANCE, CURVES, is_live=True)
    Site.files = {
        "/sweep": with_script(page, "addresses.js", f"const ADDRESSES = {json.dumps(addresses[1:])};"),
        "/sweep/status.json": (tmp_path / "status.json").read_text(),
        "/sweep/sweep.json": json.dumps(sweep),
        **answers,
    }
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        shown, said = dump(f"http://127.0.0.1:{server.server_port}/sweep{addresses[0]}", tmp_path, 1300, 5000)
        server.shutdown()
    assert said == []
    return shown, seen_in(shown)


@pytest.mark.slow
def test_the_live_page_shows_what_happens_now(tmp_path: Path) -> None:
    """What has happened, how long it takes, what the hosts do, and the end of a task's output."""
    sweep = a_sweep(19)
    for _ in range(2):  # second attempts are under way of the last two
        task, attempt = sweep["tasks"].pop(), sweep["attempts"].pop(-1 - len(sweep["under_way"]) * 2)
        sweep["under_way"].append({**task, "state": "running", "attempts": 2})
        sweep["attempts"] += [
            {**attempt, "state": "lost"},
            {**attempt, "attempt": 2, "state": "running", "seconds": None, "exit_code": None},
        ]
    names = [f"{task['task']}.2" for task in sweep["under_way"]]
    hosts = [task["host"] for task in sweep["under_way"]]
    text = f"{HOSTILE}\n<img src=x onerror=document.title='broken'>\nloss=0.5"
    said = [{"stdout": text, "stderr": ""}, {"problem": "gpu1: <b>its worker</b> does not answer"}]
    answers = {
        f"/sweep/output?attempt={name}&host={host}": json.dumps(answer)
        for name, host, answer in zip(names, hosts, said, strict=True)
    }
    gpus = (GpuUse(93, 30_720, 81_920), GpuUse(None, 0, 0))
    status = Status(
        time.time(), "p", "v1", 40, 17, 1, 2, finished=False, seconds_left=11_400.0, rate=2.5,
        hosts={
            "gpu1": HostStatus(2, 1, 0, 1.0, alive=True, use=HostUse(3.25, 8.0, gpus)),
            "old": HostStatus(1, 0, 0, 99.0, alive=False),
        },
        estimate=Estimate(11_400.0, 9000.0, 12_600.0, 40, "gpu1", 2280.0),
        events=[Event(number, time.time(), "failed", f"{HOSTILE} {number}") for number in range(1, 13)],
    )  # fmt: skip
    addresses = (f"#output-{names[0]}", f"#output-{names[1]}", "#output-<b>x", "#now")
    shown, (output, problem, unknown, closed) = show_live(tmp_path, status, sweep, answers, *addresses)

    assert re.findall(r"<title>(.*?)</title>", shown)[0] == f"p {escape(HOSTILE, quote=False)}: results"
    (lines,) = re.findall(r"<h3>What has happened</h3><ul>(.*?)</ul>", shown, re.DOTALL)
    texts = re.findall(r"<li>[-0-9 :]+ UTC: (.*?)</li>", lines)
    assert texts == [escape(f"{HOSTILE} {number}", quote=False) for number in range(12, 2, -1)]
    assert (
        "2.5 a minute, about 3 h 10 min left (2 h 30 min to 3 h 30 min); 2 more hosts like gpu1: 38 min 0 s"
    ) in shown
    cells = re.findall(r"<td>([^<]*)</td>", shown[shown.index("last heard of") :])
    assert cells[:6] == ["gpu1", "2", "1", "3.3/8", "93 % 30/80 GiB, ", "1 s ago"]
    assert cells[6:12] == ["old", "1", "0", "", "", "out of reach"]

    heading, warning, stdout, stderr = re.findall(
        r'<section aria-label="Output"><h2>(.*?)</h2><p class="warning"(.*?)</p>' + 2 * r"<pre (.*?)</pre>",
        output, re.DOTALL,
    )[0]  # fmt: skip
    assert heading == "Task 19, attempt 2 on gpu1, running: rate=0.001 width=5 kind=&lt;b&gt;bold&lt;/b&gt;"
    assert warning == ' hidden="">'
    assert stdout.endswith(f">{escape(text, quote=False)}")
    assert "hidden" not in stdout
    assert stderr.endswith('hidden="">')
    links = dict(re.findall(r'<a href="#output-([^"]*)" aria-label="Output of task (.*?)">\2</a>', shown))
    assert links == dict(zip(names, ("19", "18"), strict=True))
    assert '<p class="warning">gpu1: &lt;b&gt;its worker&lt;/b&gt; does not answer</p>' in problem
    assert '<p class="warning">The master has published no such attempt.</p>' in unknown
    assert closed.startswith('<section aria-label="Output" hidden="">')
