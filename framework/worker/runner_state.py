"""State of the runner: whether it is there, and what it has said of itself."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Protocol

from framework.messages.task_ids import AttemptId

LOST_SECONDS = 5.0  # for which a runner that has gone may come back with what it ran


class Runner(Protocol):
    """The way from a worker to its runner; see framework.runner.protocol."""

    def send(self, **message: Any) -> None:
        """Send a message; it is lost if the connection has ended."""


class RunnerState:
    """No runner, one that is still naming what it holds, or one that has. Not for several threads at a time.

    `image`: the one that its tasks run in, unless it names another one. `container`: where it runs; empty if
    it is a child of this process. `environment`: that of its tasks, until it names another one.
    """

    def __init__(self, image: str, container: str, environment: Mapping[str, str] | None = None) -> None:
        self.image = self._own_image = image
        self._named_image = ""
        self._mounts: str | None = None  # None: it does not say which it has
        self.environment = environment or {}
        self.is_refused = False  # True: none comes but one whose key its worker does not know
        self.container = container
        self._runner: Runner | None = None  # None: there is none, or it has not said yet what it holds
        self._connecting: Runner | None = None  # the one that is saying it
        self._named: set[AttemptId] = set()  # what it has named so far
        self._gone_at: float | None = time.monotonic()
        self._has_left = False  # True: it, or the next one, is to be told that this worker ends

    @property
    def is_there(self) -> bool:
        """True if there is a runner, and what it holds is known."""
        return self._runner is not None

    @property
    def is_lost(self) -> bool:
        """True if it has gone, and has not come back in time."""
        return self._gone_at is not None and time.monotonic() - self._gone_at > LOST_SECONDS

    @property
    def trouble(self) -> str:
        """The reason why nothing can run, and what to do; empty if there is none."""
        if self.is_there:
            return ""
        if self.is_refused:
            return (
                "its runner shows a key that its worker does not know: it gets no tasks; "
                f"run docker restart {self.container} there"
            )
        advice = f"; see docker logs {self.container} there" if self.container else ""
        return f"its runner does not answer: it gets no tasks{advice}"

    def connect(self, runner: Runner, hello: Mapping[str, Any]) -> None:
        """Begin to listen to a runner."""
        self._runner, self._connecting, self._named = None, runner, set()
        self.is_refused = False
        self.environment = dict(hello.get("environment") or {})
        self._named_image = hello.get("image") or ""
        self.image = self._named_image or self._own_image
        self._mounts = hello.get("mounts")

    def mismatch(self, image: str, mounts: str | None) -> str:
        """What of the runner's is not as the current files are for, and what to do; empty if nothing is.

        `mounts`: see mounts_text(); None if they are not known.
        """
        other = ""
        if self._named_image and image and self._named_image != image:
            other = "another image than"
        elif self._mounts is not None and mounts is not None and self._mounts != mounts:
            other = "other mounts than"
        if not other:
            return ""
        return (
            f"its runner has {other} the files that were pushed: it gets no tasks; "
            "./infrainit.sh -f replaces it"
        )

    def disconnect(self) -> None:
        self._runner = self._connecting = None
        self._gone_at = time.monotonic()

    def name(self, attempt: AttemptId) -> None:
        """Note that it holds an attempt."""
        self._named.add(attempt)

    def has_named(self, attempt: AttemptId) -> bool:
        return attempt in self._named

    def sync(self) -> None:
        """It has named all that it holds: from now on it is there."""
        self._runner, self._connecting = self._connecting, None
        self._gone_at = None
        if self._has_left:
            self.leave()

    def leave(self) -> None:
        """Tell it, and any that connects later, that this worker ends."""
        self._has_left = True
        if self.is_there:
            self.send(do="leave")

    def send(self, **message: Any) -> None:
        """Send a message, to a runner that is still naming what it holds, too."""
        if runner := self._runner or self._connecting:
            runner.send(**message)
