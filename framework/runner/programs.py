"""Programs that an attempt can run: a command, or the call of a function."""

import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from framework.files import AttemptFiles
from framework.project.project import Project
from framework.runner.functions import Call, Functions
from framework.runner.process import End, Process, end_of, raise_oom_score, signal_group
from framework.space.values import Value


class Program(Protocol):
    """Program that can be started for an attempt."""

    def start(self, files: AttemptFiles, project_path: Path, environment: Mapping[str, str]) -> Process:
        """Start it in files.work with exactly this environment. Raises OSError or ValueError."""

    def describe_start_error(self, error: Exception) -> str:
        """Return what the user is told when start() raised `error`."""


class Programs:
    """Programs of a worker's tasks, and the servers that their functions are called in."""

    def __init__(self) -> None:
        self._functions = Functions()

    def of(
        self, project: Project, parameters: Mapping[str, Value], environment: Mapping[str, str]
    ) -> Program:
        """Return the program of the task with these metaparameters and this environment.

        Raises ProjectError if the command names a variable that the environment lacks.
        """
        if project.function is None:
            return Command(project.argv(parameters, environment))
        return Call(self._functions, project.function, parameters)

    def close(self) -> None:
        """End the servers of functions; running calls go on."""
        self._functions.close()


class Command:
    """Program with its arguments."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._argv = argv

    def start(
        self,
        files: AttemptFiles,
        project_path: Path,  # noqa: ARG002  # its files are linked in the working directory
        environment: Mapping[str, str],
    ) -> Process:
        # In append mode, a program that opens its /dev/stdout again overwrites nothing.
        with files.stdout.open("ab") as stdout, files.stderr.open("ab") as stderr:
            process = subprocess.Popen(
                self._argv,
                cwd=files.work,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        return _CommandProcess(process)

    def describe_start_error(self, error: Exception) -> str:
        program = f"{self._argv[0]!r:.100}"
        match error:
            case FileNotFoundError():
                return (
                    f"command not found: {program}; it must be in the image or in the project, "
                    "and the interpreter in its #! line must exist"
                )
            case PermissionError():
                return f"{program} is not executable; run chmod +x on it"
            case OSError():
                return f"{program} cannot be executed: {error.strerror}"
            case _:
                return f"{program} cannot be executed: {error!s:.200}"


class _CommandProcess:
    """Process of a command."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._waiter = _Waiter(process.pid)
        raise_oom_score(process.pid)

    @property
    def pid(self) -> int:
        return self._process.pid

    def end_within(self, seconds: float) -> End | None:
        if self._waiter.ident is None:
            self._waiter.start()
        self._waiter.join(seconds)
        return self._waiter.end

    def close(self) -> None:
        signal_group(self.pid, signal.SIGKILL)
        self._process.wait()


class _Waiter(threading.Thread):
    """Thread that waits for the end of a process."""

    def __init__(self, pid: int) -> None:
        super().__init__(name=f"end of process {pid}", daemon=True)
        self._pid = pid
        self.end: End | None = None

    def run(self) -> None:
        self.end = end_of(self._pid)
