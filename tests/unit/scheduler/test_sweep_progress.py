"""Progress of a sweep: its hosts."""

from __future__ import annotations

from framework.messages.status import HostStatus
from framework.messages.task_ids import AttemptId
from framework.messages.worker_events import Heartbeat, Source
from framework.placement.hosts import SentAttempt, WorkerHosts
from framework.scheduler.sweep_progress import host_statuses


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
