"""Tail of an attempt's output: what the worker that has it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from framework.errors import MessageError
from framework.messages.checks import Check, checked

LONGEST_TAIL = 8192  # bytes of each file


@dataclass(frozen=True)
class OutputTail:
    """The last lines of an attempt's stdout and stderr, as the program wrote them."""

    stdout: str
    stderr: str

    def to_message(self) -> dict[str, str]:
        return dict(vars(self))

    @classmethod
    def from_message(cls, message: object) -> OutputTail:
        """Raises MessageError if it is not exactly a tail; the error's text if it says why there is none."""
        if isinstance(message, dict) and isinstance(message.get("error"), str):
            raise MessageError(message["error"])
        fields: dict[str, Any] = checked(message, _FIELDS)
        return cls(fields["stdout"], fields["stderr"])


def _is_tail(value: object) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_TAIL


_FIELDS: dict[str, Check] = {"stdout": _is_tail, "stderr": _is_tail}
