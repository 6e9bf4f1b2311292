"""Worker hosts: leases, restarts and room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from framework.messages.task_ids import AttemptId
from framework.messages.worker_events import Heartbeat, Source
from framework.scheduler.hosts import RESTART_GRACE_SECONDS, SentAttempt, WorkerHosts


def heartbeat(host: str, incarnation: str, slots: int, *running: str) -> Heartbeat:
    attempts = frozenset(
        AttemptId(task, int(number)) for task, number in (name.split(".") for name in running)
    )
    return Heartbeat(Source("infra-1", "p", host), incarnation, slots, attempts, frozenset())


def hosts_with(*names: str, slots: int = 2, now: float = 0.0) -> WorkerHosts:
    hosts = WorkerHosts(lease=30)
    for name in names:
        hosts.take_heartbeat(heartbeat(name, "first", slots), now)
    return hosts


def names(expired: Mapping[str, Sequence[SentAttempt]]) -> list[str]:
    return [str(attempt.id) for attempts in expired.values() for attempt in attempts]


def test_a_host_is_sent_no_more_than_it_has_slots() -> None:
    hosts = hosts_with("a")
    for number in range(2):
        assert hosts.choose(0, spare=0) == "a"
        hosts.add(SentAttempt(AttemptId(f"task{number}", 1), "a", 0))
    assert hosts.choose(0, spare=0) is None


def test_short_tasks_may_wait_at_a_host_as_many_as_it_has_slots() -> None:
    hosts = hosts_with("a")
    for number in range(4):
        assert hosts.choose(0, spare=1000) == "a"
        hosts.add(SentAttempt(AttemptId(f"task{number}", 1), "a", 0))
    assert hosts.choose(0, spare=1000) is None


def test_the_host_with_the_most_room_is_chosen_but_not_the_one_to_avoid() -> None:
    hosts = hosts_with("a", "b")
    hosts.add(SentAttempt(AttemptId("t", 1), "b", 0))
    assert hosts.choose(0, 0) == "a"
    assert hosts.choose(0, 0, avoid="a") == "b"
    hosts.add(SentAttempt(AttemptId("u", 1), "b", 0))
    assert hosts.choose(0, 0, avoid="a") == "a", "a bad choice is better than waiting for ever"


def test_a_silent_host_is_sent_nothing() -> None:
    hosts = hosts_with("a")
    assert hosts.choose(30, 0) == "a"
    assert hosts.choose(31, 0) is None


def test_a_beat_keeps_the_lease_of_what_it_names_and_of_nothing_else() -> None:
    hosts = hosts_with("a")
    hosts.add(SentAttempt(AttemptId("held", 1), "a", 0))
    hosts.add(SentAttempt(AttemptId("unknown", 1), "a", 0))
    for now in (10, 20, 31):
        hosts.take_heartbeat(heartbeat("a", "first", 2, "held.1"), now)
    assert names(hosts.expired(31)) == ["unknown.1"]
    held = hosts.get("held")
    assert held is not None
    assert held.started


def test_another_attempt_of_the_task_does_not_keep_the_lease() -> None:
    hosts = hosts_with("a")
    hosts.add(SentAttempt(AttemptId("t", 2), "a", 0))
    hosts.take_heartbeat(heartbeat("a", "first", 2, "t.1"), 31)
    assert names(hosts.expired(31)) == ["t.2"]


def test_attempts_of_a_restarted_worker_are_lost_after_the_time_in_which_their_results_can_come() -> None:
    hosts = hosts_with("a")
    hosts.add(SentAttempt(AttemptId("ran", 1), "a", 0, started=True))
    hosts.add(SentAttempt(AttemptId("queued", 1), "a", 0))
    hosts.take_heartbeat(heartbeat("a", "second", 2), 10)
    assert hosts.expired(10) == {}
    assert names(hosts.expired(10 + RESTART_GRACE_SECONDS)) == ["ran.1"]
    hosts.take_heartbeat(heartbeat("a", "second", 2, "queued.1"), 35)
    assert names(hosts.expired(35)) == ["ran.1"], "what lay in the queue got a new lease"


def test_renewed_leases_begin_anew() -> None:
    hosts = hosts_with("a")
    hosts.add(SentAttempt(AttemptId("t", 1), "a", 0))
    hosts.renew(100)
    assert hosts.expired(130) == {}
    assert hosts.choose(130, 0) == "a"
    assert names(hosts.expired(131)) == ["t.1"]


def test_a_host_known_only_from_the_journal_has_no_slots_until_it_beats() -> None:
    hosts = WorkerHosts(lease=30)
    hosts.add(SentAttempt(AttemptId("t", 1), "a", 0, started=True))
    assert hosts.choose(0, 0) is None
    hosts.take_heartbeat(heartbeat("a", "first", 1, "t.1"), 1)
    assert hosts.expired(31) == {}
    assert hosts.choose(1, 0) is None
    hosts.remove("t")
    assert hosts.get("t") is None
    assert hosts.choose(1, 0) == "a"
