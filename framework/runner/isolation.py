"""Isolation of the runner from its tasks, which run as the same user."""

from __future__ import annotations

from contextlib import suppress

_PR_SET_DUMPABLE = 4  # of <linux/prctl.h>


def hide_memory() -> None:
    """Keep other processes of this user from reading this one: its memory, its environment, its files.

    Programs that it starts are not concerned. Where it is not possible, the key of the log is readable.
    """
    with suppress(ImportError, OSError, AttributeError):  # AttributeError: not Linux
        import ctypes  # a Python may have been built without it

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
