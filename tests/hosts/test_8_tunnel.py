"""Nothing but port 22 is open between hosts: it is found before images are built; --tunnel needs no more."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import pytest
from checkout import Checkout, at, options
from testbed import HOME, HOST1, HOST2, HOST3, Bed

AUTHORIZED = f"{HOME}/.ssh/authorized_keys"
CLOSED = ["PREROUTING", "-i", "eth0", "-p", "tcp", "--syn", "!", "--dport", "22", "-j", "DROP"]
END_SESSIONS = """
for process in /proc/[0-9]*; do
  ! grep -q '^sshd.*: tester' $process/cmdline || kill ${process#/proc/} || true
done"""
HOSTS = ["-a", "host1,host2,host3", "-r", "tunnelled tasks"]


@pytest.fixture(scope="module")
def tunnelled(bed: Bed) -> Iterator[Checkout]:
    """A checkout of its own; the master host takes connections to port 22 only."""
    bed.inside(HOST1, "iptables", "-t", "raw", "-I", *CLOSED)
    checkout = Checkout(bed, "tunnelled one")
    yield checkout
    bed.inside(HOST1, "iptables", "-t", "raw", "-D", *CLOSED)
    if (checkout.path / "infra_clean.sh").exists():
        checkout.run("infra_clean.sh", expect=None)


@pytest.fixture(scope="module")
def keys_before(bed: Bed) -> Iterator[str]:
    """authorized_keys of the master host, without a newline at its end, as some editors leave it."""
    keys = bed.inside(HOST1, "cat", AUTHORIZED).stdout.rstrip("\n")
    bed.inside(HOST1, "sh", "-c", f"cat >'{AUTHORIZED}'", stdin=keys)
    yield keys
    bed.inside(HOST1, "sh", "-c", f"cat >'{AUTHORIZED}'", stdin=f"{keys}\n")


def test_a_closed_port_is_found_before_images_are_built(tunnelled: Checkout) -> None:
    done = tunnelled.run("infrainit.sh", *options(tunnelled.bed, [*HOSTS, "-w", "local,1-3"]), expect=1)
    address = tunnelled.bed.address(HOST1)
    for name in ("host2", "host3"):
        assert (
            f"error: {name}: its containers do not reach the broker on host1 at {address}, port 5671 "
            f"(no answer): open that port for {name}, give an address that it reaches with -b, or "
            "give --tunnel"
        ) in done.stderr
    assert "building the images" not in done.stderr
    assert done.seconds < 60
    for place in (None, HOST1, HOST2, HOST3):
        assert not any(tunnelled.inventory(place).values())
        assert f"{tunnelled.identity}-connect" not in at(tunnelled.bed, place, "image", "ls")


def test_with_a_tunnel_port_22_is_enough(tunnelled: Checkout, keys_before: str) -> None:
    assert not keys_before.endswith("\n")
    bed = tunnelled.bed
    project = tunnelled.project(
        "through ssh", "n: {range: [0, 18, 1]}", {"run.py": "import time\ntime.sleep(4)\n"}
    )
    started = options(bed, [*HOSTS, "-w", "local,2,3", "-d", str(project), "--tunnel"])
    tunnelled.run("infrainit.sh", *started, seconds=600)
    assert at(bed, HOST1, "port", f"{tunnelled.identity}-broker").split() == [
        "5671/tcp",
        "->",
        "127.0.0.1:5671",
    ]
    keys = bed.inside(HOST1, "cat", AUTHORIZED).stdout
    assert keys.endswith(keys_before)
    assert keys.count(f" infrainit-tunnel:{tunnelled.identity}:") == 3

    tunnel = f"{tunnelled.identity}-tunnel"
    bed.inside(HOST1, "sh", "-c", END_SESSIONS)
    time.sleep(3)
    at(bed, HOST2, "restart", tunnel)
    at(bed, HOST3, "kill", tunnel)
    at(bed, HOST3, "start", tunnel)
    tunnelled.run("infrainit.sh", *started, "--wait")
    rows = tunnelled.results("through ssh")
    assert [(row["state"], row["attempts"]) for row in rows] == [("done", "1")] * 18
    assert {row["host"] for row in rows} == {"local", "host2", "host3"}
    assert "through ssh:      3 (local host2 host3)" in tunnelled.run("check_celery_status.sh").output


def test_the_key_of_a_tunnel_is_good_for_nothing_else(tunnelled: Checkout) -> None:
    bed = tunnelled.bed
    key = tunnelled.path / ".infra/secrets/tunnel@host2/key"
    command = [
        "ssh",
        "-i",
        str(key),
        "-o",
        "IdentitiesOnly=yes",
        "-o",
        "BatchMode=yes",
        "-o",
        "ExitOnForwardFailure=yes",
    ]

    def say(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *more],
            env=bed.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
        )

    assert say("host1", "id").stdout in ("infrainit-tunnel\n", "")
    assert "prohibited" in say("-W", "127.0.0.1:22", "host1").stderr
    assert "prohibited" in say("-W", "127.0.0.1:5671", "host1").stderr
    assert "forwarding failed" in say("-N", "-R", "7777:127.0.0.1:22", "host1").stderr
    assert "infrainit-tunnel" in say("-s", "host1", "sftp").stdout


def test_nothing_is_left_of_the_tunnels(tunnelled: Checkout, keys_before: str) -> None:
    tunnelled.run("infra_clean.sh")
    assert tunnelled.bed.inside(HOST1, "cat", AUTHORIZED).stdout == keys_before
    for place in (None, HOST1, HOST2, HOST3):
        assert not any(tunnelled.inventory(place).values())
