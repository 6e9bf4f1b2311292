"""Setup of a host for a version of the code, which runs before its first task there."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Collection, Mapping
from typing import Any

from framework.files import AttemptFiles, Code, WorkerFiles, write_atomically
from framework.project.project import Project
from framework.runner.environment import attempt_variables
from framework.runner.job import Job
from framework.worker.runner_state import RunnerState

log = logging.getLogger(__name__)

RETRY_SECONDS = 5.0  # between two tries to begin what the host was short of something for
_PREFIX = "setup-"  # of its name as an attempt of the runner; the version follows


def setup_files(files: WorkerFiles, version: str) -> AttemptFiles:
    """The files of the setup for a version of the code; their working directory is $SETUP_DIR."""
    return AttemptFiles(files.setup / version, f"{_PREFIX}{version}", 1)


def setup_variables(files: WorkerFiles, version: str, project: Project) -> dict[str, str]:
    """Variables by which setup and tasks find what the setup has made; none without a setup."""
    return {"SETUP_DIR": str(setup_files(files, version).work)} if project.setup else {}


class Setup:
    """The setup of this host, which the runner runs as it runs attempts. Not for several threads at a time.

    A setup that is interrupted begins again, and finds what it had written. One that has failed does not,
    until there is another version of the code, or another worker.
    """

    def __init__(self, files: WorkerFiles, runner: RunnerState) -> None:
        self._files = files
        self._runner = runner
        self._running: set[str] = set()  # versions that the runner was given
        self._named: set[str] = set()  # versions that a runner which connects holds
        self._failures: dict[str, str] = {}  # by version: the reason
        self._done = _read_done(files)  # the last version whose setup has succeeded
        self._retry_at = 0.0

    def is_done(self, code: Code, project: Project | None) -> bool:
        """True if tasks of this version may begin; a project that is wrong has no setup."""
        return project is None or not project.setup or self._done == code.version

    def failure(self, code: Code) -> str:
        """The reason why no task of this version can begin here; empty if there is none."""
        return self._failures.get(code.version, "")

    def notice(self, code: Code) -> str:
        """What people should know while the setup for this version runs."""
        return "its setup runs: it gets tasks after that" if code.version in self._running else ""

    def begin(self, code: Code, project: Project, in_use: Collection[str]) -> None:
        """Have the setup run, unless it does, or has failed.

        What the setup has made for other versions goes, except for those `in_use`.
        """
        version = code.version
        if version in self._running or version in self._failures or time.monotonic() < self._retry_at:
            return
        self.stop()  # what runs for another version
        self._remove_others({version, *self._running, *in_use})
        files = setup_files(self._files, version)
        own = project.variables
        given = {**self._runner.environment, **own.values}
        variables = setup_variables(self._files, version, project)
        job = Job(
            attempt=f"{files.task}.{files.attempt}",
            directory=str(files.directory),
            project_path=str(code.project_path),
            environment={**own.values, **attempt_variables(files, code.path, given, variables)},
            command=list(project.setup),
            timeout=project.setup_timeout,
            wanted=[each.name for each in own.wanted],
            context={"code": version},
        )
        self._running.add(version)
        log.info("the setup for version %s begins", version)
        self._runner.send(do="run", jobs=[job.to_message()])

    def stop(self) -> None:
        """Stop what runs; it begins again when a task waits for it."""
        if self._running:
            self._runner.send(do="stop", attempts=[_name(version) for version in self._running])

    # Events of the runner.

    def connect(self) -> None:
        """Note that a runner is about to name what it holds."""
        self._named = set()

    def sync(self) -> None:
        """Note that it has named all: what it has not named begins again."""
        self._running &= self._named

    def takes(self, event: Mapping[str, Any]) -> bool:
        """Take an event of the runner if it is about a setup; False if it is not."""
        name = event.get("attempt")
        if not isinstance(name, str) or not name.startswith(_PREFIX):
            return False
        version = name[len(_PREFIX) :].partition(".")[0]
        match event["event"]:
            case "held":
                self._named.add(version)
                self._on_held(version, event["ended"])
            case "ended":
                self._on_held(version, event["execution"])
            case "refused":
                log.error("the setup cannot be started (%s): waiting for room", event["reason"])
                self._running.discard(version)
                self._retry_at = time.monotonic() + RETRY_SECONDS
        return True

    def _on_held(self, version: str, ended: Any) -> None:
        if ended == "running":
            self._running.add(version)
            return
        self._running.discard(version)
        if ended == "lost" or ended["state"] == "stopped":
            log.warning("the setup for version %s was interrupted; it begins again", version)
        elif ended["state"] == "done":
            self._keep_done(version)
        else:
            self._failures[version] = self._explain(version, str(ended["reason"]))
            log.error("this host %s", self._failures[version])
        self._runner.send(do="forget", attempts=[_name(version)])

    def _explain(self, version: str, reason: str) -> str:
        file = setup_files(self._files, version).stderr
        container = self._runner.container
        if not container:
            return f"failed its setup: {reason}; log: {file}"
        worker = container.removesuffix("-runner") + "-worker"
        return (
            f"failed its setup: {reason}; its log: docker exec {worker} cat {file}; "
            f"to try again: docker restart {worker}"
        )

    def _keep_done(self, version: str) -> None:
        self._done = version
        try:
            write_atomically(self._files.setup_done, version, fsync=True)
        except OSError as error:  # the next worker has it run again
            log.error("%s: %s", self._files.setup_done, error.strerror)

    def _remove_others(self, kept: Collection[str]) -> None:
        try:
            others = [each for each in self._files.setup.iterdir() if each.name not in kept]
        except OSError:
            return
        for other in others:  # it may be large
            threading.Thread(target=shutil.rmtree, args=(other, True), daemon=True).start()


def _name(version: str) -> str:
    return f"{_PREFIX}{version}.1"


def _read_done(files: WorkerFiles) -> str:
    try:
        version = files.setup_done.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
    return version if setup_files(files, version).work.is_dir() else ""
