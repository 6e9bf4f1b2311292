"""Worker hosts: leases, restarts and room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from framework.messages.task_ids import AttemptId
from framework.messages.worker_events import Heartbeat, Source
from framework.placement.hosts import RESTART_GRACE_SECONDS, SentAttempt, WorkerHosts


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


def test_attempts_in_the_queue_of_a_restarted_worker_get_a_new_lease_from_its_heartbeat() -> None:
    hosts = hosts_with("a")
    hosts.add(SentAttempt(AttemptId("queued", 1), "a", 0))
    hosts.take_heartbeat(heartbeat("a", "second", 2), 20)
    hosts.take_heartbeat(heartbeat("a", "second", 2), 45)
    assert hosts.expired(50) == {}
    assert names(hosts.expired(51)) == ["queued.1"], "no heartbeat has named it since"


def test_a_worker_that_restarts_twice_delays_the_loss_of_its_attempts_no_further() -> None:
    hosts = hosts_with("a")
    hosts.add(SentAttempt(AttemptId("ran", 1), "a", 0, started=True))
    hosts.take_heartbeat(heartbeat("a", "second", 2), 10)
    hosts.take_heartbeat(heartbeat("a", "third", 2), 12)
    assert hosts.expired(10 + RESTART_GRACE_SECONDS - 0.1) == {}
    assert names(hosts.expired(10 + RESTART_GRACE_SECONDS)) == ["ran.1"]


def test_an_attempt_that_a_heartbeat_names_after_the_restart_is_not_lost() -> None:
    hosts = hosts_with("a")
    hosts.add(SentAttempt(AttemptId("ran", 1), "a", 0, started=True))
    hosts.take_heartbeat(heartbeat("a", "second", 2), 10)
    hosts.take_heartbeat(heartbeat("a", "second", 2, "ran.1"), 11)
    assert hosts.expired(20) == {}


def test_a_reserved_attempt_keeps_its_lease_and_has_not_started() -> None:
    hosts = hosts_with("a")
    attempt = SentAttempt(AttemptId("t", 1), "a", 0)
    hosts.add(attempt)
    reserved = frozenset({attempt.id})
    hosts.take_heartbeat(Heartbeat(Source("infra-1", "p", "a"), "first", 2, frozenset(), reserved), 29)
    assert (attempt.seen, attempt.started) == (29, False)


def test_a_suspended_host_gets_no_more_tasks_than_its_limit() -> None:
    hosts = hosts_with("a", slots=4)
    assert hosts.choose(0, 0, limits={"a": 0}) is None
    assert hosts.choose(0, 0, limits={"a": 1}) == "a"
    hosts.add(SentAttempt(AttemptId("t", 1), "a", 0))
    assert hosts.choose(0, 0, limits={"a": 1}) is None
    assert hosts.choose(0, 0, limits={"b": 0}) == "a"


def test_hosts_are_usable_if_they_live_and_have_slots() -> None:
    hosts = hosts_with("a", "b")
    hosts.take_heartbeat(heartbeat("c", "first", 0), 0)
    hosts.take_heartbeat(heartbeat("b", "first", 3), 20)
    assert hosts.usable(20) == {"a", "b"}
    assert hosts.live_slots(20) == 5
    assert hosts.usable(31) == {"b"}
    assert hosts.live_slots(31) == 3


def test_hosts_are_unfit_only_if_each_is_and_has_no_attempt() -> None:
    hosts = WorkerHosts(lease=30)
    assert not hosts.are_unfit(), "none is known"
    unfit = Heartbeat(Source("infra-1", "p", "a"), "first", 0, frozenset(), frozenset(), "no GPU", unfit=True)
    hosts.take_heartbeat(unfit, 0)
    assert hosts.are_unfit()
    hosts.add(SentAttempt(AttemptId("t", 1), "a", 0))
    assert not hosts.are_unfit()
    hosts.remove("t")
    hosts.take_heartbeat(heartbeat("b", "first", 1), 0)
    assert not hosts.are_unfit()


def test_after_a_reset_nothing_is_known() -> None:
    hosts = hosts_with("a")
    hosts.add(SentAttempt(AttemptId("t", 1), "a", 0))
    hosts.reset()
    assert (list(hosts), hosts.attempts, hosts.get("t"), hosts.remove("t")) == ([], [], None, None)
    assert "a" not in hosts
