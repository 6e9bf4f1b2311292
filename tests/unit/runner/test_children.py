"""Children: their ends are observed, those of others are reaped, and strangers are known."""

from __future__ import annotations

import asyncio
import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator

import pytest
from attempt_bench import children as children_of
from attempt_bench import expect_no_child, gone

from framework.runner import orphans
from framework.runner.children import Children
from framework.runner.orphans import adopt_orphans
from framework.runner.process import End

_PR_SET_CHILD_SUBREAPER = 36

# Leaves a process behind, in a session of its own, and prints its number.
LEAVE = """
import os, subprocess, sys
print(subprocess.Popen(["sleep", sys.argv[1]], start_new_session=True, stdout=subprocess.DEVNULL).pid)
"""


def run(test: Callable[[Children], Awaitable[None]], adopts: bool = False) -> None:
    async def in_loop() -> None:
        children = Children(adopts)
        await asyncio.wait_for(test(children), 60)
        children.close()

    asyncio.run(in_loop())
    expect_no_child()


@pytest.fixture
def adopting() -> Iterator[None]:
    """This process becomes the parent of orphans for the time of a test."""
    if not adopt_orphans():
        pytest.skip("needs Linux")
    yield
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def shell(script: str) -> int:
    return subprocess.Popen(["sh", "-c", script]).pid


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def no_warning_of_popen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Popen objects are dropped here: their children are reaped by others."""
    monkeypatch.setattr(subprocess.Popen, "__del__", lambda self: None)


def test_an_end_is_observed_once_and_the_number_stays_taken_until_it_is_reaped() -> None:
    async def test(children: Children) -> None:
        seen: list[End] = []
        pid = shell("sleep 0.1; exit 3")
        children.observe(pid, seen.append)
        await until(lambda: seen)
        await asyncio.sleep(0.1)
        assert [(end.exit_code, end.signal) for end in seen] == [(3, None)]
        assert children_of(os.getpid()) == [pid]
        children.reap(pid)
        assert children_of(os.getpid()) == []

    run(test)


def test_an_end_before_it_is_observed() -> None:
    async def test(children: Children) -> None:
        seen: list[End] = []
        pid = shell("kill -9 $$")
        while not gone(pid):
            time.sleep(0.01)
        children.observe(pid, seen.append)
        await until(lambda: seen)
        assert (seen[0].exit_code, seen[0].signal) == (137, 9)
        children.reap(pid)

    run(test)


def test_many_that_end_at_once() -> None:
    async def test(children: Children) -> None:
        seen: dict[int, End] = {}
        pids = [shell(f"exit {number % 5}") for number in range(50)]
        for pid in pids:
            children.observe(pid, lambda end, pid=pid: seen.update({pid: end}))  # type: ignore[misc]
        await until(lambda: len(seen) == 50)
        assert [seen[pid].exit_code for pid in pids] == [number % 5 for number in range(50)]
        for pid in pids:
            children.reap(pid)

    run(test)


def test_one_that_is_reaped_is_not_observed_any_more() -> None:
    async def test(children: Children) -> None:
        seen: list[End] = []
        pid = shell("exit 0")
        children.observe(pid, seen.append)
        children.reap(pid)
        children.reap(pid)  # it may be gone
        await asyncio.sleep(0.1)
        assert seen == []

    run(test)


def test_those_of_others_are_left_alone_by_a_process_that_adopts_none() -> None:
    async def test(children: Children) -> None:
        pid = shell("exit 3")
        await asyncio.sleep(0.2)
        assert os.waitpid(pid, 0) == (pid, 3 << 8)
        assert children.has_strangers(), "nobody knows"

    run(test)


def leave(seconds: float) -> int:
    return int(subprocess.run([sys.executable, "-c", LEAVE, str(seconds)], stdout=subprocess.PIPE).stdout)


@pytest.mark.usefixtures("adopting")
def test_a_process_that_outlives_its_parent_is_a_stranger_until_it_ends() -> None:
    async def test(children: Children) -> None:
        own = shell("exec sleep 60")
        children.observe(own, lambda _: None)
        assert not children.has_strangers()
        stranger = leave(60)
        assert children_of(os.getpid()) == [own, stranger] or children_of(os.getpid()) == [stranger, own]
        assert children.has_strangers()
        os.kill(stranger, 9)
        await until(lambda: children_of(os.getpid()) == [own])  # it was reaped
        assert not children.has_strangers()
        os.kill(own, 9)
        children.reap(own)

    run(test, adopts=True)


@pytest.mark.usefixtures("adopting")
def test_where_children_cannot_be_listed_there_may_be_strangers(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(children: Children) -> None:
        assert children.has_strangers()

    monkeypatch.setattr(orphans, "_CHILDREN", "/proc/none/{}")
    run(test, adopts=True)
