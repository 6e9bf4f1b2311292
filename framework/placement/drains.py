"""Drains: hosts that are sent nothing more for a while, so that what runs there can end.

Who asks for a drain repeats it: it ends by itself if he has gone. A file keeps it, so that it outlives the
master. `now` is the reading of a monotonic clock in seconds, as in WorkerHosts.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable
from pathlib import Path

from framework.files import read_regular, write_atomically

LONGEST_SECONDS = 3600.0  # of one request
_LONGEST_FILE = 2**20  # bytes

log = logging.getLogger(__name__)


class Drains:
    """The hosts that are drained, each until a time."""

    def __init__(self, file: Path, now: float) -> None:
        self._file = file
        self._until = self._load(now)

    def is_drained(self, host: str, now: float) -> bool:
        """True if the host is to be sent nothing."""
        return now < self._until.get(host, now)

    def renew(self, hosts: Iterable[str], seconds: float, now: float) -> list[str]:
        """Have hosts drained for so long, or with 0 seconds no longer; returns those that were not before.

        Raises OSError if the file cannot be written.
        """
        hosts = list(hosts)
        until = {host: end for host, end in self._until.items() if end > now}
        begun = [host for host in hosts if seconds > 0 and host not in until]
        for host in hosts:
            until[host] = now + min(seconds, LONGEST_SECONDS)
        until = {host: end for host, end in until.items() if end > now}
        left = {host: end - now + time.time() for host, end in until.items()}
        write_atomically(self._file, json.dumps(left), fsync=False)
        self._until = until
        return begun

    def _load(self, now: float) -> dict[str, float]:
        try:
            content = json.loads(read_regular(self._file, _LONGEST_FILE))
            left = {str(host): float(end) - time.time() for host, end in content.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
            log.warning("%s is ignored: %r", self._file, error)
            return {}
        return {host: now + min(each, LONGEST_SECONDS) for host, each in left.items() if each > 0}
