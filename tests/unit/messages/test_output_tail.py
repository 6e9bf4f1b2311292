"""Tail of an attempt's output: what a host may answer."""

from __future__ import annotations

from typing import Any

import pytest

from framework.errors import MessageError
from framework.messages.output_tail import LONGEST_TAIL, OutputTail


def test_a_tail_arrives_as_it_was_sent() -> None:
    tail = OutputTail("loss=1\n" * 9, "x" * LONGEST_TAIL)
    assert OutputTail.from_message(tail.to_message()) == tail


@pytest.mark.parametrize(
    "message",
    [
        None, [], "text", {}, {"stdout": "x"}, {"stdout": "x", "stderr": 1}, {"stdout": "x", "stderr": None},
        {"stdout": "x" * (LONGEST_TAIL + 1), "stderr": ""}, {"stdout": "", "stderr": "", "more": ""},
    ],
)  # fmt: skip
def test_nothing_else_is_a_tail(message: Any) -> None:
    with pytest.raises(MessageError):
        OutputTail.from_message(message)


def test_a_worker_may_say_why_there_is_none() -> None:
    with pytest.raises(MessageError, match=r"^no output of it: it was removed$"):
        OutputTail.from_message({"error": "no output of it: it was removed"})
