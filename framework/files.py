"""Names of all files and directories, atomic writes, and reads that never wait."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import IO

from framework.errors import FrameworkError

ARGUMENTS_FILE = "arguments.json"  # in the directory of an attempt
SWEEP_FILE = "sweep.json"  # beside results.csv
STATUS_FILE = "status.json"
METRICS_FILE = "metrics.json"  # in a task's directory; the project's own file of this name is not there
LOCAL_RUNS = Path("results/local")  # get_results.sh writes nothing there, and pushes leave out results/
REPOSITORY = "git"  # beside the project in a version of the code: git_commit.sh, and its like in local/


@dataclass(frozen=True)
class ProjectFiles:
    """Files that the framework reads in a project directory."""

    path: Path

    @property
    def settings(self) -> Path:
        return self.path / "project.yml"

    @property
    def parameters(self) -> Path:
        return self.path / "parameters.yml"

    @property
    def results(self) -> Path:
        """Results that get_results.sh brought from the hosts; they are never pushed."""
        return self.path / "results"

    @property
    def sweep(self) -> Path | None:
        """W&B sweep file, if the directory has one and no project.yml."""
        found = [self.path / name for name in ("sweep.yaml", "sweep.yml")]
        return next((file for file in found if file.is_file() and not self.settings.exists()), None)

    @property
    def requirements(self) -> Path:
        """Python packages that the project needs; optional."""
        return self.path / "requirements.txt"


@lru_cache(maxsize=16)
def _version_path(root: Path, target: str) -> Path:
    """The version that a link in `root` with this content leads to. Raises OSError."""
    return (root / target).resolve(strict=True)


@dataclass(frozen=True)
class Code:
    """One version of framework and project: a directory that never changes, named by its content."""

    path: Path

    @classmethod
    def current(cls, root: Path) -> Code:
        """Return the version that `current` under `root` points at now, also after `current` has changed.

        Raises FrameworkError if nothing was pushed to `root` yet.
        """
        link = os.path.join(root, "current")
        try:
            return cls(_version_path(root, os.readlink(link)))
        except OSError as error:
            raise FrameworkError(
                f"{link}: no code here ({error.strerror}); push it with update_files.sh"
            ) from error

    @property
    def version(self) -> str:
        return self.path.name

    @property
    def framework_version(self) -> str:
        if version := self._properties().get("framework"):
            return version
        raise FrameworkError(
            f"{self._file}: has no line 'framework='; push the code again with update_files.sh"
        )

    @property
    def project_path(self) -> Path:
        return self.path / "project"

    @property
    def sweep(self) -> Path | None:
        """The W&B sweep file in the project that was named; None: the project's directory says what runs."""
        name = self._optional_property("sweep")
        return self.project_path / name if name else None

    @property
    def run_cap(self) -> int | None:
        """The largest number of tasks that was given beside the project's files."""
        text = self._optional_property("run_cap")
        return int(text) if text.isdecimal() else None

    @property
    def image(self) -> str:
        """The image in which the tasks of this version run; empty if it was not said."""
        return self._optional_property("image")

    @property
    def _file(self) -> Path:
        return self.path / "VERSION"

    def _optional_property(self, name: str) -> str:
        return self._properties().get(name, "") if self._file.exists() else ""

    def _properties(self) -> dict[str, str]:
        """The lines NAME=VALUE of the file VERSION."""
        try:
            lines = self._file.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise FrameworkError(
                f"{self._file}: {error.strerror}; push the code again with update_files.sh"
            ) from error
        return {
            name: value for name, separator, value in (line.partition("=") for line in lines) if separator
        }


@dataclass(frozen=True)
class MasterFiles:
    """Files of a master."""

    path: Path

    @property
    def journal(self) -> Path:
        return self.path / "journal.sqlite"

    @property
    def status(self) -> Path:
        """Status of the sweep; $STATUS puts it in memory, so that it reports a full disk too."""
        return Path(os.environ.get("STATUS") or self.path / STATUS_FILE)

    @property
    def results(self) -> Path:
        return self.path / "results.csv"

    @property
    def all_results(self) -> Path:
        """Results with those of combinations that were removed from the sweep; written on request."""
        return self.path / "all_results.csv"

    @property
    def sweep(self) -> Path:
        """The results of results.csv with their types, and all attempts; written on request."""
        return self.path / SWEEP_FILE

    @property
    def published(self) -> Path:
        """Directory of what the live page shows; nothing is published where it is missing."""
        return self.path / "published"

    @property
    def requests(self) -> Path:
        """Directory of the command line's requests; the master removes each once it has executed it."""
        return self.path / "requests"

    @property
    def pause(self) -> Path:
        """File that exists while the sweep is paused, and holds the reason; earlier versions named it so."""
        return self.path / "stopped"

    @property
    def drains(self) -> Path:
        """Hosts that are sent nothing more, and until when."""
        return self.path / "drains.json"

    @property
    def events(self) -> Path:
        """Last events of the sweep, one JSON object in each line."""
        return self.path / "events.jsonl"

    @property
    def notified(self) -> Path:
        """Number of the last event that those who want to be told were told of."""
        return self.path / "notified"

    @property
    def quarantine(self) -> Path:
        """Last messages that were quarantined, one JSON object in each line."""
        return self.path / "quarantine.jsonl"


@dataclass(frozen=True)
class AttemptFiles:
    """Files of one attempt of a task, on its worker's disk."""

    directory: Path
    task: str
    attempt: int

    @cached_property
    def stdout(self) -> Path:
        return self.directory / "stdout"

    @cached_property
    def stderr(self) -> Path:
        return self.directory / "stderr"

    @cached_property
    def parameters(self) -> Path:
        """Metaparameters of the task as a JSON object; it is there before the task starts."""
        return self.directory / "parameters.json"

    @cached_property
    def result(self) -> Path:
        """Result of the attempt; it is written last, and so exists only when the attempt has ended."""
        return self.directory / "result.json"

    @cached_property
    def work(self) -> Path:
        """Working directory of the task, its $TASK_DIR."""
        return self.directory / "files"

    @property
    def previous_work(self) -> Path | None:
        """Working directory of the last earlier attempt that ran on this host; None if there is none."""
        numbers = range(self.attempt - 1, 0, -1)
        works = (replace(self, directory=self.directory.parent / str(n), attempt=n).work for n in numbers)
        return next((work for work in works if work.is_dir()), None)

    @cached_property
    def arguments(self) -> Path:
        """The metaparameters as JSON, for a command with ${args_json_file}."""
        return self.directory / ARGUMENTS_FILE

    @cached_property
    def wandb_config(self) -> Path:
        """The metaparameters as wandb.config reads them."""
        return self.directory / "wandb_config.yaml"

    @cached_property
    def metrics(self) -> Path:
        """Metrics that the task writes as a JSON object instead of printing them."""
        return self.work / METRICS_FILE


@dataclass(frozen=True)
class WorkerFiles:
    """Files of a worker."""

    path: Path

    @property
    def spool(self) -> Path:
        """Results that the broker has not confirmed yet."""
        return self.path / "spool"

    @cached_property
    def tasks(self) -> Path:
        return self.path / "tasks"

    @property
    def devices(self) -> Path:
        """Description of devices that replaces those of the host in tests; see CONTRIBUTING.md."""
        return self.path / "devices.json"

    @property
    def link(self) -> Path:
        """Socket on which the worker listens for its runner; its directory is read-only for the runner."""
        return self.path / "link" / "socket"

    @property
    def runner_key(self) -> Path:
        """Key that the runner shows to the worker; not in the runner's container."""
        return self.path / "runner_key"

    @property
    def setup(self) -> Path:
        """Directories of setups, by version of the code."""
        return self.path / "setup"

    @property
    def setup_done(self) -> Path:
        """File with the version of the code whose setup succeeded last; not in the runner's container."""
        return self.path / "setup_done"

    @property
    def runner_log(self) -> Path:
        """Log of the runner; see framework.runner.log."""
        return self.path / "runner" / "log"

    def attempt(self, task: str, number: int) -> AttemptFiles:
        return AttemptFiles(self.tasks / task / str(number), task, number)


@dataclass(frozen=True)
class LocalFiles:
    """Files of a local run: those of a master and of a worker, in one directory."""

    path: Path

    @property
    def master(self) -> MasterFiles:
        return MasterFiles(self.path)

    @property
    def worker(self) -> WorkerFiles:
        return WorkerFiles(self.path)

    @property
    def code(self) -> Path:
        """Versions of the project, as update_files.sh would push them to a host."""
        return self.path / "code"

    @property
    def written(self) -> Path:
        """Files that tasks of earlier runs wrote into their copy of the project, by version and time."""
        return self.path / "written"

    @property
    def project(self) -> Path:
        """File with the path of the project whose runs these are, relative to the directory."""
        return self.path / "project"

    @property
    def lock(self) -> Path:
        """File that is locked while a run uses the directory; holds its process id."""
        return self.path / "lock"


@contextmanager
def atomic_file(path: Path, *, fsync: bool = True, mode: int = 0o644) -> Iterator[IO[bytes]]:
    """Yield a binary file that replaces `path` at the end of the block, or is removed if the block fails.

    With `fsync`, the new file survives a power failure from the end of the block on. It has the mode 0644, as
    the user reads it from outside the container, or `mode`. Raises OSError.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            yield file
            file.flush()
            if fsync:
                os.fsync(descriptor)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    if fsync:
        sync_directory(path.parent)


def write_atomically(path: Path, content: str | bytes, *, fsync: bool = True, mode: int = 0o644) -> None:
    """Write `content` (text as UTF-8) so that readers see the old file or the new one. Raises OSError."""
    with atomic_file(path, fsync=fsync, mode=mode) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def make_directory(path: Path) -> None:
    """Make a directory that survives a power failure, and those above it, unless it exists.

    Raises OSError.
    """
    if not path.is_dir():
        make_directory(path.parent)
        path.mkdir(exist_ok=True)
        sync_directory(path.parent)


def remove_unfinished(directory: Path) -> None:
    """Remove what atomic_file() left in a directory whose writers were killed. Raises OSError.

    Nobody may write there at the moment.
    """
    for file in directory.glob(".*.????????"):
        file.unlink()


def read_regular(path: Path, most: int) -> bytes:
    """The content of a file that a task may have put there, or replaced: regular, of at most `most` bytes.

    It never waits, as opening a named pipe would. Raises OSError; ValueError if it is no such file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("no regular file")
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(most + 1)
    finally:
        os.close(descriptor)
    if len(content) > most:
        raise ValueError(f"longer than {most} bytes")
    return content


def short_path(path: Path) -> Path:
    """Return `path` relative to the current directory if it is below it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def sync_directory(path: Path) -> None:
    """Have the disk hold the names in a directory, too. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
