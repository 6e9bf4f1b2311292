"""A host without Docker gets it with -y, and a worker."""

from __future__ import annotations

from checkout import Checkout, options
from testbed import HOST1, NODOCKER


def test_docker_is_installed_where_it_is_missing(checkout: Checkout) -> None:
    choice = ["-a", "host1,nodocker", "-w", "2"]
    checkout.run("infrainit.sh", *options(checkout.bed, choice), "-y", "--wait", seconds=600)
    assert {row["host"] for row in checkout.results("echo")} == {"nodocker"}
    assert checkout.container(NODOCKER, "worker")
    checkout.run("infra_clean.sh")
    assert not any(checkout.inventory(HOST1).values())
    assert not any(checkout.inventory(NODOCKER).values())
