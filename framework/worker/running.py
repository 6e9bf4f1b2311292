"""Attempts that a runner executes, as its log tells anybody who can read it."""

from __future__ import annotations

import json
from pathlib import Path


def running_since(log: Path) -> list[float]:
    """The Unix times at which the attempts began that run now; empty if there is no log.

    The seals are not checked: use it for what people are asked, never for results.
    """
    starts: dict[str, float] = {}
    try:
        lines = log.read_bytes().splitlines()
    except OSError:
        return []
    for line in lines:
        try:
            record = json.loads(line.partition(b" ")[2])
            if "started" in record:
                starts[record["started"]] = float(record["when"])
            for end in ("ended", "forgotten"):
                starts.pop(record.get(end), None)
        except (ValueError, TypeError, AttributeError, KeyError):
            continue  # torn
    return list(starts.values())
