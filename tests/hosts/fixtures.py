"""What the tests on hosts and of faults share: the test bed, and a checkout in which the tool is used."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator

import pytest
from checkout import Checkout
from testbed import Bed, BedError


def cannot(reason: str) -> None:
    """Skip where something is missing, loudly; in continuous integration that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def bed() -> Iterator[Bed]:
    """The hosts. TESTBED=NAME uses those of `testbed.py up NAME`, and leaves them up."""
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "info"], capture_output=True).returncode != 0
    ):
        cannot(
            "no Docker engine answers this user, so there are no hosts to test on: install Docker with "
            "./install_docker_ubuntu.sh, and log in again if it has just been installed"
        )
    given = os.environ.get("TESTBED")
    bed = Bed(given or "tests")
    if not given:
        bed.down()
    shutil.rmtree(bed.logs, ignore_errors=True)
    try:
        bed.up()
    except BedError as error:
        pytest.fail(f"the hosts cannot be brought up: {error}")
    yield bed
    if not given:
        bed.down()


@pytest.fixture(scope="session")
def checkout(bed: Bed) -> Checkout:
    """The checkout that most tests use, with the infrastructure that they bring up in turn."""
    return Checkout(bed, "infra init")


def show_what_is_wrong(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly what was skipped, and where the outputs of the scripts are when something failed."""
    reasons = Counter(str(report.longrepr[2]) for report in terminalreporter.getreports("skipped"))
    for reason, count in reasons.items():
        terminalreporter.write_line(f"{count} tests: {reason}", red=True)
    if terminalreporter.getreports("failed") or terminalreporter.getreports("error"):
        name = os.environ.get("TESTBED", "tests")
        terminalreporter.write_line(f"what the scripts said: {Bed(name).logs}", red=True)
