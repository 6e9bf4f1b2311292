"""Vacancies: the host for the next attempt, and how many there may be."""

from __future__ import annotations

import random

from framework.messages.task_ids import AttemptId
from framework.messages.worker_events import Heartbeat, Source
from framework.placement.hosts import SentAttempt, WorkerHosts
from framework.placement.vacancies import Vacancies


def hosts_with(*names: str, slots: int = 2) -> WorkerHosts:
    hosts = WorkerHosts(lease=30)
    for name in names:
        source = Source("infra-1", "p", name)
        hosts.take_heartbeat(Heartbeat(source, "first", slots, frozenset(), frozenset()), 0)
    return hosts


def send(hosts: WorkerHosts, host: str, count: int = 1) -> None:
    for number in range(count):
        hosts.add(SentAttempt(AttemptId(f"{host}{number}", 1), host, 0))


def taken(vacancies: Vacancies) -> list[str]:
    """The hosts of all attempts that can be assigned."""
    taken = []
    while vacancies:
        host = vacancies.best()
        assert host is not None
        vacancies.take(host)
        taken.append(host)
    assert vacancies.best() is None
    return taken


def test_a_host_is_sent_as_many_for_each_slot_as_the_window_has() -> None:
    hosts = hosts_with("a")
    assert taken(Vacancies(hosts, 0, 1)) == ["a"] * 2
    assert taken(Vacancies(hosts, 0, 50)) == ["a"] * 100
    send(hosts, "a", 3)
    assert taken(Vacancies(hosts, 0, 1)) == []
    assert taken(Vacancies(hosts, 0, 2)) == ["a"]


def test_a_drained_host_is_sent_nothing_and_no_other_waits_for_it() -> None:
    hosts = hosts_with("a", "b")
    hosts.is_drained = lambda host, now: host == "a" and now < 5
    assert taken(Vacancies(hosts, 0, 1)) == ["b"] * 2
    assert (hosts.usable(0), hosts.live_slots(0)) == ({"b"}, 2)
    assert (hosts.usable(5), hosts.live_slots(5)) == ({"a", "b"}, 4)


def test_the_host_with_the_most_room_is_chosen_but_not_the_one_to_avoid() -> None:
    hosts = hosts_with("a", "b")
    send(hosts, "b")
    vacancies = Vacancies(hosts, 0, 1)
    assert vacancies.best() == "a"
    assert set(vacancies) == {"a", "b"}
    assert vacancies.best(avoid=["a"]) == "b"
    assert vacancies.best() == "a", "a question changes nothing"
    vacancies.take("b")
    assert vacancies.best(avoid=["a"]) == "a", "a bad choice is better than waiting for ever"
    assert vacancies.total == 2


def test_attempts_are_spread_over_all_hosts() -> None:
    hosts = hosts_with("a", "b", "c")
    assert taken(Vacancies(hosts, 0, 2)) == ["a", "b", "c"] * 4


def test_a_silent_host_and_one_without_slots_are_sent_nothing() -> None:
    hosts = hosts_with("a")
    assert Vacancies(hosts, 30, 1).best() == "a"
    assert Vacancies(hosts, 31, 1).best() is None
    assert not Vacancies(hosts_with("a", slots=0), 0, 1)


def test_a_host_known_only_from_the_journal_has_no_slots_until_it_beats() -> None:
    hosts = WorkerHosts(lease=30)
    hosts.add(SentAttempt(AttemptId("t", 1), "a", 0, started=True))
    assert not Vacancies(hosts, 0, 1)


def test_a_suspended_host_gets_no_more_tasks_than_its_limit() -> None:
    hosts = hosts_with("a", slots=4)
    assert not Vacancies(hosts, 0, 1, limits={"a": 0})
    assert taken(Vacancies(hosts, 0, 1, limits={"a": 1})) == ["a"]
    send(hosts, "a")
    assert not Vacancies(hosts, 0, 1, limits={"a": 1})
    assert taken(Vacancies(hosts, 0, 1, limits={"b": 0})) == ["a"] * 3


def test_of_a_host_that_is_not_proven_one_may_wait_for_each_slot() -> None:
    hosts = hosts_with("a", "b")
    found = taken(Vacancies(hosts, 0, 10, is_proven=lambda host: host == "a"))
    assert (found.count("a"), found.count("b")) == (20, 4)
    assert len(taken(Vacancies(hosts, 0, 1, is_proven=lambda _: False))) == 4


def test_the_choice_is_that_of_a_search_through_all_hosts() -> None:
    rng = random.Random(7)
    for _ in range(200):
        hosts = hosts_with(*"abcdef", slots=3)
        for name in "abcdef":
            send(hosts, name, rng.randrange(4))
        limits = {"b": rng.randrange(3), "c": rng.randrange(6)}
        vacancies = Vacancies(hosts, 0, 2, limits)
        sent = {host.name: len(host.sent) for host in hosts}
        while vacancies:
            avoid = rng.sample("abcdef", rng.randrange(4))
            free = [name for name in sent if sent[name] < min(6, limits.get(name, 6))]
            best = min(free, key=lambda name: (name in avoid, sent[name], name))
            assert vacancies.best(avoid) == best
            assert vacancies.total == sum(min(6, limits.get(name, 6)) - sent[name] for name in free)
            vacancies.take(best)
            sent[best] += 1
        assert not [name for name in sent if sent[name] < min(6, limits.get(name, 6))]
