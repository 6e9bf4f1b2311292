"""Errors of the framework: users see the message of a FrameworkError, never a traceback."""

from collections.abc import Callable, Sequence


class FrameworkError(Exception):
    """Something failed that the user can understand: says what, where, and what to do."""

    exit_code = 1


class UsageError(FrameworkError):
    """What was asked for cannot be done as it was asked."""

    exit_code = 2


class ProjectError(UsageError):
    """A project cannot be used; `problems` are all of them, one line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class MessageError(FrameworkError):
    """A message from the broker is not exactly what it has to be; it must be set aside, never executed."""


class BrokerBlocked(FrameworkError):
    """The broker takes no messages now: its memory or its disk is running out.

    `lasts` waits a moment and says whether that is still so.
    """

    def __init__(self, lasts: Callable[[], bool]) -> None:
        super().__init__("the broker takes no messages: its memory or its disk is running out (see its log)")
        self.lasts = lasts


class JournalError(FrameworkError):
    """The journal cannot be read or written now: a full disk, a lock.

    Nothing of the batch was kept; it can be tried again later.
    """


class UnknownTaskError(FrameworkError):
    """The journal has no such task."""
