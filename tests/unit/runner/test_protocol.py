"""Protocol: messages in pieces, and what is none."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.runner.protocol import Lines, encode

TEXTS = st.text(st.characters(codec=None), max_size=20)
MESSAGES = st.lists(st.dictionaries(TEXTS, st.none() | st.integers() | TEXTS | st.lists(TEXTS)), max_size=5)


@given(MESSAGES, st.lists(st.integers(1, 30)))
def test_messages_arrive_in_whatever_pieces(messages: list[dict[str, object]], sizes: list[int]) -> None:
    stream = b"".join(map(encode, messages))
    lines, found = Lines(), []
    for size in sizes:
        found += lines.take(stream[:size])
        stream = stream[size:]
    found += lines.take(stream)
    assert found == messages


def test_a_message_is_one_line() -> None:
    assert encode({"text": "a\nb\r\u2028"}) == b'{"text":"a\\nb\\r\\u2028"}\n'


def test_nothing_is_taken_before_its_line_is_complete() -> None:
    lines = Lines()
    assert lines.take(b'{"a": 1') == []
    assert lines.take(b"}") == []
    assert lines.take(b"\n") == [{"a": 1}]
    assert lines.take(b"") == []


@pytest.mark.parametrize(
    "line", [b"", b"x", b"[1]", b"5", b"null", b'{"a":', b"\xff", b"{}{}", b"[" * 100_000, b"9" * 10_000]
)
def test_what_is_no_message_is_an_error_of_one_kind(line: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - Python's own messages
        Lines().take(line + b"\n")


def test_a_line_that_does_not_end_is_an_error() -> None:
    lines = Lines(longest=1000)
    assert lines.take(b" " * 1000) == []
    with pytest.raises(ValueError, match="a line of more than 1000 bytes"):
        lines.take(b" ")


def test_a_line_may_be_as_long_as_the_metrics_of_a_task() -> None:
    message = {"metrics": {f"name {number}": "x" * 1000 for number in range(1000)}}
    assert Lines().take(encode(message)) == [json.loads(json.dumps(message))]
