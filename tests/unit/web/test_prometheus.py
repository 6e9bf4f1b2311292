"""Metrics for Prometheus, and the dashboard of Grafana that is made for them."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from framework.messages.status import HostStatus, Status
from framework.web.prometheus import render_metrics

DASHBOARD = Path(__file__).parents[3] / "docs" / "grafana_dashboard.json"
HOSTS = {
    'gpu"1\\': HostStatus(slots=4, running=3, reserved=2, seconds_since_beat=1.5, alive=True, lost=2),
    "gpu2": HostStatus(slots=2, running=0, reserved=0, seconds_since_beat=99, alive=False, drained=True),
}
STATUS = Status(
    updated=1.8e9, project="p\n", version="v", total=20, done=5, failed=2, running=3, finished=False,
    seconds_left=60.5, cancelled=1, pruned=1, outdated=4, paused="on request", quarantined=7,
    notices=["one", "two"], hosts=HOSTS, metric="accuracy", best=0.9,
)  # fmt: skip


def samples(status: Status) -> dict[tuple[str, ...], float]:
    """Each sample by its name and the values of its labels but the project's."""
    found = {}
    for family in text_string_to_metric_families(render_metrics(status).decode()):
        assert family.documentation
        for sample in family.samples:
            assert sample.labels["project"] == status.project
            others = (value for name, value in sorted(sample.labels.items()) if name != "project")
            key = (sample.name.removeprefix("infrainit_"), *others)
            found[key] = sample.value
    return found


def test_prometheus_reads_the_numbers_of_the_status() -> None:
    found = samples(STATUS)
    states = {"done": 5, "failed": 2, "cancelled": 1, "pruned": 1, "running": 3, "waiting": 8}
    assert {key[1]: value for key, value in found.items() if key[0] == "tasks"} == states
    assert {key[0]: value for key, value in found.items() if len(key) == 1} == {
        "combinations": 20, "outdated_results": 4, "quarantined_messages": 7, "notices": 2, "paused": 1,
        "finished": 0, "status_timestamp_seconds": 1.8e9, "left_seconds": 60.5,
    }  # fmt: skip
    assert found["best", "accuracy"] == 0.9
    for name, values in (
        ("up", (1, 0)), ("drained", (0, 1)), ("slots", (4, 2)), ("slots_busy", (3, 0)),
        ("tasks_waiting", (2, 0)),
        ("heartbeat_age_seconds", (1.5, 99)), ("lost_attempts_total", (2, 0)),
    ):  # fmt: skip
        assert tuple(found[f"host_{name}", host] for host in HOSTS) == values


def test_what_is_not_known_is_left_out() -> None:
    status = Status(
        updated=1.0, project="p", version="v", total=1, done=0, failed=0, running=0, finished=False,
        seconds_left=None,
    )  # fmt: skip
    names = {key[0] for key in samples(status)}
    assert not names & {"left_seconds", "best", "host_up"}
    assert "tasks" in names


def test_the_dashboard_asks_for_what_there_is() -> None:
    dashboard: dict[str, Any] = json.loads(DASHBOARD.read_text())
    families = list(text_string_to_metric_families(render_metrics(STATUS).decode()))
    labels = {sample.name: set(sample.labels) for family in families for sample in family.samples}
    panels = dashboard["panels"]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    asked += [
        variable["definition"] for variable in dashboard["templating"]["list"] if "definition" in variable
    ]
    named = set()
    for query in asked:
        for name, selector in re.findall(r"(infrainit_\w+)(?:\{(.*?)\})?", query):
            named.add(name)
            assert set(re.findall(r"(\w+)=", selector)) <= labels[name]
    wanted = {
        "tasks",
        "combinations",
        "best",
        "host_slots",
        "host_slots_busy",
        "host_up",
        "host_lost_attempts_total",
    }
    assert {f"infrainit_{name}" for name in wanted} <= named
    legends = {
        name
        for panel in panels
        for each in panel["targets"]
        for name in re.findall(r"\{\{(\w+)\}\}", each["legendFormat"])
    }
    assert legends == {"metric", "state", "host"}


def test_panels_do_not_overlap() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        cell
        for place in (panel["gridPos"] for panel in panels)
        for cell in itertools.product(
            range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        )
    ]
    assert len(set(cells)) == len(cells)
    assert max(column for column, _ in cells) < 24
