"""Machines without Docker: it is installed over ssh, and by the README's first command on a bare one."""

from __future__ import annotations

import csv
import subprocess
from pathlib import Path

import pytest
from checkout import Checkout, options, source_files
from testbed import BARE, CHECKOUT, HOST1, NODOCKER, Bed, docker


@pytest.fixture(scope="module")
def _authorities(bed: Bed) -> None:
    """The bare host trusts whom this machine trusts, as one behind the same firewall would."""
    for file in Path("/usr/local/share/ca-certificates").glob("*.crt"):
        docker("cp", file, f"{bed.container(BARE)}:{file}")
    bed.inside(BARE, "update-ca-certificates")


def test_docker_is_installed_where_it_is_missing(checkout: Checkout) -> None:
    project = checkout.project("installed", "n: [1, 2, 3]", {"run.py": ""})
    choice = ["-a", "host1,nodocker", "-w", "2", "-d", str(project)]
    checkout.run("infrainit.sh", *options(checkout.bed, choice), "-y", "--wait", seconds=600)
    assert [row["host"] for row in checkout.results("installed")] == ["nodocker"] * 3
    assert checkout.container(NODOCKER, "worker")
    checkout.run("infra_clean.sh")
    assert not any(checkout.inventory(HOST1).values())
    assert not any(checkout.inventory(NODOCKER).values())


@pytest.mark.usefixtures("_authorities")
def test_the_first_command_of_the_readme_on_a_bare_machine(bed: Bed) -> None:
    """As a user with sudo on a machine with neither Docker nor anything else of ours."""
    pack = ["tar", "-c", "-C", str(CHECKOUT), *source_files()]
    archive = subprocess.run(pack, check=True, capture_output=True).stdout
    bed.login(BARE, 'mkdir "first steps" && tar -x -C "first steps"', stdin=archive).check_returncode()

    command = 'cd "first steps" && ./infrainit.sh -y -d digits -m local -w local --wait 2>&1'
    done = bed.login(BARE, command, seconds=900)
    said = done.stdout.decode()
    (bed.logs / "first-steps").write_text(said)
    assert done.returncode == 0, said[-6000:]
    table = bed.login(BARE, 'cat "first steps/results/digits/results.csv"').stdout.decode()
    rows = list(csv.DictReader(table.splitlines()))
    assert len(rows) >= 24
    assert {row["state"] for row in rows} == {"done"}
    assert max(row["accuracy"] for row in rows) in said
    bed.login(BARE, '"first steps/infra_clean.sh"').check_returncode()
