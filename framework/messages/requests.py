"""Control requests: files in the data directory of the master."""

from __future__ import annotations

import json
import logging
import math
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from framework.errors import FrameworkError
from framework.files import read_regular, write_atomically

log = logging.getLogger(__name__)

Action: TypeAlias = Literal["cancel", "pause", "resume", "reload", "again", "drain"]
# Of the tasks that have ended: those that failed, those done by older code or in another image, or all.
Which: TypeAlias = Literal["failed", "outdated", "all"]

ANSWER_SECONDS = 15.0
DRAIN_SECONDS = 60.0  # for which one request drains hosts; who wants more repeats it
AGAIN_SECONDS = 600.0  # the master goes through the whole sweep for it
LONGEST_REQUEST = 64 * 2**20  # bytes; one that names a million tasks has half of them


@dataclass(frozen=True)
class ControlRequest:
    """One request.

    cancel: end `tasks` for good · pause: send nothing more, and stop what runs · resume: send tasks again ·
    reload: the journal was changed by another process · again: run `tasks` although they have ended, or the
    tasks of the sweep that `which` selects · drain: send `hosts` nothing more for `seconds`, and have what
    waits there handed back; with 0 seconds, send them tasks again
    """

    action: Action
    tasks: tuple[tuple[int, str], ...] = ()  # number of the combination, task
    which: Which | None = None
    hosts: tuple[str, ...] = ()
    seconds: float = 0.0


def hand_in(directory: Path, request: ControlRequest) -> Path:
    """Write a request for the master; returns its file, which the master removes. Raises FrameworkError."""
    file = directory / f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}.json"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps(asdict(request)))
    except OSError as error:
        raise FrameworkError(f"{directory}: the request cannot be written: {error.strerror}") from error
    return file


def ask(directory: Path, request: ControlRequest, timeout: float = ANSWER_SECONDS) -> None:
    """Hand in a request and wait until the master has executed it; raises FrameworkError if it does not."""
    file = hand_in(directory, request)
    deadline = time.monotonic() + timeout
    while file.exists():
        if time.monotonic() > deadline:
            file.unlink(missing_ok=True)
            raise FrameworkError(
                f"the master has not answered for {timeout:.0f} s, the request was withdrawn: see its log"
            )
        time.sleep(0.1)


def pending(directory: Path) -> list[tuple[Path, ControlRequest]]:
    """The waiting requests, the first one first; files that are none are removed. Raises OSError."""
    found = []
    for file in sorted(directory.glob("*.json")):
        try:
            found.append((file, _parse(read_regular(file, LONGEST_REQUEST))))
        except FileNotFoundError:
            pass  # it was withdrawn
        except (ArithmeticError, KeyError, RecursionError, TypeError, ValueError) as error:
            log.warning("%s is not a request (%r): removed", file, error)
            file.unlink(missing_ok=True)
    return found


def _parse(text: bytes) -> ControlRequest:
    content = json.loads(text)
    if content["action"] not in get_args(Action):
        raise ValueError(f"unknown action {content['action']!r}")
    which = content.get("which")
    if which not in (None, *get_args(Which)):
        raise ValueError(f"unknown tasks {which!r}")
    tasks = tuple((int(number), str(task)) for number, task in content["tasks"])
    hosts, seconds = tuple(map(str, content.get("hosts", ()))), float(content.get("seconds", 0))
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError(f"{seconds} seconds")
    return ControlRequest(content["action"], tasks, which, hosts, seconds)
