"""Metrics of wandb.log, in files as wandb 0.31 writes them, whole, cut off, and wrong."""

from __future__ import annotations

import json
import os
import shlex
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from attempt_bench import CommandBench

from framework.runner import wandb_log
from framework.runner.wandb_log import read_wandb_log

HEADER = b":W&B\xe1\xbe\x00"
HISTORY, SUMMARY, OTHER = 2, 3, 17


def number(value: int) -> bytes:
    return bytes([value]) if value < 0x80 else bytes([value & 0x7F | 0x80]) + number(value >> 7)


def field(of: int, content: bytes) -> bytes:
    return number(of << 3 | 2) + number(len(content)) + content


def item(name: str | Sequence[str], value: object) -> bytes:
    keys = [field(1, name.encode())] if isinstance(name, str) else [field(2, each.encode()) for each in name]
    return field(1, b"".join(keys) + field(16, json.dumps(value).encode()))


def record(kind: int, values: Mapping[str | tuple[str, ...], object]) -> bytes:
    """A record with its number, numbers of fixed length, and information on the run."""
    items = b"".join(item(name, value) for name, value in values.items())
    return (
        b"\x08\x07"
        + field(kind, items + field(2, b"\x08\x01"))
        + b"\xf9\x01"
        + bytes(8)
        + field(200, b"\n\x02id")
    )


def written(records: Sequence[bytes]) -> bytes:
    """A file with these records, in blocks of 32 KiB."""
    content = bytearray(HEADER)
    for each in records:
        is_first = True
        while is_first or each:
            left = 32768 - len(content) % 32768
            if left < 7:
                content += bytes(left)
                continue
            part, each = each[: left - 7], each[left - 7 :]
            kind = (1 if is_first else 4) if not each else (2 if is_first else 3)
            content += struct.pack("<IHB", 0, len(part), kind) + part
            is_first = False
    return bytes(content)


def write(work: Path, content: bytes, run: str = "offline-run-20260102_030405-id1") -> None:
    file = work / "wandb" / run / f"run-{run.rpartition('-')[2]}.wandb"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)


def test_the_last_values_count(tmp_path: Path) -> None:
    records = [
        record(OTHER, {"x": 1}),
        record(SUMMARY, {"score": 0.1, "_step": 0, ("_wandb", "runtime"): 1}),
        record(HISTORY, {"score": 0.1, "_step": 0, ("val", "loss"): 2, "val/acc": 1, "note": "good"}),
        record(HISTORY, {"score": float("nan"), "big": 10**400, "list": [1, 2], "on": True}),
        record(HISTORY, {"image": {"_type": "image-file", "size": 3}, "deep": {"a": {"b": 4}}, "none": None}),
        record(SUMMARY, {"best": 7}),
    ]
    write(tmp_path, written(records))
    assert read_wandb_log(tmp_path) == {
        "score": "nan", "val.loss": 2, "val/acc": 1, "note": "good",
        "big": "inf", "on": 1, "deep.a.b": 4, "best": 7,
    }  # fmt: skip


def test_the_last_run_counts_and_others_stay(tmp_path: Path) -> None:
    write(tmp_path, written([record(HISTORY, {"a": 1, "b": 1})]), "offline-run-20260102_030405-zz")
    write(tmp_path, written([record(HISTORY, {"b": 2})]), "offline-run-20260102_030406-aa")
    write(tmp_path, written([record(HISTORY, {"c": 3})]), "run-20260102_030407-online")
    (tmp_path / "wandb/latest-run").symlink_to("offline-run-20260102_030406-aa")
    assert read_wandb_log(tmp_path) == {"a": 1, "b": 2, "c": 3}


@pytest.mark.parametrize("size", [0, 32768 - 7 - 7 - 20, 32754, 32760, 70_000])
def test_records_of_any_length_across_blocks(tmp_path: Path, size: int) -> None:
    records = [record(OTHER, {"x": "x" * size}), record(HISTORY, {"a": 1, "long": ["y" * 40_000]})]
    write(tmp_path, written([*records, record(HISTORY, {"b": 2})]))
    assert read_wandb_log(tmp_path) == {"a": 1, "b": 2}


def test_of_a_long_file_the_end_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wandb_log, "_MOST_BYTES", 40_000)
    records = [record(HISTORY, {"step": step, "pad": ["z" * 999]}) for step in range(200)]
    write(tmp_path, written([record(HISTORY, {"once": 1}), *records]))
    assert read_wandb_log(tmp_path) == {"step": 199}


def test_what_is_wrong_ends_the_reading(tmp_path: Path) -> None:
    good = written([record(HISTORY, {"a": 1})])
    bad = written([b"\xff" * 40, b"\x0f\x01", record(HISTORY, {"b": 2})])[len(HEADER) :]
    for number, content in enumerate(
        (b"", b"no file of wandb", good + bad, good + bytes(100), good[:-3], good + good[7:-3], HEADER[:5])
    ):
        write(tmp_path / str(number), content)
    found = [read_wandb_log(tmp_path / str(number)) for number in range(7)]
    assert found == [{}, {}, {"a": 1}, {"a": 1}, {}, {"a": 1}, {}]
    assert read_wandb_log(tmp_path / "none") == {}
    (tmp_path / "file/wandb").parent.mkdir()
    (tmp_path / "file/wandb").touch()
    assert read_wandb_log(tmp_path / "file") == {}
    pipe = tmp_path / "pipe/wandb/run-id/run-id.wandb"
    pipe.parent.mkdir(parents=True)
    os.mkfifo(pipe)
    assert read_wandb_log(tmp_path / "pipe") == {}, "it does not wait"


def test_values_that_are_no_json_are_left_out(tmp_path: Path) -> None:
    items = field(1, field(1, b"a") + field(16, b"{")) + field(1, field(16, b"1")) + item("b", 2)
    write(tmp_path, written([field(HISTORY, items)]))
    assert read_wandb_log(tmp_path) == {"b": 2}


def test_what_is_printed_or_in_metrics_json_comes_first(commands: CommandBench, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(written([record(HISTORY, {"a": 1, "b": 1, "c": 1})]))
    found = commands.shell(
        "mkdir -p wandb/offline-run-20260102_030405-id && "
        f"cp {shlex.quote(str(log))} wandb/offline-run-20260102_030405-id/run-id.wandb && "
        "echo a=2 && echo '{\"b\": 3}' > metrics.json"
    )
    assert (found.state, found.metrics) == ("done", {"a": 2, "b": 3, "c": 1})
