"""infra_clean.sh removes what is ours, everywhere, and nothing else."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator

import pytest
from checkout import Checkout, Place, at, options
from testbed import BASE_IMAGE, HOME, HOST1, HOST2, HOST3, LABEL, USER, Bed, wait_for

PLACES: tuple[Place, ...] = (None, HOST1, HOST2, HOST3)  # host3 joined in another test


@pytest.fixture(scope="module", autouse=True)
def _infrastructure(checkout: Checkout) -> Iterator[None]:
    """There is an infrastructure on all places, whichever tests were chosen; none is left."""
    checkout.run("infrainit.sh", *options(checkout.bed, ["-w", "local,1,2", "-y"]), seconds=600)
    yield
    checkout.run("infra_clean.sh", expect=None)


@pytest.fixture(scope="module")
def neighbours(bed: Bed, checkout: Checkout) -> list[tuple[Place, str, str]]:
    """Somebody else's container, volume and network at each place, with names much like ours."""
    name = f"{checkout.identity}-worker-of-mine"
    made: list[tuple[Place, str, str]] = []
    for place in PLACES:
        if place is None:
            image, command = BASE_IMAGE, ["sleep", "3000"]
        else:
            bed.inside(place, "sh", "-c", "tar -c -C /bin busybox | docker import - neighbour")
            image, command = "neighbour", ["/busybox", "sleep", "3000"]
        label = f"{LABEL}={bed.name}"
        at(bed, place, "network", "create", "--label", label, name)
        at(bed, place, "volume", "create", "--label", label, name)
        at(bed, place, "run", "--detach", "--name", name, "--label", label, "--network", name,
           "--volume", f"{name}:/data", image, *command)  # fmt: skip
        made += [(place, kind, name) for kind in ("container", "volume", "network")]
    return made


def test_a_host_that_is_down_is_named_and_the_others_are_cleaned(
    checkout: Checkout, neighbours: list[tuple[Place, str, str]]
) -> None:
    bed = checkout.bed
    assert neighbours
    bed.cut_power(HOST2)
    try:
        done = checkout.run("infra_clean.sh", expect=1, seconds=120)
    finally:
        bed.restore_power(HOST2)
    assert bed.address(HOST2) in done.stderr
    assert not any(checkout.inventory(None).values())
    assert not any(checkout.inventory(HOST1).values())
    assert checkout.inventory(HOST2)["containers"]


@pytest.mark.parametrize("time", ["first", "second"])
def test_nothing_is_left_also_when_repeated(checkout: Checkout, time: str) -> None:
    checkout.run("infra_clean.sh")
    for place in PLACES:
        assert checkout.inventory(place) == {"containers": [], "volumes": [], "networks": []}, time
    for host in (HOST1, HOST2):
        assert checkout.identity not in checkout.bed.inside(host, "ls", f"{HOME}/celery tasks/secrets").stdout


def test_somebody_elses_things_are_left(checkout: Checkout, neighbours: list[tuple[Place, str, str]]) -> None:
    for place, kind, name in neighbours:
        at(checkout.bed, place, kind, "inspect", name)


def test_files_are_left(checkout: Checkout) -> None:
    assert checkout.bed.inside(HOST2, "ls", f"{HOME}/celery tasks/code").stdout


REMOVE_IMAGES = """#!/usr/bin/env bash
source "$(dirname -- "$0")/framework/shell/all.sh"
parse_hosts "$1"
KEY=$2
trap close_connections EXIT
probe_hosts 1
remove_images 1
"""


@pytest.mark.usefixtures("neighbours")
def test_images_stay_until_their_removal_is_asked_for(checkout: Checkout) -> None:
    bed, listener = checkout.bed, "infrainit-empty:infra-00000000-listen"
    said = checkout.run("infra_clean.sh").stderr
    assert re.search(r"^host1: keeps \d+ images of this tool, [\d.]+ [MG]iB$", said, re.MULTILINE)
    bed.inside(HOST2, "sh", "-c", f"head -c 10240 /dev/zero | docker import - {listener}")
    at(bed, HOST2, "tag", "neighbour", "infrainit-of-mine:latest")
    shown = checkout.run("infra_clean.sh", "--images", "-n").stderr
    assert "host1$ docker image rm infrainit-worker:" in shown
    assert f"{bed.address(HOST2)}$ docker image rm {listener}" in shown
    assert "infrainit-of-mine" not in shown
    # In earnest on one host only: other tests use the images of this machine.
    program = checkout.path / "remove_images.sh"
    program.write_text(REMOVE_IMAGES)
    program.chmod(0o755)
    checkout.run(program.name, f"{USER}@{bed.address(HOST2)}", bed.key)
    left = set(at(bed, HOST2, "image", "ls", "--format", "{{.Repository}}").split())
    assert {it for it in left if it.startswith("infrainit-")} == {"infrainit-of-mine"}
    assert "neighbour" in left


def test_ctrl_c_half_way_leaves_a_cleaner(checkout: Checkout) -> None:
    (checkout.path / "infra_clean.sh").unlink()
    # Where this process was started in the background it ignores SIGINT, and its children would too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with checkout.start("infrainit.sh", "-f") as running:
        wait_for("a container is started", lambda: bool(checkout.inventory(HOST1)["containers"]), seconds=120)
        running.interrupt()
        done = running.wait(60)
    assert done.exit_code not in (0, 2)
    assert "infra_clean.sh" in done.stderr
    checkout.run("infra_clean.sh")
    for place in PLACES:
        assert not any(checkout.inventory(place).values())
        assert checkout.identity not in at(checkout.bed, place, "image", "ls")
