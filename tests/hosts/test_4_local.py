"""Everything on this machine, with a second infrastructure beside the first."""

from __future__ import annotations

import base64
import json
import re
import ssl
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPSConnection

import pytest
from checkout import Checkout, options
from prometheus_client.parser import text_string_to_metric_families
from testbed import BASE_IMAGE, HOST1, HOST3, Bed

METRICS_PORT = 9464  # of the second infrastructure


@pytest.fixture(scope="module")
def second(bed: Bed) -> Iterator[Checkout]:
    """Another checkout."""
    checkout = Checkout(bed, "second one")
    yield checkout
    if (checkout.path / "infra_clean.sh").exists():
        checkout.run("infra_clean.sh", expect=None)


def ask_metrics(checkout: Checkout, password: str) -> tuple[int, str]:
    """The answer on the port of the metrics, over TLS verified with the infrastructure's CA."""
    context = ssl.create_default_context(cafile=checkout.path / ".infra/secrets/flower/ca.pem")
    connection = HTTPSConnection("localhost", METRICS_PORT, timeout=20, context=context)
    credentials = base64.b64encode(f"flower:{password}".encode()).decode()
    with closing(connection):
        connection.request("GET", "/metrics", headers={"Authorization": f"Basic {credentials}"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def test_local_only(second: Checkout) -> None:
    (second.path / "config.sh").write_text(f"METRICS_PORT={METRICS_PORT}\n")
    second.run("infrainit.sh", "-y", "-d", "echo", "-m", "local", "-w", "local", "--wait", seconds=600)
    rows = second.results("echo")
    assert rows
    assert {(row["state"], row["host"]) for row in rows} == {("done", "local")}
    for row in rows:
        (stdout,) = (second.path / "results" / "echo").rglob(f"{row['task']}/1/stdout")
        given = json.loads(stdout.read_text().splitlines()[0])
        flag = ["--flag"] if row["flag"] == "true" else []
        assert given == ["two words", f"--text={row['text']}", f"--number={row['number']}", *flag]
    assert len(second.inspect(None)) == 5
    second.run("check_celery_status.sh")
    assert ask_metrics(second, "wrong") == (401, "")
    _, metrics = ask_metrics(second, second.secret("flower", "flower_password"))
    families = {each.name: each for each in text_string_to_metric_families(metrics)}
    states = {sample.labels["state"]: sample.value for sample in families["infrainit_tasks"].samples}
    assert states == {
        "done": len(rows),
        **dict.fromkeys(("failed", "cancelled", "pruned", "running", "waiting"), 0),
    }
    assert [sample.labels["host"] for sample in families["infrainit_host_up"].samples] == ["local"]


OTHERS = ["-a", "host1,host3", "-m", "local", "-w", "local,2"]


def test_two_infrastructures_do_not_share_a_directory(second: Checkout) -> None:
    others = [*OTHERS[:-1], "local,1"]
    said = second.run("infrainit.sh", *options(second.bed, others), expect=1).output
    assert re.search("host1: .*/celery tasks is used by infra-", said)


def test_hosts_reach_the_local_broker(second: Checkout) -> None:
    second.run("infrainit.sh", *options(second.bed, [*OTHERS, "-r", "second tasks"]))
    said = second.run("check_celery_status.sh").output
    assert "worker@local" in said
    assert "worker@host3" in said


def test_a_container_that_dies_shows_its_last_lines(second: Checkout) -> None:
    config = second.path / "config.sh"
    before = config.read_text()
    config.write_text(f"{before}\nBROKER_IMAGE={BASE_IMAGE}\n")
    said = second.run("infrainit.sh", "-f", expect=1, seconds=180).output
    config.write_text(before)
    assert "rabbitmq-server" in said
    assert "broker" in said
    second.run("infrainit.sh", "-f")
    second.run("check_celery_status.sh")


def test_clean_leaves_the_first_infrastructure(second: Checkout, checkout: Checkout) -> None:
    before = [it["Id"] for place in (None, HOST1) for it in checkout.inspect(place)]
    second.run("infra_clean.sh")
    for place in None, HOST1, HOST3:
        assert not any(second.inventory(place).values())
    assert [it["Id"] for place in (None, HOST1) for it in checkout.inspect(place)] == before
