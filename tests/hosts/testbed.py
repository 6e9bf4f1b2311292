#!/usr/bin/env python3
"""Real hosts to test on: containers of the local Docker engine, each with sshd and an engine of its own.

    tests/hosts/testbed.py up [NAME]     brings the hosts up, prints how to use them
    tests/hosts/testbed.py down [NAME]   removes them, and what was started here from NAME's checkouts

Everything of a test bed carries its name as a label; its files (key, ssh configuration, checkouts, logs) are
in .testbed/NAME in the checkout. Needs Docker, and root or sudo for one route and two firewall rules.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
BASE_IMAGE = "infrainit-base:trixie"
LABEL = "infrainit.testbed"
USER = "tester"
HOME = "/home/test user"

# The order of the bits in /proc/self/status. The newer ones (PERFMON and on) are not known to every engine.
CAPABILITIES = [
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID",
    "SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW",
    "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT",
    "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE",
    "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM",
    "BLOCK_SUSPEND", "AUDIT_READ",
]  # fmt: skip


class BedError(Exception):
    """The test bed could not be made; the message says why."""


@dataclass(frozen=True)
class Host:
    """A host of the test bed."""

    name: str
    last_byte: int  # of its address
    port: int = 22  # of its sshd
    login_shell: str = "/bin/bash"
    engine: bool = True  # whether it has Docker


# One host's login shell is dash and one's sshd has another port: users' machines differ too.
HOST1 = Host("host1", 11)
HOST2 = Host("host2", 12, login_shell="/bin/sh")
HOST3 = Host("host3", 13, port=2222)
NODOCKER = Host("nodocker", 14, engine=False)
BARE = Host("bare", 15, engine=False)
HOSTS = (HOST1, HOST2, HOST3, NODOCKER, BARE)
NOBODY = 99  # last byte of an address at which there is no host


def execute(
    command: Sequence[str | Path], *, check: bool = True, timeout: float = 120, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command; raise BedError with its messages when it fails and check is set."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout)
    if check and done.returncode != 0:
        raise BedError(
            f"{shlex.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
        )
    return done


def docker(
    *arguments: str | Path, check: bool = True, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run docker against the local engine."""
    return execute(["docker", *arguments], check=check, timeout=timeout)


def as_root(*command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command as root."""
    return execute(command if os.geteuid() == 0 else ["sudo", *command], check=check)


def wait_for(what: str, test: Callable[[], bool], seconds: float = 60, every: float = 0.5) -> None:
    """Poll until test() holds; raise BedError after so many seconds."""
    deadline = time.monotonic() + seconds
    while not test():
        if time.monotonic() > deadline:
            raise BedError(f"waited {seconds:.0f} s in vain: {what}")
        time.sleep(every)


def own_capabilities() -> list[str]:
    """Names of the capabilities in this process's bounding set: an engine can hand out no others."""
    status = Path("/proc/self/status").read_text()
    bounding = int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapBnd:")), 16)
    return [name for bit, name in enumerate(CAPABILITIES) if bounding >> bit & 1]


class Bed:
    """The hosts with a name, their network, and this machine's way to them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.network = f"infrainit-testbed-{name}"
        self.directory = CHECKOUT / ".testbed" / name
        self.key = self.directory / "key"
        self.bin = self.directory / "bin"  # for PATH: an `ssh` that knows the hosts, with its own known_hosts
        self.logs = self.directory / "logs"
        self.checkouts = self.directory / "check outs"
        self.home = self.directory / "my home"  # in place of the user's own, for the scripts

    # The hosts

    def address(self, host: Host | int) -> str:
        """The address of a host, or of a last byte."""
        last_byte = host if isinstance(host, int) else host.last_byte
        return f"{self.subnet().rpartition('.')[0]}.{last_byte}"

    @property
    def gateway(self) -> str:
        """The address of this machine, as the hosts see it."""
        return self.address(1)

    def container(self, host: Host) -> str:
        """The container that is a host."""
        return f"{self.network}-{host.name}"

    def inside(
        self, host: Host, *command: str, check: bool = True, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as root on a host, without ssh."""
        return execute(
            ["docker", "exec", "--interactive", self.container(host), *command], check=check, stdin=stdin
        )

    def login(
        self, host: Host, command: str, *, stdin: bytes = b"", seconds: float = 60
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command of the login shell over ssh, as tester."""
        options = ["-i", str(self.key), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=accept-new"]
        return subprocess.run(
            ["ssh", *options, host.name, command],
            env=self.environment(), input=stdin, capture_output=True, timeout=seconds,
        )  # fmt: skip

    def cut_power(self, host: Host) -> None:
        """Kill every process of a host at once."""
        docker("kill", self.container(host))

    def restore_power(self, host: Host) -> None:
        """Start a host whose power was cut."""
        docker("start", self.container(host))
        self._wait_host(host)

    @contextmanager
    def small_disk(self, host: Host, directory: str, megabytes: int) -> Iterator[None]:
        """Have a small file system of its own at `directory`; it is gone after the block."""
        self.inside(host, "install", "-d", "-o", USER, "-g", USER, directory)
        options = f"size={megabytes}m,uid={USER},gid={USER},mode=755"
        self.inside(host, "mount", "-t", "tmpfs", "-o", options, "tmpfs", directory)
        try:
            yield
        finally:
            self.inside(host, "umount", "--lazy", directory)

    @contextmanager
    def full_disk(self, host: Host, directory: str) -> Iterator[None]:
        """Leave no byte free in the file system of `directory`, until the end of the block."""
        filling = f"{directory}/filling"
        done = self.inside(host, "dd", "if=/dev/zero", f"of={filling}", "bs=4096", check=False)
        assert "No space left on device" in done.stderr, done.stderr
        try:
            yield
        finally:
            self.inside(host, "rm", filling)

    def environment(self) -> dict[str, str]:
        """The environment for scripts: `ssh` reaches the hosts by name, HOME is not the user's own."""
        return {
            **os.environ,
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "HOME": str(self.home),
            # It may say which engine to use.
            "DOCKER_CONFIG": os.environ.get("DOCKER_CONFIG", str(Path.home() / ".docker")),
        }

    # Up and down

    def exists(self) -> bool:
        """Whether there is a test bed of this name."""
        return docker("network", "inspect", self.network, check=False).returncode == 0

    def subnet(self) -> str:
        """The subnet of the hosts, 198.18.N.0/24."""
        return docker(
            "network", "inspect", "--format", "{{(index .IPAM.Config 0).Subnet}}", self.network
        ).stdout.strip()

    def up(self) -> None:
        """Bring the hosts up; raise BedError where that cannot be done."""
        self._build_images()
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.logs.mkdir(exist_ok=True)
        self.checkouts.mkdir(exist_ok=True)
        self.home.mkdir(exist_ok=True)
        if not self.key.exists():
            execute(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", self.key])
        if not self.exists():
            self._create_network()
        self._open_ways()
        self._write_ssh()
        for host in HOSTS:
            if not docker("container", "ls", "--quiet", "--filter", f"name=^{self.container(host)}$").stdout:
                docker("rm", "--force", "--volumes", self.container(host), check=False)
                self._start(host)
        for host in HOSTS:
            self._wait_host(host)

    def down(self) -> None:
        """Remove the hosts, and what was started here from the checkouts in .testbed/NAME. Safe to repeat."""
        for identity in self.checkouts.glob("*/.infra/id"):
            self._remove_labelled(f"infrainit.infrastructure={identity.read_text().strip()}")
        if self.exists():
            subnet = self.subnet()
            as_root("ip", "route", "delete", "unreachable", subnet, "metric", "4096", check=False)
            for rule in self._rules(subnet):
                as_root("iptables", "--delete", *rule, check=False)
        self._remove_labelled(f"{LABEL}={self.name}")
        if self.directory.exists():
            for path in self.directory.iterdir():
                if path != self.logs:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()

    @staticmethod
    def _remove_labelled(label: str) -> None:
        listing = "--quiet", "--filter", f"label={label}"
        for container in docker("container", "ls", "--all", *listing).stdout.split():
            docker("rm", "--force", "--volumes", container)
        for volume in docker("volume", "ls", *listing).stdout.split():
            docker("volume", "rm", volume)
        for network in docker("network", "ls", *listing).stdout.split():
            docker("network", "rm", network)

    @staticmethod
    def _build_images() -> None:
        # The tool's own way to its base; and what all checkouts need, before two make it side by side.
        script = """
            set -eu
            source "$1/framework/shell/all.sh"
            ASSUME_YES=yes PROJECT_PATH=$1/tasks
            build_base trixie
            make_broker_image
            make_worker_image stage_worker
        """
        execute(["bash", "-c", script, "testbed", CHECKOUT], timeout=1200)
        for stage in ("plain", "engine"):
            docker(
                "build", "--quiet", "--target", stage, "--tag", f"infrainit-testbed:{stage}",
                Path(__file__).parent / "image", timeout=600,
            )  # fmt: skip

    def _create_network(self) -> None:
        options = []
        engine = docker("version", "--format", "{{.Server.Version}}").stdout
        if int(engine.split(".")[0]) >= 28:
            # These engines drop what comes to a container from another bridge, here: from the local worker's.
            options = ["--opt", "com.docker.network.bridge.gateway_mode_ipv4=nat-unprotected"]
        refused = ""
        for third_byte in range(256):
            done = docker(
                "network", "create", *options, "--subnet", f"198.18.{third_byte}.0/24",
                "--label", f"{LABEL}={self.name}", self.network, check=False,
            )  # fmt: skip
            if done.returncode == 0:
                return
            refused = done.stderr
        raise BedError(f"no network for the hosts: {refused}")

    @staticmethod
    def _rules(subnet: str) -> list[list[str]]:
        return [["DOCKER-USER", way, subnet, "--jump", "ACCEPT"] for way in ("--source", "--destination")]

    def _open_ways(self) -> None:
        subnet = self.subnet()
        # What is meant for a host that is gone must not leave this machine.
        as_root("ip", "route", "replace", "unreachable", subnet, "metric", "4096")
        # Docker keeps its networks apart; the local worker has to reach the hosts and they the local broker.
        for rule in self._rules(subnet):
            if as_root("iptables", "--check", *rule, check=False).returncode != 0:
                as_root("iptables", "--insert", *rule)

    def _write_ssh(self) -> None:
        self.bin.mkdir(exist_ok=True)
        config = [
            "Host *",
            f'  UserKnownHostsFile "{self.directory}/known_hosts"',
            "  GlobalKnownHostsFile none",
            "  IdentitiesOnly yes",
            "  IdentityAgent none",
        ]
        for host in HOSTS:
            config += [
                f"Host {host.name}",
                f"  HostName {self.address(host)}",
                f"  Port {host.port}",
                f"  User {USER}",
            ]
        (self.directory / "ssh_config").write_text("\n".join(config) + "\n")
        ssh = shutil.which("ssh", path=os.environ["PATH"].replace(f"{self.bin}:", ""))
        if ssh is None:
            raise BedError("there is no ssh on this machine")
        wrapper = self.bin / "ssh"
        wrapper.write_text(f'#!/bin/sh\nexec {ssh} -F "{self.directory}/ssh_config" "$@"\n')
        wrapper.chmod(0o755)

    def _start(self, host: Host) -> None:
        arguments = [
            "--detach", "--init", "--name", self.container(host), "--hostname", host.name,
            "--label", f"{LABEL}={self.name}", "--network", self.network, "--ip", self.address(host),
            "--env", f"PUBLIC_KEY={self.key.with_suffix('.pub').read_text().strip()}",
            "--env", f"LOGIN_SHELL={host.login_shell}", "--env", f"SSH_PORT={host.port}",
        ]  # fmt: skip
        # An engine that lacks a capability itself refuses --privileged; this asks for what there is.
        rights = [
            *(word for name in own_capabilities() for word in ("--cap-add", name)),
            *("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"),
            *("--security-opt", "systempaths=unconfined", "--device-cgroup-rule", "a *:* rwm"),
            *("--cgroupns", "host", "--volume", "/sys/fs/cgroup:/sys/fs/cgroup:rw"),
        ]
        # Also where there is no engine yet: tests install one.
        command = [
            *arguments,
            "--volume",
            "/var/lib/docker",
            f"infrainit-testbed:{'engine' if host.engine else 'plain'}",
        ]
        if docker("run", *rights, *command, check=False).returncode != 0:
            docker("rm", "--force", "--volumes", self.container(host), check=False)
            docker("run", "--privileged", *command)

    def _wait_host(self, host: Host) -> None:
        said = b""

        def answers() -> bool:
            nonlocal said
            done = self.login(host, "docker info" if host.engine else "true")
            said = done.stderr
            return done.returncode == 0

        try:
            wait_for(f"{host.name} answers over ssh", answers)
        except BedError as error:
            log = docker("logs", "--tail", "30", self.container(host))
            raise BedError(f"{error}\n{said.decode()}\n{log.stdout}{log.stderr}") from None


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("verb", choices=["up", "down"])
    parser.add_argument("name", nargs="?", default="hand", help="of the test bed (default: %(default)s)")
    options = parser.parse_args()
    bed = Bed(options.name)
    try:
        if options.verb == "down":
            bed.down()
            return
        bed.up()
    except BedError as error:
        sys.exit(f"testbed: {error}")
    for host in HOSTS:
        print(f"{host.name}: {USER}@{bed.address(host)}:{host.port}, container {bed.container(host)}")
    print(f"this machine, seen from there: {bed.gateway}; nobody is at {bed.address(NOBODY)}")
    print(f"'outsider' may log in too, but not use Docker; home of {USER}: {HOME}")
    print(f"export PATH={shlex.quote(str(bed.bin))}:$PATH   # then: ssh -i {shlex.quote(str(bed.key))} host1")


if __name__ == "__main__":
    main()
