"""Identity of a container, from its environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from framework.errors import FrameworkError
from framework.messages.identity import Identity, worker_user

ENVIRONMENT = {
    "INFRASTRUCTURE": "infra-1",
    "PROJECT": "digits",
    "HOST": "hostA",
    "BROKER": "broker:5671",
    "IMAGE": "sha256:1",
    "SECRETS": "/run/secrets",
}


def test_a_container_is_identified_by_its_environment() -> None:
    assert Identity.of_container("worker", ENVIRONMENT) == Identity(
        "worker", "infra-1", "digits", "hostA", "broker:5671", "sha256:1", Path("/run/secrets")
    )


def test_image_and_secrets_are_optional() -> None:
    environment = {name: value for name, value in ENVIRONMENT.items() if name not in ("IMAGE", "SECRETS")}
    identity = Identity.of_container("master", environment)
    assert (identity.image, identity.secrets) == ("", Path("/secrets"))


def test_everything_that_is_missing_is_named() -> None:
    environment = ENVIRONMENT | {"HOST": ""}
    del environment["BROKER"]
    with pytest.raises(FrameworkError, match=r"^HOST, BROKER not set: 'flower' runs in a container"):
        Identity.of_container("flower", environment)


@pytest.mark.parametrize(
    ("broker", "host"),
    [("broker:5671", "broker"), ("10.0.0.1:5671", "10.0.0.1"), ("[fd00::1]:5671", "fd00::1")],
)
def test_the_host_of_the_broker_is_its_address_without_port_and_brackets(broker: str, host: str) -> None:
    assert Identity("worker", "i", "p", "h", broker).broker_host == host


def test_each_worker_host_has_a_user_of_its_own() -> None:
    users = [Identity(role, "i", "p", "hostA", "b:1").broker_user for role in ("master", "flower", "worker")]
    assert users == ["master", "flower", "worker@hostA"]
    assert worker_user("host-1.example") == "worker@host-1.example"
