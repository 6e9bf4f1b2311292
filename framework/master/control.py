"""Control requests of the command line: executes them, and acknowledges each."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from framework.messages.requests import ControlRequest, pending
from framework.scheduler.sweep_state import Sweep

log = logging.getLogger(__name__)


class Control:
    """Executes the requests in a directory; the command line waits until the file of its request is gone."""

    def __init__(self, directory: Path, sweep: Sweep) -> None:
        self._directory = directory
        self._sweep = sweep

    def execute(self) -> list[Path]:
        """Execute what is asked for; returns the files to be acknowledged once the status shows it."""
        executed = []
        try:
            waiting = pending(self._directory)
            self._sweep.end_rerun_unless([file.name for file, _ in waiting])
            for file, request in waiting:
                # A drain is asked for again and again; its beginning and its end are logged by the sweep.
                if request.action != "drain" and not self._sweep.has_rerun(file.name):
                    tasks = " ".join(task for _, task in request.tasks)
                    log.info("request: %s %s", request.action, tasks or request.which or "")
                if not self._execute(file.name, request):
                    break
                executed.append(file)
        except OSError as error:
            log.error("a request cannot be executed: %s", error)
        return executed

    def _execute(self, key: str, request: ControlRequest) -> bool:
        """Execute one request; False if more turns are needed for it."""
        match request.action:
            case "again" if request.which:
                return self._sweep.advance_rerun(key, request.which)
            case "again":
                self._sweep.run_again(request.tasks)
            case "cancel":
                self._sweep.cancel(request.tasks)
            case "pause":
                self._sweep.pause("on request", is_requested=True)
            case "resume":
                self._sweep.resume()
            case "drain":
                self._sweep.drain(request.hosts, request.seconds)
            case "reload":
                self._sweep.load()
        return True

    @staticmethod
    def acknowledge(executed: Sequence[Path]) -> None:
        """Remove the files of requests that were executed."""
        for file in executed:
            with suppress(OSError):  # it will be executed again, which does no harm
                file.unlink(missing_ok=True)
