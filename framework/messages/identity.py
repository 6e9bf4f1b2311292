"""Identity of a container: role, infrastructure, project, host and broker."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from framework.errors import FrameworkError


@dataclass(frozen=True)
class Identity:
    """Identity of this container by its environment and secrets; of this process, if there is no broker."""

    role: str  # "master", "worker" or "flower"
    infrastructure: str
    project: str
    host: str
    broker: str = ""  # address:port, an IPv6 address in brackets; empty if there is none
    image: str = ""
    secrets: Path = Path("/secrets")

    @classmethod
    def of_container(cls, role: str, environment: Mapping[str, str] = os.environ) -> Identity:
        """Read the environment of the container; raises FrameworkError naming what is missing."""
        names = ("INFRASTRUCTURE", "PROJECT", "HOST", "BROKER")
        missing = [name for name in names if not environment.get(name)]
        if missing:
            raise FrameworkError(
                f"{', '.join(missing)} not set: '{role}' runs in a container made by infrainit.sh"
            )
        infrastructure, project, host, broker = (environment[name] for name in names)
        secrets = Path(environment.get("SECRETS", "/secrets"))
        return cls(role, infrastructure, project, host, broker, environment.get("IMAGE", ""), secrets)

    @property
    def broker_user(self) -> str:
        """The user of the broker that this container is; each worker host has its own."""
        return worker_user(self.host) if self.role == "worker" else self.role

    @property
    def broker_host(self) -> str:
        return self.broker.rpartition(":")[0].strip("[]")


def worker_user(host: str) -> str:
    """The user of the broker with whose credentials the worker of `host` sends its messages."""
    return f"worker@{host}"
