"""Results: handed over, then written into the directories of their attempts.

What a full disk prevents is tried again, and what a crash has prevented is done at the next start.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from framework.errors import FrameworkError
from framework.files import AttemptFiles, WorkerFiles, read_regular, remove_unfinished, write_atomically
from framework.messages.assignment import Assignment, AttemptResult
from framework.messages.checks import LONGEST_REASON
from framework.messages.identity import Identity
from framework.messages.queues import LONGEST_MESSAGE
from framework.messages.task_ids import AttemptId
from framework.messages.worker_events import Message, WorkerEvent
from framework.worker.held_attempts import HeldAttempt

log = logging.getLogger(__name__)

RETRY_SECONDS = 5.0  # between two tries of what a full disk has prevented


class Publisher(Protocol):
    """The way from a worker to the master."""

    def publish_event(self, event: WorkerEvent, /) -> None:
        """Send an event when possible; it is lost if this process dies first."""

    def deliver_result(self, attempt: AttemptId, result: Message, on_kept: Callable[[], None], /) -> None:
        """Have the master receive a result; call `on_kept` once that is certain, whoever dies.

        Raises OSError if it cannot be kept.
        """


class Results:
    """Results from the end of their attempts until they are kept. Not for several threads at a time.

    `writes`: the directories of attempts get results too: whoever finds one there knows that the publisher
    has kept it. A local run needs none, as its runner keeps each until the journal has it. `on_kept` is
    called, from any thread, when the runner need not keep the outcome of an attempt any more.
    """

    def __init__(
        self,
        identity: Identity,
        files: WorkerFiles,
        publisher: Publisher,
        writes: bool,
        disk_shortage: Callable[[], str],
        on_kept: Callable[[AttemptId], None],
    ) -> None:
        self._identity = identity
        self._files = files
        self._publisher = publisher
        self._writes = writes
        self._disk_shortage = disk_shortage
        self._on_kept = on_kept
        self._unkept: list[HeldAttempt] = []  # outcomes that a full disk keeps from being kept
        self._retry_at = 0.0

    def make(self, held: HeldAttempt, execution: Mapping[str, Any], image: str) -> AttemptResult:
        """The result of an attempt; its reason names what the disk lacks, which may be why it failed."""
        reason = execution["reason"][:LONGEST_REASON]
        if execution["state"] == "failed" and (shortage := self._disk_shortage()):
            reason = f"{reason[: LONGEST_REASON - len(shortage) - 2]}; {shortage}"
        return AttemptResult(
            task=held.assignment.task,
            attempt=held.assignment.attempt,
            host=self._identity.host,
            state=execution["state"],
            started=time.time() if held.started is None else held.started,
            seconds=execution["seconds"],
            exit_code=execution["exit_code"],
            reason=reason,
            metrics=execution["metrics"],
            code=held.code,
            image=image,
            infrastructure=self._identity.infrastructure,
            project=self._identity.project,
        )

    def keep(self, held: HeldAttempt) -> bool:
        """Keep the outcome of an attempt; False if it cannot be kept now, and will be due again.

        Spool first: from then on the result reaches the master, whatever happens to this process. The runner
        keeps it until then. A lost attempt has no result in its directory: it may come after all.
        """
        assert held.outcome is not None
        message = held.outcome.to_message()
        try:
            self._publisher.deliver_result(held.id, message, lambda: self._on_kept(held.id))
            if held.outcome.state != "lost":
                self._write(self._files_of(held.assignment), message)
        except OSError as error:
            log.error("the result of task %s cannot be kept (%s): waiting for room", held.id, error)
            self._unkept.append(held)
            self._retry_at = time.monotonic() + RETRY_SECONDS
            return False
        return True

    def take_due(self) -> list[HeldAttempt]:
        """The attempts whose outcome could not be kept, if it is time to try again."""
        if time.monotonic() < self._retry_at:
            return []
        due, self._unkept = self._unkept, []
        return due

    def deliver_again(self, assignment: Assignment) -> bool:
        """Have the master receive the result of an attempt that has ended here; False if there is none."""
        kept = _read(self._files_of(assignment))
        if kept is None:
            return False
        ours = {"infrastructure": self._identity.infrastructure}
        self._publisher.deliver_result(assignment.id, kept | ours, lambda: None)
        return True

    def has_kept(self, assignment: Assignment) -> bool:
        """True if the result of an attempt is kept, and the publisher has it."""
        return self._writes and self._files_of(assignment).result.exists()

    def _files_of(self, assignment: Assignment) -> AttemptFiles:
        return self._files.attempt(assignment.task, assignment.attempt)

    def _write(self, files: AttemptFiles, message: Message) -> None:
        """Write result.json, if it is for others than the journal beside it."""
        if not self._writes:
            return
        try:
            files.directory.mkdir(parents=True, exist_ok=True)  # missing if it could not be started
            write_atomically(files.result, json.dumps(message), fsync=True)
        except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
            # The task has put something else there; the publisher has the result, which need not wait for it.
            log.error("%s cannot be written: %s", files.result, error)


def finish_earlier_results(files: WorkerFiles) -> None:
    """Complete what a crash left between the spool and the directories of attempts.

    Call it before anything is spooled: what was being written into the spool is removed.
    """
    try:
        remove_unfinished(files.spool)
    except OSError as error:
        log.error("%s: what a crash has left cannot be removed: %s", files.spool, error)
    for spooled in files.spool.glob("*.json"):
        try:
            content = read_regular(spooled, LONGEST_MESSAGE)
            result = AttemptResult.from_message(json.loads(content))
            attempt = files.attempt(result.task, result.attempt)
            if not attempt.result.exists() and result.state != "lost":
                attempt.directory.mkdir(parents=True, exist_ok=True)
                write_atomically(attempt.result, content, fsync=True)
        except (FrameworkError, ValueError, OSError, RecursionError) as error:
            log.error("%s cannot be copied into the directory of its attempt: %s", spooled, error)


def _read(files: AttemptFiles) -> dict[str, Any] | None:
    """The result in the directory of an attempt; None if there is none.

    The power of the host may have torn it, and the task may have replaced it: then it is none.
    """
    try:
        content = read_regular(files.result, LONGEST_MESSAGE)
        return AttemptResult.from_message(json.loads(content)).to_message()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (FrameworkError, ValueError, OSError, RecursionError) as error:
        log.error("%s is not a result (%s)", files.result, error)
        return None
