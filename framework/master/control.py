"""Control requests of the command line: executes them, and acknowledges each."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from framework.messages.requests import pending
from framework.scheduler.sweep_state import RunningSet

log = logging.getLogger(__name__)


def act_on_requests(directory: Path, running: RunningSet) -> list[Path]:
    """Act on what the command line asks for; the files that are to be removed once it shows."""
    taken = []
    try:
        waiting = pending(directory)
        begun = running.again
        if begun and begun.file not in (file for file, _ in waiting):
            running.begin_anew()  # it was taken back
        for file, request in waiting:
            if running.again is None or running.again.file != file:
                tasks = [task for _, task in request.tasks]
                log.info("asked to %s %s", request.action, " ".join(tasks) or request.which or "")
            match request.action:
                case "again" if request.which:
                    if not running.go_on_again(file, request.which):
                        break
                case "again":
                    running.run_again(request.tasks)
                case "cancel":
                    running.cancel(request.tasks)
                case "stop":
                    running.stop("it was cancelled")
                case "resume":
                    running.resume()
                case "reload":
                    running.load()
            taken.append(file)
    except OSError as error:
        log.error("cannot do what was asked for: %s", error)
    return taken


def answer(taken: Sequence[Path]) -> None:
    """Remove the files of requests that were acted on, which is what the command line waits for."""
    for file in taken:
        with suppress(OSError):  # it will be done again, which does no harm
            file.unlink(missing_ok=True)
