"""Remarks: what a forked process adds, its parent reads."""

import os

from framework.runner.remarks import Remarks


def test_a_fork_adds_and_its_parent_reads() -> None:
    remarks = Remarks()
    child = os.fork()
    if child == 0:
        remarks.add("the first")
        remarks.add("größer\nthan  a line")
        os._exit(0)
    os.waitpid(child, 0)
    assert remarks.read() == ["the first", "größer than a line"]


def test_what_does_not_fit_is_left_out() -> None:
    remarks = Remarks()
    for _ in range(100):
        remarks.add("x" * 1000)
    found = remarks.read()
    assert 10 < len(found) < 20
    assert {len(each) for each in found} == {500}


def test_there_may_be_none() -> None:
    assert Remarks().read() == []
