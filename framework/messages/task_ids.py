"""Identity of tasks and attempts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from framework.errors import MessageError
from framework.space.values import Value, canonical

TASK_DIGITS = 16
LAST_ATTEMPT = 2**31 - 1  # the greatest number of an attempt
_TASK = re.compile(f"[0-9a-f]{{{TASK_DIGITS}}}")
_ATTEMPT = re.compile(r"[1-9][0-9]{0,9}")


def task_id(command: Sequence[str], parameters: Mapping[str, Value], function: str | None = None) -> str:
    """The identity of a task: 16 hex digits of the SHA-256 of what runs and with which metaparameters.

    Independent of the order of the metaparameters; 1, 1.0, true and "1" are different values.
    """
    what = {"function": function} if function is not None else {"command": list(command)}
    content = canonical({**what, "parameters": dict(parameters)})
    return hashlib.sha256(content.encode()).hexdigest()[:TASK_DIGITS]


def is_task_id(value: object) -> bool:
    return isinstance(value, str) and _TASK.fullmatch(value) is not None


def is_attempt_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LAST_ATTEMPT


@dataclass(frozen=True, order=True)
class AttemptId:
    """One attempt of one task; as text TASK.NUMBER, as in 0123456789abcdef.2."""

    task: str
    number: int  # from 1

    def __str__(self) -> str:
        return f"{self.task}.{self.number}"

    @classmethod
    def parse(cls, text: object) -> AttemptId:
        """Raises MessageError for anything but the text of an attempt."""
        task, _, number = text.partition(".") if isinstance(text, str) else ("", "", "")
        if not is_task_id(task) or not _ATTEMPT.fullmatch(number) or not is_attempt_number(int(number)):
            raise MessageError(f"not the name of an attempt: {text!r:.100}")
        return cls(task, int(number))
