"""A task that looks for what is not its own: it finds no secret, and cannot speak for its runner."""

from __future__ import annotations

import base64
import json

import pytest
from checkout import Checkout
from sets import WORKERS, TaskSet

pytestmark = pytest.mark.usefixtures("infrastructure")

# It collects all that a task can read, and tries to speak for the runner.
CURIOUS = """
import glob, json, os, socket, sys, time
from pathlib import Path
open("began", "x").close()
found = {}
texts = []
for name in ("environ", "cmdline", "mounts", "maps"):
    for file in glob.glob(f"/proc/[0-9]*/{name}"):
        try:
            texts.append(Path(file).read_bytes())
        except OSError:
            pass
for top in ("/infrainit", "/code", "/secrets", "/run", "/tmp", "/var/run"):
    for directory, _, names in os.walk(top):
        for name in names:
            path = Path(directory, name)
            try:
                if path.is_file() and path.stat().st_size < 2**22:
                    texts.append(path.read_bytes())
            except OSError:
                pass
Path("seen").write_bytes(b"\\n".join(texts))
found["environment of the runner"] = os.access("/proc/1/environ", os.R_OK)
found["memory of the runner"] = os.access("/proc/1/mem", os.R_OK)
found["secrets"] = os.path.exists("/secrets")
found["docker"] = any(map(os.path.exists, ("/var/run/docker.sock", "/run/docker.sock")))
try:
    os.unlink("/infrainit/link/socket")
    found["socket replaced"] = True
except OSError:
    found["socket replaced"] = False

def forge():
    with socket.socket(socket.AF_UNIX) as worker:
        worker.settimeout(4)
        worker.connect("/infrainit/link/socket")
        hello = {"event": "hello", "key": None, "environment": {}, "image": "forged"}
        worker.sendall(json.dumps(hello).encode() + b"\\n")
        return bool(worker.recv(1000))

try:
    found["worker answers a forged runner"] = forge()
except OSError:
    found["worker answers a forged runner"] = False
try:
    socket.create_connection(("broker", 5671), 3).close()
    found["broker"] = True
except OSError:
    found["broker"] = False
# A line in the log that makes another attempt done.
with open("/infrainit/runner/log", "a") as log:
    execution = {"exit_code": 0, "seconds": 1.0, "state": "done", "reason": "", "metrics": {"value": 666}}
    record = {"ended": os.environ["TASK_ID"] + ".1", "execution": execution}
    log.write("0" * 64 + " " + json.dumps(record) + "\\n")
Path("found.json").write_text(json.dumps(found))
time.sleep(3)
print("Done: value=1")
"""


def test_a_task_finds_no_secret_and_cannot_speak_for_the_runner(checkout: Checkout) -> None:
    tasks = TaskSet(checkout, "curious", 6, CURIOUS)
    tasks.bring_up()
    outcome = tasks.finish()
    tasks.check(outcome, repeats=0)
    assert {row["value"] for row in outcome.rows} == {"1"}
    for mark in tasks.marks():
        (place,) = [host for host in WORKERS if host.name == mark.host]
        directory = f"{tasks.data('worker')}/tasks/{mark.task}/{mark.attempt}/files"
        found = json.loads(checkout.bed.inside(place, "cat", f"{directory}/found.json").stdout)
        assert not any(found.values()), found
        seen = checkout.bed.inside(place, "sh", "-c", f"base64 <'{directory}/seen'").stdout
        texts = base64.b64decode(seen)
        for file, secret in checkout.secrets().items():
            assert secret.encode() not in texts, f"{file} was read by a task on {mark.host}"
        key = checkout.bed.inside(place, "cat", f"{tasks.data('worker')}/runner_key").stdout
        assert key.strip().encode() not in texts, "the key of the runner was read"
