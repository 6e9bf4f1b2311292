"""Notices: one for each topic, until it is cleared."""

from __future__ import annotations

from framework.master.notices import Notices


def test_a_notice_stands_until_it_is_replaced_or_cleared() -> None:
    notices = Notices()
    assert (notices.get("code"), list(notices)) == ("", [])
    notices.set("code", "v2 was refused")
    notices.set("files", "the disk is full")
    notices.set("code", "v3 was refused")
    assert notices.get("code") == "v3 was refused"
    assert list(notices) == ["v3 was refused", "the disk is full"]
    notices.clear("code")
    notices.clear("code")
    assert (notices.get("code"), list(notices)) == ("", ["the disk is full"])
