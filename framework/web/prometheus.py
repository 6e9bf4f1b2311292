"""Metrics of a sweep for Prometheus, made of its status."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from framework.messages.status import HostStatus, Status

_OF_HOSTS: tuple[tuple[str, str, Callable[[HostStatus], float]], ...] = (
    ("up", "1 if the worker host answers", lambda host: host.alive),
    ("drained", "1 if the worker host is sent nothing more", lambda host: host.drained),
    ("slots", "Tasks that the worker host can run at a time", lambda host: host.slots),
    ("slots_busy", "Tasks that run on the worker host", lambda host: host.running),
    (
        "tasks_waiting",
        "Tasks that the worker host has been sent and has not begun",
        lambda host: host.reserved,
    ),
    ("heartbeat_age_seconds", "Time since its last heartbeat", lambda host: host.seconds_since_beat),
)


def render_metrics(status: Status) -> bytes:
    """The metrics in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_OfStatus(status))
    return generate_latest(registry)


class _OfStatus(Collector):
    def __init__(self, status: Status) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        status = self._status
        tasks = _family("tasks", "Tasks of the sweep by state", "state")
        for state in ("done", "failed", "cancelled", "pruned", "running", "waiting"):
            tasks.add_metric([status.project, state], getattr(status, state))
        yield tasks
        for name, description, value in (
            ("combinations", "Combinations of the sweep", status.total),
            ("outdated_results", "Results of other files of the project, or another image", status.outdated),
            ("quarantined_messages", "Malformed, foreign or unexpected messages", status.quarantined),
            ("notices", "Messages for people that stand in the status", len(status.notices)),
            ("paused", "1 if no tasks are sent", bool(status.paused)),
            ("finished", "1 if every task has ended and results.csv is written", status.finished),
            ("status_timestamp_seconds", "Time of the master's status", status.updated),
            ("left_seconds", "Expected duration of the rest", status.seconds_left),
        ):
            if value is not None:
                yield _with(_family(name, description), [status.project], value)
        if status.best is not None:
            best = _family("best", "Best value of the project's metric", "metric")
            yield _with(best, [status.project, status.metric], status.best)
        yield from self._of_hosts(status.hosts)

    def _of_hosts(self, hosts: dict[str, HostStatus]) -> Iterator[Metric]:
        for name, description, value_of in _OF_HOSTS:
            family = _family(f"host_{name}", description, "host")
            for host, each in hosts.items():
                family.add_metric([self._status.project, host], value_of(each))
            yield family
        lost = CounterMetricFamily(
            "infrainit_host_lost_attempts",
            "Attempts that the worker host has lost since the master began",
            labels=["project", "host"],
        )
        for host, each in hosts.items():
            lost.add_metric([self._status.project, host], each.lost)
        yield lost


def _family(name: str, description: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"infrainit_{name}", description, labels=["project", *labels])


def _with(family: GaugeMetricFamily, labels: list[str], value: float) -> GaugeMetricFamily:
    family.add_metric(labels, float(value))
    return family
