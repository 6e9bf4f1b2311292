"""`wandb sync` uploads what is exported: to a server that stands in for W&B's."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from export_bench import BEST, FAILED

from framework.export.sweep_results import SweepResults

_BUCKET = {"id": "x", "name": "x", "project": {"name": "p", "entity": {"name": "e"}}, "historyLineCount": 0}


class StandIn(BaseHTTPRequestHandler):
    """Takes what wandb uploads, as far as it has to answer."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        answer: dict[str, Any] = {"data": {}}
        if self.path == "/graphql":
            request = json.loads(body)
            if "UpsertBucket" in request["query"]:
                self.server.runs.append(request["variables"])  # type: ignore[attr-defined]
                answer["data"] = {"upsertBucket": {"bucket": _BUCKET, "inserted": True}}
            elif "CreateRunFiles" in request["query"]:
                answer["data"] = {"createRunFiles": {"runID": "x", "uploadHeaders": [], "files": []}}
        elif self.path.endswith("file_stream"):
            self.server.streams.append(json.loads(body))  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    server.runs, server.streams = [], []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def sync(server: ThreadingHTTPServer, run: Path, home: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What `wandb sync` uploads of a run: its first description, and its streams."""
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(home), "WANDB_API_KEY": 40 * "a",
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_BASE_URL": f"http://127.0.0.1:{server.server_port}",
    }  # fmt: skip
    server.runs, server.streams = [], []  # type: ignore[attr-defined]
    command = [sys.executable, "-m", "wandb", "sync", "--yes", str(run)]
    done = subprocess.run(
        command, cwd=home, env=environment, capture_output=True, text=True, check=False, timeout=100
    )
    assert "Finished syncing" in done.stderr, done.stderr
    return server.runs[0], server.streams  # type: ignore[attr-defined]


def lines(streams: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    parts = [stream.get("files", {}).get(name, {"content": []}) for stream in streams]
    return [json.loads(line) for part in parts for line in part["content"]]


@pytest.mark.slow
def test_sync_uploads_metaparameters_curves_and_states(
    results: SweepResults, server: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_MODE", "online")  # it stays offline all the same
    target = tmp_path / "it's W&B"
    from framework.export.wandb_offline import export  # here: wandb is slow to import

    assert export(results, target) == f"wandb sync '{tmp_path}/it'\"'\"'s W&B/wandb'/offline-run-*"
    export(results, target)  # again: nothing is there twice
    runs = [next((target / "wandb").glob(f"offline-run-*-{task['task']}")) for task in results.tasks]
    assert len(list((target / "wandb").glob("offline-run-*"))) == 6

    run, streams = sync(server, runs[BEST], tmp_path)
    assert (run["project"], run["tags"], run["displayName"]) == ("p", ["done"], next(results.runs()).name)
    config = {name: entry["value"] for name, entry in json.loads(run["config"]).items() if name != "_wandb"}
    assert config == {"C": 0.1, "depth": 3, "kernel": "rbf", "flag": True}
    history = lines(streams, "wandb-history.jsonl")
    assert [(line["_step"], line.get("accuracy")) for line in history] == [
        (0, 0.7),
        (1, 0.8),
        (2, 0.9),
        (3, None),
    ]
    assert [str(line["loss"]) for line in history] == ["3", "2", "nan", "1"]
    summary = lines(streams, "wandb-summary.json")[-1]
    assert (summary["accuracy"], summary["note"], summary["infrainit"]["host"]) == (0.9, "good", "a")
    assert streams[-1]["exitcode"] == 0

    run, streams = sync(server, runs[FAILED], tmp_path)
    assert (run["tags"], run["notes"], streams[-1]["exitcode"]) == (["failed"], "exit code 1", 1)
    config = json.loads(run["config"])
    assert (config["kernel"]["value"], config["depth"]["value"]) == ([1, "a"], 3)
