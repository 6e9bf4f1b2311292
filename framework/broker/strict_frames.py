"""Frames of messages: what cannot be decoded, or would be unpacked, is marked malformed

py-amqp decodes the properties of a message, and kombu unpacks its body, before our code gets it. A message on
which they fail, or run out of memory, would end the program without being acknowledged, and do so again after
each restart. Here it gets other properties, which say what is wrong: the master quarantines it, the consumer
of a worker rejects it, and the connection goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import pack, unpack_from
from typing import Any, TypeAlias

from amqp import method_framing, spec
from amqp.serialization import decode_properties_basic, dumps

from framework.messages import queues

Frame: TypeAlias = tuple[int, int, bytes]  # type, channel, content

_METHOD, _HEADER = 1, 2  # types of frames
_BEFORE_PROPERTIES = 12  # bytes of a header: class, weight, size of the body
_BEFORE_TAG = 4  # bytes of a method: class, method
_AFTER_TAG = 9  # bytes of a delivery: its number, and whether it is a repetition
_HAS_HEADERS = 0x2000  # flag of the property
_MOST_NESTED = 10  # tables and lists in each other; the broker and Celery need four
# Others are codecs of Python's, of which some unpack what they decode.
_ENCODINGS = frozenset({"", "utf-8", "us-ascii", "ascii", "binary", "ascii-8bit"})


def frame_handler(connection: Any, callback: Callable[..., None]) -> Callable[[Frame], bool]:
    """The handler of frames of a connection of py-amqp: its own, behind the checks."""
    take: Callable[[Frame], bool] = method_framing.frame_handler(connection, callback)

    def on_frame(frame: Frame) -> bool:
        kind, channel, content = frame
        if kind == _HEADER:
            content = _harmless_header(content)
        elif kind == _METHOD and unpack_from(">HH", content) == spec.Basic.Deliver:
            content = _readable_delivery(content)
        return take((kind, channel, content))

    return on_frame


def _harmless_header(header: bytes) -> bytes:
    """The header of a message, or one that says why it is malformed."""
    try:
        problem = _problem(decode_properties_basic(header, _BEFORE_PROPERTIES)[0])
    except Exception as error:  # anything, RecursionError and OverflowError included: they came from outside
        problem = f"properties that cannot be decoded ({type(error).__name__})"
    if not problem:
        return header
    properties: bytes = pack(">H", _HAS_HEADERS) + dumps("F", [{queues.MALFORMED: problem}])
    return header[:_BEFORE_PROPERTIES] + properties


def _problem(properties: dict[str, Any]) -> str:
    """What is wrong with decoded properties; empty if nothing is."""
    headers = properties.get("application_headers", {})
    if _is_nested(headers, _MOST_NESTED):
        return "headers that are nested too deeply"  # who decodes them next may have less room on its stack
    if headers.get("compression"):
        return "a compressed message"
    encoding = properties.get("content_encoding", "")
    if encoding.lower() not in _ENCODINGS:
        return f"a message in the encoding {encoding!r:.100}"
    return ""


def _is_nested(value: object, levels: int) -> bool:
    """True if `value` holds more than `levels` tables and lists in each other."""
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_nested(each, levels - 1) for each in inner)


def _readable_delivery(method: bytes) -> bytes:
    """The method of a delivery; where its exchange or routing key is not UTF-8, with ? in place of the rest.

    A publisher chooses the routing key freely, if a header CC names the queue.
    """
    exchange = _BEFORE_TAG + 1 + method[_BEFORE_TAG] + _AFTER_TAG
    key = exchange + 1 + method[exchange]
    return method[:exchange] + b"".join(
        method[at : at + 1] + _readable(method[at + 1 : at + 1 + method[at]]) for at in (exchange, key)
    )


def _readable(name: bytes) -> bytes:
    try:
        name.decode()
    except UnicodeDecodeError:
        return name.decode("ascii", "replace").encode("ascii", "replace")  # of the same length
    return name
