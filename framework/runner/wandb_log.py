"""Metrics given to wandb.log: read from wandb's own file in the task's directory.

The file is a log in the format of LevelDB: blocks of 32 KiB, with records in one or several parts, each a
message of protobuf (wandb's datastore.py and wandb_internal.proto).
"""

from __future__ import annotations

import json
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import Iterator

from framework.messages.metrics import Metric, flat_metrics

_MARK = b":W&B"  # the file begins with it, in a header of 7 bytes
_HEADER_BYTES = 7
_BLOCK = 2**15  # bytes
_PART = struct.Struct("<IHB")  # checksum, length, kind
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4  # kinds of parts
_MOST_BYTES = 2**20  # of the end of a file, so that other attempts wait for 0.2 s at most
_MOST_RUNS = 10  # of one task
# Numbers of protobuf's fields: of a record, of what changed at once, and of one value.
_HISTORY, _SUMMARY = 2, 3
_ITEM = 1
_KEY, _NESTED_KEY, _JSON = 1, 2, 16


def read_wandb_log(work: Path) -> dict[str, Metric]:
    """The last value of each metric that wandb has written in `work`; those of the last run count.

    What wandb itself adds, such as _step, is left out, as are images, tables and the like. Never raises: a
    file that is not as expected has no metrics from there on.
    """
    try:
        runs = sorted(each.name for each in os.scandir(work / "wandb") if "run-" in each.name)[-_MOST_RUNS:]
    except OSError:
        return {}  # there is none
    values: dict[str, bytes] = {}
    for run in runs:
        # offline-run-20260102_030405-ID, or run-… where it is online, holds run-ID.wandb
        file = work / "wandb" / run / f"run-{run.rpartition('-')[2]}.wandb"
        with suppress(OSError, ValueError, IndexError):
            for record in _records(*_end_of(file)):
                values.update(_values(record))
    metrics: dict[str, Metric] = {}
    for name, text in values.items():
        with suppress(ValueError, RecursionError):
            value = json.loads(text)
            if not (isinstance(value, dict) and "_type" in value):  # an image, a table, …
                metrics.update(flat_metrics({name: value})[0])
    return metrics


def _end_of(file: Path) -> tuple[bytes, int]:
    """The last blocks of a file, and the position of the first record there. Raises OSError, ValueError."""
    if not file.is_file():
        raise ValueError("no file")
    with file.open("rb") as opened:
        if not opened.read(_HEADER_BYTES).startswith(_MARK):
            raise ValueError("no file of wandb")
        start = max(0, os.fstat(opened.fileno()).st_size - _MOST_BYTES) // _BLOCK * _BLOCK
        opened.seek(start)
        return opened.read(_MOST_BYTES + _BLOCK), 0 if start else _HEADER_BYTES


def _records(content: bytes, position: int) -> Iterator[bytes]:
    """The records that are whole in some blocks, from a position on."""
    record: bytes | None = None
    while position + _PART.size <= len(content):
        left = _BLOCK - position % _BLOCK
        if left < _PART.size:
            position += left
            continue
        _, length, kind = _PART.unpack_from(content, position)
        position += _PART.size
        part = content[position : position + length]
        position += length
        if kind not in (_WHOLE, _FIRST, _MIDDLE, _LAST) or len(part) < length:
            return
        if kind in (_WHOLE, _FIRST):
            record = part
        elif record is not None:
            record += part
        if kind in (_WHOLE, _LAST) and record is not None:
            yield record
            record = None


def _values(record: bytes) -> Iterator[tuple[str, bytes]]:
    """The names and values (JSON) in a record of history or summary. Raises ValueError, IndexError."""
    for number, changes in _fields(record):
        if number not in (_HISTORY, _SUMMARY):
            continue
        for field, item in _fields(changes):
            if field != _ITEM:
                continue
            names, value = [], b""
            for part, content in _fields(item):
                if part == _JSON:
                    value = content
                elif part in (_KEY, _NESTED_KEY):
                    names.append(content.decode())
            if names and not names[0].startswith("_"):
                yield ".".join(names), value


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """The fields of a message of protobuf that hold bytes. Raises ValueError, IndexError."""
    position = 0
    while position < len(message):
        key, position = _number(message, position)
        kind = key & 7
        if kind == 0:
            _, position = _number(message, position)
        elif kind == 1:
            position += 8
        elif kind == 5:
            position += 4
        elif kind == 2:
            length, position = _number(message, position)
            yield key >> 3, message[position : position + length]
            position += length
        else:
            raise ValueError("not a message of protobuf")


def _number(message: bytes, position: int) -> tuple[int, int]:
    """A number of variable length, and the position behind it. Raises ValueError, IndexError."""
    number = 0
    for shift in range(0, 64, 7):
        byte = message[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
    raise ValueError("not a number of protobuf")
