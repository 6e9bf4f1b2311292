"""Progress of a sweep: hosts, and the expected rest."""

from __future__ import annotations

import pytest

from framework.messages.status import HostStatus
from framework.messages.task_ids import AttemptId
from framework.messages.worker_events import Heartbeat, Source
from framework.placement.hosts import SentAttempt, WorkerHosts
from framework.scheduler.sweep_progress import host_statuses, seconds_left


@pytest.mark.parametrize(
    ("mean", "tasks", "slots", "expected"),
    [
        (10.0, 6, 2, 30.0),
        (10.0, 6, 100, 10.0),  # no task is shared among slots
        (10.0, 1, 2, 10.0),
        (10.0, 0, 2, None),
        (10.0, 6, 0, None),
        (None, 6, 2, None),
    ],
)
def test_the_expected_rest_is_shared_among_the_slots(
    mean: float | None, tasks: int, slots: int, expected: float | None
) -> None:
    assert seconds_left(mean, tasks, slots) == expected


def test_the_status_of_a_host_counts_running_and_reserved_attempts() -> None:
    hosts = WorkerHosts(lease=30)
    source = Source("infra-1", "p", "a")
    hosts.take_heartbeat(Heartbeat(source, "first", 3, frozenset(), frozenset()), 100)
    for number in range(3):
        hosts.add(SentAttempt(AttemptId(f"task{number}", 1), "a", 100, started=number == 0))
    assert host_statuses(hosts, 107.5) == {"a": HostStatus(3, 1, 2, 7.5, alive=True)}
    assert host_statuses(hosts, 131)["a"].alive is False
    hosts.is_drained = lambda host, _: host == "a"
    assert host_statuses(hosts, 107.5)["a"].drained
