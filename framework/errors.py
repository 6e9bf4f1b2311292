"""Errors of the framework: users see the message of a FrameworkError, never a traceback."""

from __future__ import annotations

from collections.abc import Callable, Sequence


class FrameworkError(Exception):
    """Failure that the user can understand; the message says what failed, where, and what to do."""

    exit_code = 1


class UsageError(FrameworkError):
    """Request that cannot be executed as it was made: wrong usage, or a project that is invalid."""

    exit_code = 2


class ProjectError(UsageError):
    """Invalid project; `problems` has one line for each of its mistakes."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class MessageError(FrameworkError):
    """Message from the broker that is malformed; it must be quarantined, never executed."""


class BrokerBlocked(FrameworkError):
    """Refusal of the broker to take messages, because its memory or its disk is running out.

    `lasts` waits a moment and returns whether the broker still refuses.
    """

    def __init__(self, lasts: Callable[[], bool]) -> None:
        super().__init__("the broker takes no messages: its memory or its disk is running out (see its log)")
        self.lasts = lasts


class JournalError(FrameworkError):
    """Failure to read or write the journal now, such as a full disk or a lock.

    Nothing of the batch was written; it can be repeated later.
    """


class UnknownTaskError(FrameworkError):
    """Task that the journal does not have."""
