"""Alarm: what a coroutine waits for that has several causes to go on."""

from __future__ import annotations

import asyncio
import math


class Alarm:
    """An event that any callback may ring, and that rings by itself after a while. One coroutine waits."""

    def __init__(self) -> None:
        self._rang = False
        self._waiting: asyncio.Future[None] | None = None

    def ring(self) -> None:
        """Wake the coroutine that waits, or have the next wait() return at once."""
        self._rang = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def wait(self, seconds: float = math.inf) -> None:
        """Return when the alarm rings, or after `seconds`."""
        loop = asyncio.get_running_loop()
        if seconds <= 0:
            await asyncio.sleep(0)  # lets others go on
        elif not self._rang:
            self._waiting = loop.create_future()
            timer = loop.call_later(seconds, self.ring) if seconds < math.inf else None
            try:
                await self._waiting
            finally:
                self._waiting = None
                if timer is not None:
                    timer.cancel()
        self._rang = False
