"""Protocol of worker and runner: lines of JSON over a Unix socket.

The worker listens, in a directory that the runner's container has read-only: no task can put another socket
in its place. The runner connects, and begins anew whenever the connection ends. A task may connect too, as it
is the same user; so the worker has a key that no task can read, and gives it to the first runner that comes
while it has none. From then on the runner shows it. Either side may die at any time.

Runner to worker, each with `event`:
  hello     version, incarnation (of this process), key (None: it has none yet), environment, image, process
  held      attempt, context, started, ended: one for each attempt of its log, after `welcome`; `ended` is
            the outcome, "running", or "lost" (its processes ended with an earlier runner)
  synced    all held ones have been named
  taken     attempt: it is in the log on the disk, so the message that brought it can be acknowledged
  refused   attempt, reason: the host is short of something; it was not begun, and is forgotten
  started   attempt, when (Unix time)
  metrics   attempt, metrics, reports
  exited    attempt: nothing of it runs any more; the outcome follows when the disk holds it
  ended     attempt, context, started, execution (exit_code, seconds, state, reason, metrics)
Worker to runner, each with `do`:
  welcome   key
  run       jobs: fields of Job; an attempt that the runner holds is answered as in `held`
  stop      attempts: end them
  forget    attempts: their results are kept; until then the runner names them to each new connection
  leave     the worker ends; if none has come back in LEAVE_SECONDS, the runner stops what runs

An attempt is given → started → exited → ended → forgotten. New fields may be added; both sides ignore those
that they do not know, as a worker of a newer framework meets a runner that still has tasks.
"""

from __future__ import annotations

import json
from typing import Any

VERSION = 1
LEAVE_SECONDS = 20.0  # less than a lease: then the master sends what ran here to other hosts
LONGEST_LINE = 2**26  # bytes


def encode(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


class Lines:
    """Messages in a stream of bytes that arrives in pieces."""

    def __init__(self, longest: int = LONGEST_LINE) -> None:
        self.longest = longest  # bytes of a line
        self._partial = b""

    def take(self, chunk: bytes) -> list[dict[str, Any]]:
        """Return the messages that `chunk` completes. Raises ValueError for anything but messages."""
        *lines, self._partial = (self._partial + chunk).split(b"\n")
        if len(self._partial) > self.longest:
            raise ValueError(f"a line of more than {self.longest} bytes")
        try:
            messages = [json.loads(line) for line in lines]
        except RecursionError as error:
            raise ValueError("a line that is nested too deeply") from error
        if not all(isinstance(message, dict) for message in messages):
            raise ValueError("a line that is no object")
        return messages
