"""Notifier: who is told of what, how often, and what a person is told when nobody is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from master_bench import Bench, Clock
from webhook import Webhook

from framework.master import notifier as notifier_module
from framework.master.delivery import DeliveryError
from framework.master.notifier import Notifier, content_of, read_values
from framework.messages.events import Event, EventKind
from framework.project.notify import Notify
from framework.project.project import Project
from framework.project.variables import Wanted
from framework.space.product import Space


def project(notify: Notify | None) -> Project:
    return Project(
        "p", Path("/"), ("run",), "accuracy", "maximize", None, 0, None, Space({"x": [1]}), notify=notify
    )


def event(number: int, kind: EventKind = "ended", when: float = 1e12) -> Event:
    return Event(number, when, kind, f"event {number}")


def describe(each: Event) -> dict[str, Any]:
    return content_of(each, "p", {}, None)


class Deliveries:
    """Stands for a webhook: what was tried, and an error for each try."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.errors: list[DeliveryError | None] = []
        self.tried: list[str] = []
        self.paused: list[float] = []
        self._changed = threading.Condition()
        monkeypatch.setattr(notifier_module, "call_webhook", self._call)
        monkeypatch.setattr("framework.master.notifier.time.sleep", self.paused.append)

    def _call(self, address: str, content: dict[str, Any]) -> None:
        error = self.errors.pop(0) if self.errors else None
        with self._changed:
            self.tried.append(content["text"])
            self._changed.notify()
        if error:
            raise error

    def wait(self, ready: Callable[[], bool]) -> None:
        """Wait until something is so that follows a try."""
        with self._changed:
            assert self._changed.wait_for(ready, 60)


@pytest.fixture
def deliveries(monkeypatch: pytest.MonkeyPatch) -> Deliveries:
    return Deliveries(monkeypatch)


HOOK = Notify("https://x.example/topic")


def test_people_are_told_of_the_end_and_of_trouble_and_of_the_first_failure(
    tmp_path: Path, deliveries: Deliveries
) -> None:
    kinds: list[EventKind] = [
        "best", "failed", "failed", "silent", "back", "suspended", "healthy", "metric", "paused", "ended",
        "failed", "failed", "request", "failed", "ended",
    ]  # fmt: skip
    notifier = Notifier(project(HOOK), {}, tmp_path / "notified", [])
    events = [event(number, kind) for number, kind in enumerate(kinds, 1)]
    notifier.look(events[:4], describe)
    notifier.look(events, describe)
    notifier.look(events, describe)
    wanted = [f"p: event {number}" for number in (2, 6, 8, 9, 10, 11, 14, 15)]
    deliveries.wait(lambda: deliveries.tried == wanted)
    wait_until_idle(notifier)
    assert (tmp_path / "notified").read_text() == "15\n"


def wait_until_idle(notifier: Notifier) -> None:
    pause = threading.Event()
    while not notifier.is_idle:
        pause.wait(0.01)


def test_after_a_restart_people_are_told_of_what_they_were_not_told(
    tmp_path: Path, deliveries: Deliveries
) -> None:
    events = [event(number) for number in (3, 4, 5)]
    (tmp_path / "notified").write_text("4\n")
    Notifier(project(HOOK), {}, tmp_path / "notified", events).look(events, describe)
    deliveries.wait(lambda: deliveries.tried == ["p: event 5"])
    (tmp_path / "notified").write_text("9\n")  # of events that were not written
    Notifier(project(HOOK), {}, tmp_path / "notified", events).look([*events, event(6)], describe)
    deliveries.wait(lambda: deliveries.tried[1:] == ["p: event 6"])


def test_people_are_not_told_of_what_was_before_they_wanted_to_know(
    tmp_path: Path, deliveries: Deliveries
) -> None:
    notifier = Notifier(project(HOOK), {}, tmp_path / "notified", [event(3)])
    notifier.look([event(3), event(4)], describe)
    deliveries.wait(lambda: deliveries.tried == ["p: event 4"])
    Notifier(project(None), {}, tmp_path / "notified", []).look([event(3)], describe)


def test_another_try_comes_after_longer_and_longer_pauses(tmp_path: Path, deliveries: Deliveries) -> None:
    deliveries.errors = [DeliveryError("the webhook at x.example answers 503")] * 8
    notifier = Notifier(project(HOOK), {}, tmp_path / "notified", [])
    notifier.look([event(1)], describe)
    deliveries.wait(lambda: len(deliveries.tried) == 9)
    assert deliveries.paused == [5, 10, 20, 40, 80, 160, 300, 300]
    wait_until_idle(notifier)


def test_what_is_of_no_use_or_too_late_is_given_up(
    tmp_path: Path, deliveries: Deliveries, caplog: pytest.LogCaptureFixture
) -> None:
    deliveries.errors = [DeliveryError("answers 404", is_final=True), DeliveryError("answers 500")]
    notifier = Notifier(project(HOOK), {}, tmp_path / "notified", [])
    with caplog.at_level("INFO"):
        notifier.look([event(1), event(2, when=1.0)], describe)
        deliveries.wait(lambda: len(deliveries.tried) == 2)
        wait_until_idle(notifier)
    assert caplog.messages == ["notify: answers 404; given up", "notify: answers 500; given up"]
    assert deliveries.paused == []


def test_a_value_that_the_master_does_not_have_is_named(tmp_path: Path, deliveries: Deliveries) -> None:
    notify = Notify("${HOOK}", wanted=(Wanted("HOOK", "1:1", True),))
    notifier = Notifier(project(notify), {"OTHER": "x"}, tmp_path / "notified", [])
    notifier.look([event(1)], describe)
    wait_until_idle(notifier)
    assert deliveries.tried == []
    given = Notifier(project(notify), {"HOOK": "https://x.example"}, tmp_path / "other", [])
    given.look([event(1)], describe)
    deliveries.wait(lambda: len(deliveries.tried) == 1)


def test_no_task_can_write_a_mark_of_a_chat_program() -> None:
    content = content_of(Event(1, 5.0, "failed", "x=1: <!channel>"), "p", {"done": 3}, None)
    assert content == {
        "text": "p: x=1: [!channel]", "event": "failed", "project": "p", "time": 5.0, "sweep": {"done": 3},
        "best": None,
    }  # fmt: skip


def test_the_values_are_those_that_were_sent(tmp_path: Path) -> None:
    assert read_values(tmp_path / "notify") == {}
    (tmp_path / "notify").write_bytes(b"A=1\0B=x=y\nz\0")
    assert read_values(tmp_path / "notify") == {"A": "1", "B": "x=y\nz"}


def test_the_master_tells_a_webhook_of_the_end_with_figures(
    bench: Bench, clock: Clock, webhook: Webhook
) -> None:
    bench.write_project(x="[1, 2, 3, 4]", more=f"notify: {webhook.url}\n")
    bench.master = bench.start()
    bench.run_to_the_end({2: "failed"})
    wait_until_idle(bench.master._notifier)
    first, end = (content for _, _, content in webhook.requests)
    assert first["text"].startswith("p: x=2 failed on a: ")
    assert end["text"] == "p: the sweep has ended: 3 of 4 done, 1 failed; best loss 0.5 (x=1)"
    assert end["sweep"] == {
        "total": 4, "done": 3, "running": 0, "waiting": 0, "failed": 1, "cancelled": 0, "pruned": 0,
        "seconds_left": None,
    }  # fmt: skip
    assert end["best"] == {"metric": "loss", "value": 0.5, "parameters": {"x": 1}}


def test_a_webhook_that_answers_no_is_a_notice(bench: Bench, clock: Clock, webhook: Webhook) -> None:
    webhook.statuses = [410, 410]
    bench.write_project(x="[1]", more=f"notify: {webhook.url}\n")
    bench.master = bench.start()
    bench.run_to_the_end()
    wait_until_idle(bench.master._notifier)
    bench.turn()
    assert bench.status().notices == ["notify: the webhook at 127.0.0.1 answers 410; given up"]
    assert "topic" not in bench.files.status.read_text()
