"""Worker hosts: leases, restarts and room."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import pytest

from framework.messages.task_ids import AttemptId
from framework.messages.worker_events import Heartbeat, Source
from framework.placement.hosts import FORGET_SECONDS, RESTART_GRACE_SECONDS, SentAttempt, WorkerHosts


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
    assert hosts.is_alive("a", 130)
    assert names(hosts.expired(131)) == ["t.1"]


def test_a_host_known_only_from_the_journal_has_no_slots_until_it_beats() -> None:
    hosts = WorkerHosts(lease=30)
    hosts.add(SentAttempt(AttemptId("t", 1), "a", 0, started=True))
    (host,) = hosts
    assert host.slots == 0
    hosts.take_heartbeat(heartbeat("a", "first", 1, "t.1"), 1)
    assert hosts.expired(31) == {}
    assert (host.room(1), host.room(2)) == (0, 1)
    assert hosts.have_attempts
    hosts.end("t")
    assert hosts.get("t") is None
    assert host.room(1) == 1
    assert not hosts.have_attempts


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
    hosts.end("t")
    hosts.take_heartbeat(heartbeat("b", "first", 1), 0)
    assert not hosts.are_unfit()


def test_after_a_reset_nothing_is_known() -> None:
    hosts = hosts_with("a")
    hosts.add(SentAttempt(AttemptId("t", 1), "a", 0))
    hosts.reset()
    assert (list(hosts), hosts.attempts, hosts.get("t"), hosts.end("t")) == ([], [], None, [])
    assert "a" not in hosts


def test_leases_end_as_if_all_were_looked_at_each_time() -> None:
    rng = random.Random(3)
    hosts = hosts_with("a", "b")
    now, number = 0.0, 0
    for _ in range(3000):
        now += rng.choice([0.1, 1.0, 5.0])
        match rng.randrange(5):
            case 0:
                number += 1
                hosts.add(SentAttempt(AttemptId(f"t{number}", 1), rng.choice("ab"), now, rng.random() < 0.5))
            case 1:
                held = [str(each.id) for each in hosts.attempts if rng.random() < 0.7]
                hosts.take_heartbeat(heartbeat(rng.choice("ab"), rng.choice("xy"), 2, *held), now)
            case 2:
                for each in rng.sample(hosts.attempts, min(2, len(hosts.attempts))):
                    hosts.remove(each)
            case 3 if rng.random() < 0.05:
                hosts.renew(now)
        expected = {
            str(each.id)
            for each in hosts.attempts
            if (each.lost_at is not None and now >= each.lost_at) or now - each.seen > 30
        }
        assert {*names(hosts.expired(now))} == expected


def test_what_waits_at_a_host_has_not_started() -> None:
    hosts = hosts_with("a")
    hosts.add(SentAttempt(AttemptId("runs", 1), "a", 0, started=True))
    hosts.add(SentAttempt(AttemptId("waits", 2), "a", 0))
    assert hosts.waiting("a") == {AttemptId("waits", 2)}
    assert hosts.waiting("b") == set()


def test_a_host_that_is_silent_for_long_is_forgotten_once_it_has_nothing() -> None:
    hosts = hosts_with("a", "b", "c")
    hosts.add(SentAttempt(AttemptId("t", 1), "b", 0))
    hosts.take_heartbeat(heartbeat("c", "first", 2), FORGET_SECONDS)
    assert hosts.forget_silent(FORGET_SECONDS) == []
    assert hosts.forget_silent(FORGET_SECONDS + 31) == ["a"]
    hosts.end("t")
    assert hosts.forget_silent(FORGET_SECONDS + 62) == ["b"]
    assert [host.name for host in hosts] == ["c"]
    assert not hosts.is_alive("a", FORGET_SECONDS)


def test_one_host_too_many_is_not_taken_in_until_another_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    hosts = WorkerHosts(lease=30, most=2)
    for name in ("a", "b"):
        assert hosts.may_know(name, 0)
        hosts.take_heartbeat(heartbeat(name, "first", 1), 0)
    assert hosts.may_know("a", 1)
    assert not hosts.may_know("c", 1)
    assert not hosts.may_know("d", 2)
    assert len(caplog.messages) == 1, "it is said once"
    hosts.take_heartbeat(heartbeat("b", "first", 1), 20)
    assert hosts.may_know("c", 40)
    assert [host.name for host in hosts] == ["b"]


def test_a_copied_attempt_has_its_slot_and_no_lease_until_its_copy_has_ended() -> None:
    hosts = hosts_with("a", "b")
    first, copy = (
        SentAttempt(AttemptId("t", 1), "a", 0, started=True), SentAttempt(AttemptId("t", 2), "b", 30)
    )  # fmt: skip
    hosts.add(first)
    hosts.add(copy)
    assert (hosts.get("t"), hosts.copied("t"), hosts.under_way) == (copy, first, [copy])
    assert (hosts.held(first.id), hosts.held(copy.id), hosts.held(AttemptId("t", 3))) == (first, copy, None)
    assert {host.name: host.room(1) for host in hosts} == {"a": 1, "b": 1}
    assert hosts.expired(59) == {}
    assert names(hosts.expired(61)) == ["t.2"]
    hosts.remove(copy)
    assert (hosts.get("t"), hosts.copied("t"), hosts.under_way) == (first, None, [first])
    assert names(hosts.expired(61)) == ["t.1"]
    hosts.add(copy)
    hosts.remove(first)
    assert (hosts.get("t"), hosts.copied("t")) == (copy, None)
    assert {host.name: host.room(1) for host in hosts} == {"a": 2, "b": 1}
    hosts.remove(copy)
    assert not hosts.have_attempts
    hosts.add(first)
    hosts.add(copy)
    assert hosts.end("t") == [copy, first]
    assert (hosts.attempts, hosts.have_attempts, hosts.copied("t")) == ([], False, None)
