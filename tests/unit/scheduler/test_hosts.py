"""What the master believes of its hosts: leases, restarts, room."""

from __future__ import annotations

from framework.scheduler.hosts import RESTART_GRACE_SECONDS, Fleet, Sent


def fleet_with(*hosts: str, slots: int = 2, now: float = 0.0) -> Fleet:
    fleet = Fleet(lease=30)
    for host in hosts:
        fleet.beat(host, "first", slots, set(), set(), now)
    return fleet


def names(sent: list[Sent]) -> list[str]:
    return [each.name for each in sent]


def test_a_host_is_sent_no_more_than_it_has_slots() -> None:
    fleet = fleet_with("a")
    for number in range(2):
        assert fleet.choose(0, spare=0) == "a"
        fleet.add(Sent(f"task{number}", 1, "a", 0))
    assert fleet.choose(0, spare=0) is None


def test_short_tasks_may_wait_at_a_host_as_many_as_it_has_slots() -> None:
    fleet = fleet_with("a")
    for number in range(4):
        assert fleet.choose(0, spare=1000) == "a"
        fleet.add(Sent(f"task{number}", 1, "a", 0))
    assert fleet.choose(0, spare=1000) is None


def test_the_host_with_the_most_room_is_chosen_but_not_the_one_to_avoid() -> None:
    fleet = fleet_with("a", "b")
    fleet.add(Sent("t", 1, "b", 0))
    assert fleet.choose(0, 0) == "a"
    assert fleet.choose(0, 0, avoid="a") == "b"
    fleet.add(Sent("u", 1, "b", 0))
    assert fleet.choose(0, 0, avoid="a") == "a", "a bad choice is better than waiting for ever"


def test_a_silent_host_is_sent_nothing() -> None:
    fleet = fleet_with("a")
    assert fleet.choose(30, 0) == "a"
    assert fleet.choose(31, 0) is None


def test_a_beat_keeps_the_lease_of_what_it_names_and_of_nothing_else() -> None:
    fleet = fleet_with("a")
    fleet.add(Sent("held", 1, "a", 0))
    fleet.add(Sent("unknown", 1, "a", 0))
    for now in (10, 20, 31):
        fleet.beat("a", "first", 2, {"held.1"}, set(), now)
    assert names(fleet.expired(31)) == ["unknown.1"]
    held = fleet.get("held")
    assert held is not None
    assert held.started


def test_another_attempt_of_the_task_does_not_keep_the_lease() -> None:
    fleet = fleet_with("a")
    fleet.add(Sent("t", 2, "a", 0))
    fleet.beat("a", "first", 2, {"t.1"}, set(), 31)
    assert names(fleet.expired(31)) == ["t.2"]


def test_what_ran_on_a_worker_that_was_restarted_is_lost_soon_after_its_results_could_have_come() -> None:
    fleet = fleet_with("a")
    fleet.add(Sent("ran", 1, "a", 0, started=True))
    fleet.add(Sent("queued", 1, "a", 0))
    fleet.beat("a", "second", 2, set(), set(), 10)
    assert fleet.expired(10) == []
    assert names(fleet.expired(10 + RESTART_GRACE_SECONDS)) == ["ran.1"]
    fleet.beat("a", "second", 2, {"queued.1"}, set(), 35)
    assert names(fleet.expired(35)) == ["ran.1"], "what lay in the queue got a new lease"


def test_after_the_master_was_deaf_all_leases_begin_anew() -> None:
    fleet = fleet_with("a")
    fleet.add(Sent("t", 1, "a", 0))
    fleet.renew(100)
    assert fleet.expired(130) == []
    assert fleet.choose(130, 0) == "a"
    assert names(fleet.expired(131)) == ["t.1"]


def test_a_host_known_only_from_the_journal_has_no_slots_until_it_beats() -> None:
    fleet = Fleet(lease=30)
    fleet.add(Sent("t", 1, "a", 0, started=True))
    assert fleet.choose(0, 0) is None
    fleet.beat("a", "first", 1, {"t.1"}, set(), 1)
    assert fleet.expired(31) == []
    assert fleet.choose(1, 0) is None
    fleet.remove("t")
    assert fleet.get("t") is None
    assert fleet.choose(1, 0) == "a"
