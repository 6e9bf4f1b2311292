"""A copy of this repository, used as a user does: its scripts are run, its files and containers looked at."""

from __future__ import annotations

import base64
import csv
import http.client
import json
import os
import re
import shlex
import shutil
import signal
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed import CHECKOUT, HOST1, HOST2, USER, Bed, Host, docker, execute

Place = Host | None  # a host of the test bed; None is this machine


@dataclass(frozen=True)
class Done:
    """A script that has ended."""

    exit_code: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def output(self) -> str:
        """All it said."""
        return self.stdout + self.stderr


class Checkout:
    """A copy of the repository in a directory with spaces in its path."""

    def __init__(self, bed: Bed, name: str) -> None:
        self.bed = bed
        self.path = bed.checkouts / name
        self.projects = bed.checkouts / "projects of mine"
        for file in source_files():
            (self.path / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / file, self.path / file, follow_symlinks=False)

    # Running its scripts

    def run(
        self,
        script: str,
        *options: str | Path,
        expect: int | None = 0,
        seconds: float = 400,
        variables: Mapping[str, str] | None = None,
    ) -> Done:
        """Run a script to its end and demand its exit code; what it says goes to a log too.

        `variables`: those that it has besides.
        """
        with self.start(script, *options, variables=variables) as running:
            done = running.wait(seconds)
        assert expect is None or done.exit_code == expect, (
            f"{script}: exit code {done.exit_code}, expected {expect}; it said:\n{done.output[-6000:]}"
        )
        return done

    @contextmanager
    def start(
        self, script: str, *options: str | Path, variables: Mapping[str, str] | None = None
    ) -> Iterator[Running]:
        """Start a script; it is ended with the block if it still runs."""
        command = [str(self.path / script), *map(str, options)]
        number = len(list(self.bed.logs.glob("*.command")))
        log = self.bed.logs / f"{number:03}-{Path(script).stem}"
        running = Running(command, log, {**self.bed.environment(), **(variables or {})})
        try:
            yield running
        finally:
            running.kill()

    def project(self, name: str, parameters: str, files: Mapping[str, str], settings: str = "") -> Path:
        """Write a project that runs its run.py, outside of the checkout; return its directory."""
        path = self.projects / name
        path.mkdir(parents=True, exist_ok=True)
        (path / "project.yml").write_text(f"command: python run.py\n{settings}")
        (path / "parameters.yml").write_text(parameters)
        for file, text in files.items():
            (path / file).write_text(text)
        return path

    def results(self, project: str) -> list[dict[str, str]]:
        """The rows of the results.csv that was brought home."""
        with (self.path / "results" / project / "results.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    # Its infrastructure

    def flower(self, path: str, password: str | None = "", method: str = "GET") -> tuple[int, bytes]:
        """Status and text of Flower's answer, over TLS verified with the infrastructure's CA.

        `password`: None for none, "" for the right one.
        """
        context = ssl.create_default_context(cafile=self.path / ".infra" / "secrets" / "flower" / "ca.pem")
        connection = http.client.HTTPSConnection(self.bed.address(HOST1), 5555, timeout=60, context=context)
        headers = {"Content-Type": "application/json"}
        if password is not None:
            login = f"flower:{password or self.secret('flower', 'flower_password')}"
            headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
        with closing(connection):
            connection.request(method, path, body="{}" if method == "POST" else None, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def published(self) -> dict[str, Any]:
        """The data of the live page."""
        status, text = self.flower("/sweep/sweep.json")
        return dict(json.loads(text)) if status == 200 else {"attempts": []}

    def output_on_page(self, attempt: Mapping[str, Any]) -> dict[str, str]:
        """What the live page has of the output of one of its attempts."""
        name = f"{attempt['task']}.{attempt['attempt']}"
        status, text = self.flower(f"/sweep/output?attempt={name}&host={attempt['host']}")
        assert status == 200, text
        return dict(json.loads(text))

    @property
    def identity(self) -> str:
        """The id of its infrastructure."""
        return (self.path / ".infra" / "id").read_text().strip()

    def inventory(self, place: Place) -> dict[str, list[str]]:
        """The containers, volumes and networks of its infrastructure at a place, by name."""
        listing = "--filter", f"label=infrainit.infrastructure={self.identity}", "--format"
        return {
            "containers": sorted(at(self.bed, place, "ps", "--all", *listing, "{{.Names}}").split()),
            "volumes": sorted(at(self.bed, place, "volume", "ls", *listing, "{{.Name}}").split()),
            "networks": sorted(at(self.bed, place, "network", "ls", *listing, "{{.Name}}").split()),
        }

    def inspect(self, place: Place) -> list[dict[str, Any]]:
        """What `docker inspect` says of its containers at a place."""
        names = self.inventory(place)["containers"]
        return list(json.loads(at(self.bed, place, "inspect", *names))) if names else []

    def container(self, place: Place, role: str) -> dict[str, Any]:
        """What `docker inspect` says of its one running container with a role at a place."""
        (found,) = [it for it in self.inspect(place) if it["Config"]["Labels"]["infrainit.role"] == role]
        assert found["State"]["Running"], f"{role} is {found['State']}"
        return found

    def secret(self, role: str, name: str) -> str:
        """A secret of this infrastructure."""
        return (self.path / ".infra" / "secrets" / role / name).read_text().strip()

    def secrets(self) -> dict[str, str]:
        """Every secret of this infrastructure, by the file that holds it; of a private key one line."""
        found = {}
        for file in (self.path / ".infra" / "secrets").rglob("*"):
            if not file.is_file():
                continue
            text = file.read_text()
            if "PRIVATE KEY" in text:
                found[str(file)] = text.splitlines()[1]
            elif re.search("password|cookie", file.name):
                found[str(file)] = text.strip()
        return found


class Running:
    """A script that was started, in a session of its own, without a terminal."""

    def __init__(self, command: list[str], log: Path, environment: Mapping[str, str]) -> None:
        self._began = time.monotonic()
        self._stdout, self._stderr = log.with_suffix(".stdout"), log.with_suffix(".stderr")
        log.with_suffix(".command").write_text(shlex.join(command) + "\n")
        with self._stdout.open("w") as stdout, self._stderr.open("w") as stderr:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=environment,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """What it has said so far."""
        return self._stdout.read_text() + self._stderr.read_text()

    def wait(self, seconds: float) -> Done:
        """Wait for its end."""
        try:
            exit_code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still runs after {seconds} s; it said:\n{self.output[-6000:]}") from None
        return Done(
            exit_code, self._stdout.read_text(), self._stderr.read_text(), time.monotonic() - self._began
        )

    def interrupt(self) -> None:
        """Do what Ctrl-C does."""
        os.killpg(self._process.pid, signal.SIGINT)

    def kill(self) -> None:
        """End it, if it still runs."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def source_files() -> list[str]:
    """The files of this repository, as they are in the working tree."""
    listing = execute(["git", "-C", CHECKOUT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
    return [file for file in listing.stdout.split("\0") if file and (CHECKOUT / file).exists()]


def options(bed: Bed, others: Sequence[str] = ()) -> list[str]:
    """Options of infrainit.sh for three hosts and project echo; others come instead, "" leaves one out."""
    chosen = {
        "-a": f"host1,{USER}@{bed.address(HOST2)},host3",
        "-i": str(bed.key),
        "-r": "celery tasks",
        "-d": "echo",
        "-m": "1",
        "-w": "1,2",
    }
    rest = list(others)
    while len(rest) > 1 and rest[0] in {*chosen, "-b"}:
        chosen[rest[0]] = rest[1]
        rest = rest[2:]
    return [word for pair in chosen.items() if pair[1] for word in pair] + rest


def at(bed: Bed, place: Place, *arguments: str) -> str:
    """Run docker against a host's engine, or the one here; return what it printed."""
    if place is None:
        return docker(*arguments).stdout
    return bed.inside(place, "docker", *arguments).stdout


class ProcessWatch(threading.Thread):
    """Collects the command lines of all processes of this machine, those in the hosts and containers too."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen: set[str] = set()
        self._ended = threading.Event()

    def run(self) -> None:
        """Look 20 times a second."""
        while not self._ended.wait(0.05):
            for directory in Path("/proc").glob("[0-9]*"):
                try:
                    self.seen.add(
                        (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    )
                except OSError:
                    continue  # it has ended

    def __enter__(self) -> ProcessWatch:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()
