"""Attempts that a worker holds, from their arrival to their end."""

from __future__ import annotations

import threading
from collections.abc import Collection

from framework.messages.task_ids import AttemptId


class HeldAttempts:
    """Attempts that were received, wait for devices, or run; all methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # stop_all() is called by a signal, in a thread that may hold it
        self._reserved: set[AttemptId] = set()
        self._stops: dict[AttemptId, threading.Event] = {}  # what stops each that has begun
        self._waiting: set[AttemptId] = set()  # attempts that have begun, and wait for devices
        self._unwanted: set[AttemptId] = set()  # reserved attempts that are to be stopped when they begin
        self._stopping = threading.Event()

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    def running_and_reserved(self) -> tuple[frozenset[AttemptId], frozenset[AttemptId]]:
        """The attempts that execute, and those that do not yet."""
        with self._lock:
            running = self._stops.keys() - self._waiting
            return frozenset(running), frozenset((self._reserved | self._waiting) - running)

    def reserve(self, attempt: AttemptId) -> None:
        """Hold an attempt that was received."""
        with self._lock:
            self._reserved.add(attempt)

    def release(self, attempt: AttemptId) -> None:
        """Forget an attempt that was received and has not begun, whatever became of it."""
        with self._lock:
            if attempt not in self._stops:
                self._reserved.discard(attempt)
                self._unwanted.discard(attempt)

    def begin(self, attempt: AttemptId) -> threading.Event | None:
        """Let an attempt wait for devices; returns the event that stops it, None if it has begun before."""
        with self._lock:
            if attempt in self._stops:
                return None
            stop = self._stops[attempt] = threading.Event()
            self._waiting.add(attempt)
            if attempt in self._unwanted or self.is_stopping:
                stop.set()
            return stop

    def execute(self, attempt: AttemptId) -> None:
        """Count an attempt as running: it has its devices."""
        with self._lock:
            self._waiting.discard(attempt)

    def end(self, attempt: AttemptId) -> None:
        """Forget an attempt that had begun."""
        with self._lock:
            del self._stops[attempt]
            self._waiting.discard(attempt)
            self._reserved.discard(attempt)
            self._unwanted.discard(attempt)

    def stop(self, attempts: Collection[AttemptId]) -> None:
        """Stop those that have begun; those that are reserved are stopped when they begin."""
        with self._lock:
            self._unwanted |= self._reserved.intersection(attempts)
            for attempt in self._stops.keys() & set(attempts):
                self._stops[attempt].set()

    def stop_all(self) -> None:
        """Stop every attempt, and each that begins from now on."""
        with self._lock:
            self._stopping.set()
            for stop in self._stops.values():
                stop.set()

    def wait_for_stop(self, seconds: float) -> bool:
        """Wait for stop_all(), at most `seconds`; True if it was called."""
        return self._stopping.wait(seconds)
