"""Frames as py-amqp reads them from the socket: no message in them ends the connection, or is unpacked."""

from __future__ import annotations

import bz2
import codecs
import json
import struct
import tracemalloc
from collections.abc import Callable
from struct import pack
from typing import Any

import amqp
import kombu
import pytest
from amqp import method_framing, spec
from amqp.serialization import decode_properties_basic, dumps
from kombu.transport import pyamqp

from framework.broker import strict_frames
from framework.messages import queues

JSON = {"content_type": "application/json", "content_encoding": "utf-8"}
HEADERS = 0x2000  # flag of the property
TIMESTAMP_OF_2_TO_63 = b"\x01tT" + pack(">Q", 2**63)


def table(*items: bytes) -> bytes:
    content = b"".join(items)
    return pack(">I", len(content)) + content


def nested(depth: int) -> bytes:
    content = table()
    for _ in range(depth):
        content = table(b"\x01xF" + content)
    return content


UNDECODABLE = {
    "nested tables": pack(">H", HEADERS) + nested(5000),
    "a type that is not UTF-8": pack(">H", 0x8000) + b"\x02\xff\xfe",
    "an encoding that is not UTF-8": pack(">H", 0x4000) + b"\x02\xff\xfe",
    "a timestamp of 2**63": pack(">H", HEADERS) + table(TIMESTAMP_OF_2_TO_63),
    "a timestamp of the year 30000": pack(">H", HEADERS) + table(b"\x01tT" + pack(">Q", 10**12)),
    "a field of no known type": pack(">H", HEADERS) + table(b"\x01x?"),
    "a table that is longer than the frame": pack(">H", HEADERS) + pack(">I", 2**31),
    "a list in place of a name": pack(">H", HEADERS) + table(b"\x01xA" + pack(">I", 9)),
    "nothing": b"",
}
# What py-amqp raises on them.
FAILURES = (ValueError, OverflowError, IndexError, RecursionError, OSError, struct.error, amqp.AMQPError)
PACKED = bz2.compress(bytes(64 * 2**20))  # a few bytes


class Wire:
    """A channel of a connection that is fed with frames, and a consumer as the master has it."""

    def __init__(self, handler: Callable[..., Any] = strict_frames.frame_handler) -> None:
        connection = amqp.Connection(frame_handler=handler)
        connection._transport = object()
        self._take = handler(connection, connection.on_inbound_method)
        channel = pyamqp.Channel(connection, 1)
        self.received: list[kombu.Message] = []
        self.undecodable: list[kombu.Message] = []
        consumer = kombu.Consumer(
            channel,
            on_message=self.received.append,
            on_decode_error=lambda message, _: self.undecodable.append(message),
            auto_declare=False,
            accept=["json"],
        )
        channel.callbacks["tag"] = consumer._receive_callback

    def deliver(self, properties: bytes, body: bytes, key: bytes = b"results") -> None:
        names = b"\x03tag", pack(">QB", 7, 0), b"\x07reports", bytes([len(key)]) + key
        self._take((1, 1, pack(">HH", *spec.Basic.Deliver) + b"".join(names)))
        self._take((2, 1, pack(">HHQ", spec.Basic.CLASS_ID, 0, len(body)) + properties))
        if body:
            self._take((3, 1, body))


def properties_of(**properties: Any) -> bytes:
    serialized: bytes = amqp.Message(**properties)._serialize_properties()
    return serialized


@pytest.fixture
def wire() -> Wire:
    return Wire()


def test_a_message_of_ours_passes_unchanged(wire: Wire) -> None:
    headers = {"task": "framework.run", "retries": 0, "timelimit": [None, None], "x-death": [{"count": 1}]}
    wire.deliver(properties_of(application_headers=headers, **JSON), b'{"x": 1}')
    (message,) = wire.received
    assert (message.headers, message.payload) == (headers, {"x": 1})
    assert (message.delivery_tag, message.delivery_info["routing_key"]) == (7, "results")


@pytest.mark.parametrize("properties", UNDECODABLE.values(), ids=UNDECODABLE)
@pytest.mark.parametrize("body", [b'{"x": 1}', b""])
def test_properties_that_cannot_be_decoded_are_replaced_by_the_reason(
    wire: Wire, properties: bytes, body: bytes
) -> None:
    with pytest.raises(FAILURES):
        decode_properties_basic(properties, 0)
    wire.deliver(properties, body)
    (message,) = wire.received
    assert "properties that cannot be decoded" in message.headers[queues.MALFORMED]
    assert message.body == (body or "")
    wire.deliver(properties_of(**JSON), b"5")
    assert wire.received[-1].payload == 5, "the connection goes on"


@pytest.mark.parametrize(("depth", "passes"), [(0, True), (9, True), (10, False), (200, False), (900, False)])
def test_headers_are_not_nested_too_deeply_for_the_next_one_who_decodes_them(
    wire: Wire, depth: int, passes: bool
) -> None:
    wire.deliver(pack(">H", HEADERS) + nested(depth), b"5")
    assert (queues.MALFORMED not in wire.received[0].headers) is passes


@pytest.mark.parametrize(
    "compression", ["bzip2", "application/x-bz2", "gzip", "xz", "zstd", "nonsense", ["x"]]
)
def test_no_body_is_unpacked(wire: Wire, compression: Any) -> None:
    tracemalloc.start()
    try:
        wire.deliver(properties_of(application_headers={"compression": compression}, **JSON), PACKED)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    (message,) = wire.received
    assert message.headers == {queues.MALFORMED: "a compressed message"}
    assert (message.body, wire.undecodable) == (PACKED, [])


@pytest.mark.parametrize("encoding", ["bz2", "zip", "zlib_codec", "uu", "utf-16", "nonsense"])
def test_a_codec_of_python_is_no_encoding_of_a_message(wire: Wire, encoding: str) -> None:
    wire.deliver(properties_of(content_type="text/plain", content_encoding=encoding), PACKED)
    (message,) = wire.received
    assert message.headers == {queues.MALFORMED: f"a message in the encoding {encoding!r}"}
    assert message.body == PACKED


def test_kombu_itself_would_unpack_both() -> None:
    wire = Wire(method_framing.frame_handler)
    wire.deliver(properties_of(application_headers={"compression": "bzip2"}, **JSON), bz2.compress(b"5"))
    assert wire.received[0].body == b"5"
    assert codecs.decode(bz2.compress(b"5"), "bz2") == b"5"


@pytest.mark.parametrize("key", [b"\xff\xfe", b"\x80" * 255, b"results\xff", "räsults".encode()[:-7]])
def test_a_routing_key_that_is_not_utf_8_is_readable(wire: Wire, key: bytes) -> None:
    wire.deliver(properties_of(application_headers={"CC": ["results"]}, **JSON), b"5", key)
    (message,) = wire.received
    assert message.delivery_info["routing_key"] == "".join(chr(byte) if byte < 128 else "?" for byte in key)
    assert (message.delivery_tag, message.delivery_info["exchange"]) == (7, "reports")
    assert message.payload == 5


def test_any_other_routing_key_stays_as_it_is(wire: Wire) -> None:
    for key in ("", "x" * 255, "räsults"):
        wire.deliver(properties_of(**JSON), b"5", key.encode())
        assert wire.received[-1].delivery_info["routing_key"] == key


def test_an_error_of_the_one_who_receives_is_not_taken_for_an_error_of_the_message(wire: Wire) -> None:
    class Failure(Exception):
        pass

    def fail(_: object) -> None:
        raise Failure

    handler = strict_frames.frame_handler(amqp.Connection(), lambda *_: fail(_))
    with pytest.raises(Failure):
        handler((1, 1, pack(">HH", *spec.Channel.CloseOk)))
    reason = json.dumps("x" * 10)
    wire.deliver(properties_of(application_headers={"reason": reason}, **JSON), b"5")
    assert wire.received[0].headers == {"reason": reason}


def test_the_reason_is_short_however_long_the_message_is(wire: Wire) -> None:
    wire.deliver(pack(">H", 0x8000) + b"\xff" * 100_000, b"5")
    wire.deliver(properties_of(content_encoding="x" * 255), b"5")
    assert all(len(message.headers[queues.MALFORMED]) < 200 for message in wire.received)
    assert dumps("F", [wire.received[0].headers])
