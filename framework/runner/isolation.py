"""Isolation of the runner from its tasks, which run as the same user."""

from __future__ import annotations

import os
from contextlib import suppress

_PR_SET_DUMPABLE = 4  # of <linux/prctl.h>
_DESCRIPTORS = "/proc/self/fd"
_MOST_DESCRIPTORS = 256  # where they cannot be listed


def keep_descriptors() -> None:
    """Have no program that this process starts inherit what it was given: its connection, its lock."""
    try:
        found = [int(name) for name in os.listdir(_DESCRIPTORS)]
    except OSError:  # no /proc, or hide_memory() was called before
        found = list(range(_MOST_DESCRIPTORS))
    for descriptor in found:
        if descriptor > 2:
            with suppress(OSError):  # it is closed, as the one that was listed is by now
                os.set_inheritable(descriptor, False)


def hide_memory() -> None:
    """Keep other processes of this user from reading this one: its memory, its environment, its files.

    Programs that it starts are not concerned. Where it is not possible, the key of the log is readable.
    """
    with suppress(ImportError, OSError, AttributeError):  # AttributeError: not Linux
        import ctypes  # a Python may have been built without it

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
