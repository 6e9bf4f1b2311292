"""Alarm: rung before, while and after somebody waits, and by itself."""

import asyncio
import time

from framework.runner.alarm import Alarm


def waited(alarm: Alarm, seconds: float, ring_after: float | None = None) -> float:
    """How long wait() takes."""

    async def wait() -> float:
        if ring_after is not None:
            asyncio.get_running_loop().call_later(ring_after, alarm.ring)
        began = time.monotonic()
        await alarm.wait(seconds)
        return time.monotonic() - began

    return asyncio.run(wait())


def test_it_rings_by_itself() -> None:
    assert 0.1 <= waited(Alarm(), 0.1) < 5


def test_it_is_rung_while_somebody_waits() -> None:
    assert 0.1 <= waited(Alarm(), 60, ring_after=0.1) < 5


def test_one_that_has_rung_is_not_waited_for_once() -> None:
    alarm = Alarm()
    alarm.ring()
    alarm.ring()
    assert waited(alarm, 60) < 5
    assert waited(alarm, 0.1) >= 0.1


def test_a_wait_of_no_time_lets_others_go_on() -> None:
    async def wait() -> list[str]:
        seen: list[str] = []
        asyncio.get_running_loop().call_soon(seen.append, "the other")
        await Alarm().wait(0)
        return seen

    assert asyncio.run(wait()) == ["the other"]


def test_a_wait_that_is_cancelled_leaves_nothing() -> None:
    async def wait() -> None:
        alarm = Alarm()
        waiting = asyncio.ensure_future(alarm.wait(60))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        alarm.ring()
        await asyncio.wait_for(alarm.wait(), 5)

    asyncio.run(wait())
