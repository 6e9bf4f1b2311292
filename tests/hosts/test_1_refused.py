"""What infrainit.sh refuses: each mistake has its message and exit code, and nothing is changed anywhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkout import Checkout, at, options
from testbed import HOME, HOST1, HOST2, HOSTS, NOBODY, Bed, execute


def state(checkout: Checkout) -> dict[str, str]:
    """All that a run could change on the hosts: containers, images, volumes, networks, files at home."""
    bed = checkout.bed
    found = {}
    for host in HOSTS:
        # The check writes a small file into the home directory, and removes it.
        listing = [
            "find",
            HOME,
            "-mindepth",
            "1",
            "-path",
            "*/.ssh",
            "-prune",
            "-o",
            "-printf",
            "%P %s %T@\n",
        ]
        found[host.name] = bed.inside(host, *listing).stdout
        if host.engine:
            for what in ("container", "image", "volume", "network"):
                found[f"{host.name} {what}"] = at(
                    bed, host, what, "ls", *(["--all"] if what in "container image" else [])
                )
    return found


@pytest.fixture(scope="module", autouse=True)
def _unchanged(checkout: Checkout) -> Iterator[None]:
    """Nothing is different on the hosts after all these refusals."""
    before = state(checkout)
    yield
    assert state(checkout) == before


def test_without_arguments_it_shows_its_help(checkout: Checkout) -> None:
    done = checkout.run("infrainit.sh")
    assert "--workers" in done.stdout
    assert checkout.run("infrainit.sh", "--help").output == done.output


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["-x"], "-x is no option"),
        (["--wiat"], "--wiat is no option; the nearest is --wait"),
        (["-m", "4"], "-m: there is no host 4"),
        (["-w", "1,3-5"], "-w: there is no host 5"),
        (["-w", "1-"], "-w: 1- is neither local nor a host number"),
        (["-a", "host1,host2,host1"], "-a: host1 is named twice"),
        (["-a", "host1,,host2"], "-a: '' is no host"),
        (["-a", "host1:99999"], "-a: host1:99999 is no host"),
        (["-a", "-oProxyCommand=true"], "-a needs a value"),
        (["-d", "no such project"], "-d: there is no directory .*/no such project"),
        (["-i", "/no/such/key"], "-i: cannot read the key file /no/such/key"),
        (["-r", "/absolute"], "-r: /absolute must be relative"),
        (["-r", "../up"], "-r: ../up must stay under the home directory"),
        (["-m", "", "-w", ""], "neither -m nor -w is given"),
        (["-m", ""], "-w without -m and -b"),
        (["-b", "[::1"], "-b: .*::1. is no name or address"),
        (["stray"], "stray belongs to no option"),
    ],
)  # fmt: skip
def test_a_usage_error_exits_with_2(checkout: Checkout, wrong: list[str], message: str) -> None:
    before = sorted(checkout.path.rglob("*"))
    done = checkout.run("infrainit.sh", *options(checkout.bed, wrong), expect=2)
    assert re.search(message, done.stderr), done.stderr
    assert done.stdout == ""
    assert sorted(checkout.path.rglob("*")) == before


def test_every_usage_error_is_named_at_once(checkout: Checkout) -> None:
    wrong = ["-m", "7", "-d", "no such project", "-i", "/no/such/key"]
    done = checkout.run("infrainit.sh", *options(checkout.bed, wrong), expect=2)
    for message in ("-m: there is no host 7", "-d: there is no directory ", "-i: cannot read the key file "):
        assert message in done.stderr


def test_f_without_a_config(checkout: Checkout) -> None:
    assert re.search(r"-f: there is no .*/config\.sh", checkout.run("infrainit.sh", "-f", expect=2).stderr)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (None, "has no readable parameters.yml"),
        ("", "parameters.yml:1:1: the file is empty"),
        ("n: [1, 2\n", r"parameters.yml:\d+"),
    ],
    ids=["missing", "empty", "broken"],
)  # fmt: skip
def test_a_project_without_parameters(checkout: Checkout, parameters: str | None, message: str) -> None:
    project = checkout.project("without parameters", parameters or "", {"run.py": ""})
    if parameters is None:
        (project / "parameters.yml").unlink()
    done = checkout.run("infrainit.sh", *options(checkout.bed, ["-d", str(project)]), expect=2)
    assert re.search(message, done.stderr), done.stderr


@pytest.fixture
def port_in_use(bed: Bed) -> Iterator[None]:
    """Something else listens on the broker's port on host1."""
    bed.inside(HOST1, "busybox", "start-stop-daemon", "-S", "-b", "-m", "-p", "/run/httpd.pid",
               "-x", "/bin/busybox", "--", "httpd", "-f", "-p", "5671")  # fmt: skip
    yield
    bed.inside(HOST1, "busybox", "start-stop-daemon", "-K", "-p", "/run/httpd.pid")


def refused(checkout: Checkout, *wrong: str) -> str:
    """What infrainit.sh says on its way to exit code 1."""
    return checkout.run("infrainit.sh", *options(checkout.bed, wrong), expect=1, seconds=60).output


def says(output: str, *patterns: str) -> bool:
    """Whether a line has all these patterns."""
    return any(all(re.search(pattern, line) for pattern in patterns) for line in output.splitlines())


def test_a_host_that_is_down(checkout: Checkout) -> None:
    nobody = f"tester@{checkout.bed.address(NOBODY)}"
    output = refused(checkout, "-a", f"host1,{nobody}")
    assert says(output, re.escape(checkout.bed.address(NOBODY)), "it does not answer")


def test_a_host_whose_name_is_unknown(checkout: Checkout) -> None:
    assert says(refused(checkout, "-a", "host1,host2.invalid"), "host2.invalid", "cannot resolve its name")


def test_a_host_without_docker(checkout: Checkout) -> None:
    assert says(refused(checkout, "-a", "host1,nodocker"), "nodocker", "Docker is missing; give -y")


def test_a_user_who_may_not_use_docker(checkout: Checkout) -> None:
    output = refused(checkout, "-a", "host1,outsider@host3", "-w", "1,2")
    assert says(output, "host3", "the user outsider may not use Docker")


def test_a_wrong_key(checkout: Checkout, tmp_path: Path) -> None:
    key = tmp_path / "wrong key"
    execute(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key])
    assert says(refused(checkout, "-i", str(key)), "host1", "denies the login with .*wrong key")


def test_a_host_that_is_another_than_before(checkout: Checkout) -> None:
    bed = checkout.bed
    known = bed.directory / "known_hosts"
    before = known.read_text()
    address = bed.address(HOST2)
    others = [line for line in before.splitlines() if line.split()[0] != address]
    key_of_host1 = [
        line.split(maxsplit=1)[1] for line in before.splitlines() if line.split()[0] == bed.address(HOST1)
    ]
    known.write_text("\n".join([*others, *(f"{address} {key}" for key in key_of_host1)]) + "\n")
    try:
        assert says(refused(checkout), re.escape(address), "its host key has changed")
    finally:
        known.write_text(before)


def test_two_names_for_one_host(checkout: Checkout) -> None:
    bed = checkout.bed
    assert says(refused(checkout, "-a", f"host1,tester@{bed.address(HOST1)}"), "the same machine as host1")


@pytest.mark.usefixtures("port_in_use")
def test_a_port_in_use(checkout: Checkout) -> None:
    assert says(refused(checkout), "host1: port 5671 is .*; free it")


@pytest.mark.usefixtures("port_in_use")
def test_all_that_is_wrong_is_named_at_once(checkout: Checkout) -> None:
    bed = checkout.bed
    output = refused(checkout, "-a", f"host1,nodocker,outsider@host3,{bed.address(NOBODY)}", "-w", "1-4")
    assert says(output, "host1: port 5671 is ")
    assert says(output, "nodocker: Docker is missing")
    assert says(output, "host3", "may not use Docker")
    assert says(output, re.escape(bed.address(NOBODY)), "it does not answer")


def test_a_dry_run_shows_the_commands(checkout: Checkout) -> None:
    done = checkout.run("infrainit.sh", *options(checkout.bed, []), "--dry-run", seconds=60)
    assert says(done.output, "docker", "run", "--detach")
